"""Run a TFLite file with whichever interpreter is installed, after checking that the file is whole."""

import importlib
import importlib.metadata
import math
import mmap
import re
import struct
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeprune.errors import EdgepruneError

_RUNTIMES = {
    "ai_edge_litert.interpreter": "ai-edge-litert",
    "tflite_runtime.interpreter": "tflite-runtime",
    "tensorflow.lite.python.interpreter": "tensorflow",
}
"""Modules with an `Interpreter`, in the order they are tried, and the packages they come in."""


def load_interpreter(path: Path | str, threads: int = 1, reference: bool = False, xnnpack: bool = True) -> Any:
    """An interpreter of the file, tensors allocated, from the first of ai_edge_litert, tflite_runtime and TensorFlow.

    Args:
        path: the .tflite file.
        threads: CPU threads an inference may use.
        reference: use the reference kernels, which are slow. Their dense layers round once where those of
            microcontrollers and of `xnnpack=False` round twice, so that integers may be one step apart.
        xnnpack: use the XNNPACK delegate, as the runtime does by default; its integers may differ by one step a layer.
            Without it, an int8 file gives the bytes of TFLite Micro but for a step of a dense layer on a few clips of a
            hundred (seen on x86). Without effect when `reference` is set. Softmax turns a step of the logits into
            many of the probabilities.

    Raises:
        EdgepruneError: no interpreter is installed, the file is not a whole TFLite file, or the interpreter cannot run
            it.
    """
    if threads < 1:
        raise EdgepruneError(f"threads: {threads} cannot run anything; use 1 or more.")
    check_file(path)
    module = _runtime()
    kinds = module.OpResolverType
    resolver = kinds.BUILTIN_REF if reference else kinds.AUTO if xnnpack else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    try:
        interpreter = module.Interpreter(
            model_path=str(path), num_threads=threads, experimental_op_resolver_type=resolver
        )
        interpreter.allocate_tensors()
        # In a damaged file the tensors' names may not be text; better found here than by whoever asks first.
        interpreter.get_input_details(), interpreter.get_output_details()
    except (ValueError, RuntimeError) as error:
        raise _cannot_load(path, error) from error
    return interpreter


def runtime_version() -> str:
    """The package the interpreter comes from and its version, such as `ai-edge-litert 2.3.0`.

    Raises:
        EdgepruneError: no interpreter is installed.
    """
    package = _package(_runtime())
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:  # such as tensorflow-cpu, or a runtime built from source
        return package


def operators(path: Path | str) -> list[str]:
    """Names of the operators of the file in the order they run, subgraph after subgraph: `CONV_2D`, `SOFTMAX` ...

    A custom operator has its own name. A network whose list ends in `SOFTMAX` gives probabilities, another one logits.

    Raises:
        EdgepruneError: the file is not a whole TFLite file, or no installed package has TFLite's schema.
    """
    check_file(path)
    schema = _schema()
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    model = schema.Model.GetRootAs(Path(path).read_bytes(), 0)
    known = []
    try:
        for number in range(model.OperatorCodesLength()):
            entry = model.OperatorCodes(number)
            # Codes above 127 did not fit the older of the two fields, which holds a placeholder then.
            code = max(entry.BuiltinCode(), entry.DeprecatedBuiltinCode())
            custom = code == schema.BuiltinOperator.CUSTOM and entry.CustomCode()
            known.append(custom.decode("utf-8", "replace") if custom else names.get(code, f"BUILTIN_{code}"))
        graphs = [model.Subgraphs(number) for number in range(model.SubgraphsLength())]
        places = [graph.Operators(i).OpcodeIndex() for graph in graphs for i in range(graph.OperatorsLength())]
    except struct.error as error:  # a number that begins inside the file and ends outside
        raise _broken(path) from error
    if any(place >= len(known) for place in places):
        raise _broken(path)
    return [known[place] for place in places]


