"""Whether a .tflite is whole: an interpreter crashes the process on a damaged file instead of refusing it."""

import math
import mmap
import struct
from pathlib import Path

from edgeprune.errors import EdgepruneError

# The offsets in TFLite's schema (tensorflow/compiler/mlir/lite/schema/schema.fbs, version 3): table -> slot -> content.
# "[4]" is a vector of 4-byte numbers, "text" a string, "Name" a table, "[Name]" a vector of tables, "union" a table
# whose kind stands in the slot before.
_TABLES: dict[str, dict[int, str]] = {
    "Model": {
        1: "[OperatorCode]",
        2: "[SubGraph]",
        3: "text",
        4: "[Buffer]",
        5: "[4]",
        6: "[Metadata]",
        7: "[SignatureDef]",
    },
    "OperatorCode": {1: "text"},
    "SubGraph": {0: "[Tensor]", 1: "[4]", 2: "[4]", 3: "[Operator]", 4: "text"},
    "Tensor": {
        0: "[4]",
        3: "text",
        4: "QuantizationParameters",
        6: "SparsityParameters",
        7: "[4]",
        9: "[VariantSubType]",
    },
    "QuantizationParameters": {0: "[4]", 1: "[4]", 2: "[4]", 3: "[8]", 5: "union"},
    "SparsityParameters": {0: "[4]", 1: "[4]", 2: "[DimensionMetadata]"},
    "DimensionMetadata": {3: "union", 5: "union"},
    "VariantSubType": {0: "[4]"},
    "Operator": {1: "[4]", 2: "[4]", 4: "union", 5: "[1]", 7: "[1]", 8: "[4]", 12: "union"},
    "Buffer": {0: "[1]"},
    "Metadata": {0: "text"},
    "SignatureDef": {0: "[TensorMap]", 1: "[TensorMap]", 2: "text"},
    "TensorMap": {0: "text"},
    "Vector1": {0: "[1]"},
    "Vector2": {0: "[2]"},
    "Vector4": {0: "[4]"},
    "Other": {},
}
_UNIONS: dict[tuple[str, int], dict[int, str]] = {
    ("QuantizationParameters", 5): {1: "Vector1"},
    ("DimensionMetadata", 3): {1: "Vector4", 2: "Vector2", 3: "Vector1"},
    ("DimensionMetadata", 5): {1: "Vector4", 2: "Vector2", 3: "Vector1"},
    ("Operator", 4): {17: "Vector4", 30: "Vector4"},  # RESHAPE's new shape, SQUEEZE's axes
}
_OUTSIDE = {"Buffer": (1, 2), "Operator": (9, 10)}
"""Slots of the offset and size, 8 bytes each, of data after the FlatBuffer in files above 2 GB."""


class _DamagedError(Exception):
    """An offset of the FlatBuffer leads out of the file, or a tensor is impossible."""


class _Extent:
    """Follows every offset of a TFLite FlatBuffer and keeps the end of what belongs to it."""

    def __init__(self, data: bytes | mmap.mmap) -> None:
        self._data = data
        self._end = 0

    def is_whole(self) -> bool:
        try:
            self._table(self._number("<I", 0), "Model")
        except _DamagedError:
            return False
        # Builders pad to a multiple of 4 bytes at least, so a file that ends before that was cut in its padding.
        return len(self._data) >= (self._end + 3) // 4 * 4

    def _reach(self, start: int, length: int) -> None:
        if start < 0 or start + length > len(self._data):
            raise _DamagedError
        self._end = max(self._end, start + length)

    def _number(self, form: str, start: int) -> int:
        self._reach(start, struct.calcsize(form))
        value: int = struct.unpack_from(form, self._data, start)[0]
        return value

    def _table(self, start: int, kind: str) -> None:
        index = start - self._number("<i", start)
        index_bytes, table_bytes = self._number("<H", index), self._number("<H", index + 2)
        self._reach(index, index_bytes)
        self._reach(start, table_bytes)
        if index_bytes < 4 or index_bytes % 2:
            raise _DamagedError
        places = struct.unpack_from(f"<{index_bytes // 2 - 2}H", self._data, index + 4)
        if any(inside >= table_bytes for inside in places):
            raise _DamagedError

        def field(slot: int) -> int:
            """Place of the slot's value; 0 when the table leaves it out."""
            return start + places[slot] if slot < len(places) and places[slot] else 0

        def numbers(slot: int, form: str) -> tuple[int, ...]:
            """The slot's vector, after `_value` has checked that it lies inside."""
            if not (at := field(slot)):
                return ()
            at += self._number("<I", at)
            return struct.unpack_from(f"<{self._number('<I', at)}{form}", self._data, at + 4)

        for slot, what in _TABLES[kind].items():
            if at := field(slot):
                if what == "union":
                    number = self._number("<B", field(slot - 1)) if field(slot - 1) else 0
                    what = _UNIONS.get((kind, slot), {}).get(number, "Other")
                self._value(at + self._number("<I", at), what)
        impossible = kind == "Tensor" and abs(math.prod(numbers(0, "i"))) >= 2**31
        impossible |= kind == "QuantizationParameters" and any(abs(zero) >= 2**16 for zero in numbers(3, "q"))
        # -1 stands for an input that is left out, which the first never is: kernels read beside the tensors then
        impossible |= kind == "Operator" and (numbers(1, "i")[:1] == (-1,) or -1 in numbers(2, "i"))
        if impossible:
            raise _DamagedError
        if kind in _OUTSIDE:
            offset, size = (self._number("<Q", at) if (at := field(slot)) else 0 for slot in _OUTSIDE[kind])
            if offset > 1:  # 0 and 1 mean: not used
                self._reach(offset, size)

    def _value(self, start: int, what: str) -> None:
        if what in _TABLES:
            self._table(start, what)
            return
        count = self._number("<I", start)
        if what == "text":
            self._reach(start, 4 + count + 1)  # a zero byte ends it
            return
        element = what[1:-1]
        self._reach(start, 4 + count * (int(element) if element.isdigit() else 4))
        if element in _TABLES:
            for at in range(start + 4, start + 4 + 4 * count, 4):
                self._table(at + self._number("<I", at), element)


def check_file(path: Path | str) -> None:
    """Refuse a file that is not a whole TFLite model.

    Every offset of the FlatBuffer must lead inside the file, and all weights must lie in it. A tensor of 2^31 values or
    more, a zero point beyond 16 bits and an operator without its first input or an output are refused, since
    interpreters crash on them. Of the operators' options, the extent of the table is checked, and the vectors of
    RESHAPE and SQUEEZE.
    """
    try:
        with open(path, "rb") as stream:
            head = stream.read(8)
            if not head:
                raise EdgepruneError(f"{path}: is empty; export it again.")
            if head[4:] != b"TFL3":
                raise EdgepruneError(f"{path}: is not a TFLite file (no TFL3 mark at byte 4); give a .tflite file.")
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
                whole = _Extent(data).is_whole()
    except OSError as error:
        raise EdgepruneError(f"{path}: cannot be read ({error.strerror}); give a .tflite file.") from error
    if not whole:
        raise damaged(path)


def damaged(path: Path | str) -> EdgepruneError:
    return EdgepruneError(f"{path}: is cut off or damaged (its parts do not fit the file); copy or export it again.")