class TFLiteModel:
    """A TFLite network of one input and one output whose first axis is the batch.

    Args are those of `load_interpreter`. Whether the output is probabilities or logits is up to the file (see
    `operators`).

    Attributes:
        path: the file.
        input_shape: with the batch, as the file has it, such as `(1, 40, 51, 1)`.
        input_dtype: float32, int8, uint8 or int16.
        input_quantisation: `(scale, zero_point)`: real = scale x (stored - zero_point); `(0.0, 0)` for float32.
        output_shape, output_dtype, output_quantisation: the same of the output.

    Raises:
        EdgepruneError: as `load_interpreter`, or the network has several inputs or outputs or a type not listed.
    """

    def __init__(self, path: Path | str, threads: int = 1, reference: bool = False, xnnpack: bool = True) -> None:
        self.path = Path(path)
        self._interpreter = load_interpreter(path, threads, reference, xnnpack)
        self._input = self._only(self._interpreter.get_input_details(), "inputs")
        self._output = self._only(self._interpreter.get_output_details(), "outputs")
        self.input_shape, self.input_dtype, self.input_quantisation = self._described(self._input)
        self.output_shape, self.output_dtype, self.output_quantisation = self._described(self._output)

    def operators(self) -> list[str]:
        """Names of the operators, as the function `operators`."""
        return operators(self.path)

    def quantise(self, x: ArrayLike) -> NDArray[Any]:
        """Real numbers of any shape as the input stores them; float32 inputs get them as they are.

        Halves are rounded away from zero and values beyond the range saturate, as TFLite's QUANTIZE operator does.

        Raises:
            EdgepruneError: a value is NaN.
        """
        values = np.asarray(x, dtype=np.float32)
        if np.isnan(values).any():
            raise EdgepruneError(f"{self.path.name}: the input holds NaN; check the features.")
        if self.input_dtype == np.float32:
            return values
        scale, zero_point = self.input_quantisation
        # The quotient is rounded to float32 as in TFLite; the half is added in float64, where it is exact.
        steps = (values / np.float32(scale)).astype(np.float64)
        stored = np.trunc(steps + np.copysign(0.5, steps)) + zero_point
        limits = np.iinfo(self.input_dtype)
        return np.clip(stored, limits.min, limits.max).astype(self.input_dtype)

    def dequantise(self, y: NDArray[Any]) -> NDArray[np.float32]:
        """What the output stores as real numbers, float32; any shape."""
        if self.output_dtype == np.float32:
            return y.astype(np.float32, copy=False)
        scale, zero_point = self.output_quantisation
        return ((y.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)).astype(np.float32)

    def invoke_raw(self, x: NDArray[Any]) -> NDArray[Any]:
        """Run one batch: `x` of `input_shape` and `input_dtype` gives an array of `output_shape` and `output_dtype`.

        Raises:
            EdgepruneError: another shape or type, or the interpreter fails.
        """
        if x.shape != self.input_shape or x.dtype != self.input_dtype:
            raise EdgepruneError(
                f"{self.path.name}: got {x.dtype} {list(x.shape)} where it takes {self.input_dtype} "
                f"{list(self.input_shape)}; give it that."
            )
        try:
            self._interpreter.set_tensor(self._input["index"], x)
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise EdgepruneError(
                f"{self.path.name}: its interpreter failed ({_first_line(error)}); export it again."
            ) from error
        result: NDArray[Any] = self._interpreter.get_tensor(self._output["index"])
        return result

    def predict(self, x: ArrayLike) -> NDArray[np.float32]:
        """Outputs of many clips, dequantised.

        Args:
            x: float32 `[clips, ...]`, each clip shaped as `input_shape` without its batch; run batch by batch, which
                with a batch of 1 is clip by clip.

        Returns:
            float32 `[clips, classes]`.

        Raises:
            EdgepruneError: another shape, NaN in the input, or the interpreter fails.
        """
        clips = np.asarray(x, dtype=np.float32)
        batch, clip_shape = self.input_shape[0], self.input_shape[1:]
        if clips.ndim == 0 or clips.shape[1:] != clip_shape:
            raise EdgepruneError(
                f"{self.path.name}: got clips of shape {list(clips.shape[1:])} where it takes {list(clip_shape)}; "
                "compute the features it was trained on."
            )
        result = np.empty((len(clips), math.prod(self.output_shape) // batch), dtype=np.float32)
        for start in range(0, len(clips), batch):
            part = clips[start : start + batch]
            filled = np.zeros(self.input_shape, dtype=np.float32)
            filled[: len(part)] = part
            raw = self.invoke_raw(self.quantise(filled))
            result[start : start + batch] = self.dequantise(raw).reshape(batch, -1)[: len(part)]
        return result

    def _only(self, tensors: list[dict[str, Any]], what: str) -> dict[str, Any]:
        if len(tensors) != 1:
            raise EdgepruneError(f"{self.path.name}: has {len(tensors)} {what}; give a classifier with one.")
        return tensors[0]

    def _described(self, tensor: dict[str, Any]) -> tuple[tuple[int, ...], np.dtype[Any], tuple[float, int]]:
        shape = tuple(int(size) for size in tensor["shape"])
        dtype = np.dtype(tensor["dtype"])
        scale, zero_point = tensor["quantization"]
        integer = dtype in (np.int8, np.uint8, np.int16)
        if not shape or 0 in shape or not (dtype == np.float32 or (integer and scale > 0)):
            raise EdgepruneError(
                f"{self.path.name}: has a tensor of {dtype} {list(shape)} with scale {scale} at its ends; "
                "export it with float32 or quantised int8, uint8 or int16 ends."
            )
        return shape, dtype, (float(scale), int(zero_point))


def check_file(path: Path | str) -> None:
    """Refuse a file that is not a whole TFLite model, before an interpreter, which would crash the process, sees it.

    Every offset of the FlatBuffer is followed and must stay inside the file; so must the weights, wherever they lie.
    No tensor may have 2^31 values or more, nor a zero point beyond 16 bits: interpreters crash on both.
    (Option tables of operators are checked for their own extent; the vectors only those of RESHAPE and SQUEEZE hold.)

    Raises:
        EdgepruneError: missing, unreadable, empty, another kind of file, cut off or damaged.
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
        raise _broken(path)


# TFLite's schema (tensorflow/compiler/mlir/lite/schema/schema.fbs, version 3) as far as offsets go: table -> slot ->
# what lies there. "[4]" is a vector of 4-byte numbers, "text" a string, "Name" a table, "[Name]" a vector of tables,
# "union" a table whose kind the slot before tells.
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
"""Slots with the offset and size, 8 bytes each, of data that lies after the FlatBuffer in files above 2 GB."""


class _DamagedError(Exception):
    """An offset of the FlatBuffer leads out of the file, or a tensor is impossible."""


class _Extent:
    """Follows every offset of a TFLite FlatBuffer and notes the last byte that belongs to it."""

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
            """Where the slot's value lies, 0 when the table leaves it out."""
            return start + places[slot] if slot < len(places) and places[slot] else 0

        def numbers(slot: int, form: str) -> tuple[int, ...]:
            """The slot's vector, once it was found to lie inside."""
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


def _broken(path: Path | str) -> EdgepruneError:
    return EdgepruneError(f"{path}: is cut off or damaged (its parts do not fit the file); copy or export it again.")


def _runtime() -> ModuleType:
    for name in _RUNTIMES:
        try:
            return importlib.import_module(name)
        except (ImportError, AttributeError):  # AttributeError: a build for another major version of numpy
            continue
    raise EdgepruneError("TFLite: no interpreter is installed; install ai-edge-litert.")


def _package(module: ModuleType) -> str:
    return _RUNTIMES.get(module.__name__, module.__name__)


def _schema() -> ModuleType:
    for name in ("ai_edge_litert.schema_py_generated", "tensorflow.lite.python.schema_py_generated"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise EdgepruneError("TFLite: no installed package has its schema; install ai-edge-litert.")


def _cannot_load(path: Path | str, error: Exception) -> EdgepruneError:
    """What the interpreter said, as one sentence that tells what to do."""
    text = str(error)
    if missing := re.search(r"Didn't find op for builtin opcode '(\w+)' version '(\d+)'", text):
        return EdgepruneError(
            f"{path}: needs {missing[1]} version {missing[2]}, which {runtime_version()} does not have; "
            "use ai-edge-litert on this device, or export the model as float32 or int8."
        )
    if re.search(r"unresolved custom op|Select TensorFlow op", text):
        return EdgepruneError(
            f"{path}: uses operators that are not builtin ({_first_line(error)}); export it with builtin ones only."
        )
    return EdgepruneError(f"{path}: {runtime_version()} cannot load it ({_first_line(error)}); export it again.")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
