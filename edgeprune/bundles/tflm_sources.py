"""What the bundles for TensorFlow Lite Micro share: the network as C++, its operators, its arena, its self-test."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from edgeprune.bundles.parts import c_numbers, c_string, common_files, fill_template
from edgeprune.bundles.source import Source
from edgeprune.devices.tflm import outputs
from edgeprune.errors import EdgepruneError
from edgeprune.files import share_folder, write_bytes, write_text
from edgeprune.tflite.flatbuffer import operators, unpack_model
from edgeprune.tflite.interpreter import TFLiteModel

ALIGNMENT = 16
"""Bytes; the interpreter reads the file in place."""
Kernels = Literal["CMSIS-NN", "ESP-NN"]
_TEMPLATES = ("edgeprune_infer.h", "edgeprune_infer.cc", "edgeprune_labels.h", "edgeprune_selftest.h")
_PER_LINE = 16

METHODS = {
    "ABS": "Abs",
    "ADD": "Add",
    "ADD_N": "AddN",
    "ARG_MAX": "ArgMax",
    "ARG_MIN": "ArgMin",
    "AVERAGE_POOL_2D": "AveragePool2D",
    "BATCH_MATMUL": "BatchMatMul",
    "BATCH_TO_SPACE_ND": "BatchToSpaceNd",
    "BROADCAST_ARGS": "BroadcastArgs",
    "BROADCAST_TO": "BroadcastTo",
    "CAST": "Cast",
    "CEIL": "Ceil",
    "CONCATENATION": "Concatenation",
    "CONV_2D": "Conv2D",
    "COS": "Cos",
    "CUMSUM": "CumSum",
    "DEPTH_TO_SPACE": "DepthToSpace",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2D",
    "DEQUANTIZE": "Dequantize",
    "DIV": "Div",
    "ELU": "Elu",
    "EQUAL": "Equal",
    "EXP": "Exp",
    "EXPAND_DIMS": "ExpandDims",
    "FILL": "Fill",
    "FLOOR": "Floor",
    "FLOOR_DIV": "FloorDiv",
    "FLOOR_MOD": "FloorMod",
    "FULLY_CONNECTED": "FullyConnected",
    "GATHER": "Gather",
    "GATHER_ND": "GatherNd",
    "GREATER": "Greater",
    "GREATER_EQUAL": "GreaterEqual",
    "HARD_SWISH": "HardSwish",
    "L2_NORMALIZATION": "L2Normalization",
    "L2_POOL_2D": "L2Pool2D",
    "LEAKY_RELU": "LeakyRelu",
    "LESS": "Less",
    "LESS_EQUAL": "LessEqual",
    "LOG": "Log",
    "LOG_SOFTMAX": "LogSoftmax",
    "LOGICAL_AND": "LogicalAnd",
    "LOGICAL_NOT": "LogicalNot",
    "LOGICAL_OR": "LogicalOr",
    "LOGISTIC": "Logistic",
    "MAX_POOL_2D": "MaxPool2D",
    "MAXIMUM": "Maximum",
    "MEAN": "Mean",
    "MINIMUM": "Minimum",
    "MIRROR_PAD": "MirrorPad",
    "MUL": "Mul",
    "NEG": "Neg",
    "NOT_EQUAL": "NotEqual",
    "PACK": "Pack",
    "PAD": "Pad",
    "PADV2": "PadV2",
    "PRELU": "Prelu",
    "QUANTIZE": "Quantize",
    "REDUCE_MAX": "ReduceMax",
    "RELU": "Relu",
    "RELU6": "Relu6",
    "RESHAPE": "Reshape",
    "RESIZE_BILINEAR": "ResizeBilinear",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighbor",
    "ROUND": "Round",
    "RSQRT": "Rsqrt",
    "SELECT_V2": "SelectV2",
    "SHAPE": "Shape",
    "SIN": "Sin",
    "SLICE": "Slice",
    "SOFTMAX": "Softmax",
    "SPACE_TO_BATCH_ND": "SpaceToBatchNd",
    "SPACE_TO_DEPTH": "SpaceToDepth",
    "SPLIT": "Split",
    "SPLIT_V": "SplitV",
    "SQRT": "Sqrt",
    "SQUARE": "Square",
    "SQUARED_DIFFERENCE": "SquaredDifference",
    "SQUEEZE": "Squeeze",
    "STRIDED_SLICE": "StridedSlice",
    "SUB": "Sub",
    "SUM": "Sum",
    "SVDF": "Svdf",
    "TANH": "Tanh",
    "TRANSPOSE": "Transpose",
    "TRANSPOSE_CONV": "TransposeConv",
    "UNPACK": "Unpack",
    "ZEROS_LIKE": "ZerosLike",
}
"""Operators of TFLite, and the methods `Add...` of TFLite Micro's `MicroMutableOpResolver` that register them."""


@dataclass(frozen=True)
class Arena:
    """Working memory of the interpreter.

    Attributes:
        measured_bytes: the least that does, with reference kernels on this computer.
        headroom_bytes: added for the scratch memory of a kernel library; a bound from the shapes, not measured.
        kernels: that library.
    """

    measured_bytes: int
    headroom_bytes: int
    kernels: Kernels

    @property
    def total_bytes(self) -> int:
        """What is reserved, a multiple of 16."""
        return _round_up(self.measured_bytes + self.headroom_bytes)


def write_network(source: Source, out: Path, folder: Path, kernels: Kernels) -> dict[str, Any]:
    """Write what all of these bundles hold: the common files, and in `folder` the sources of network and self-test.

    Args:
        source: what the bundle is made of, its arena measured.
        out: the bundle.
        folder: for sources and headers, the front-end's among them.
        kernels: the library whose scratch memory the arena must hold.

    Returns:
        what the manifest says.

    Raises:
        EdgepruneError: the network has an operator that cannot be registered, no arena was measured, or tflite-micro is
            not installed.
    """
    arena = arena_of(source, kernels)
    facts = common_files(source, out, folder)
    values = _values(source, arena)
    for name in _TEMPLATES:
        fill_template(f"tflm/{name}", folder, **values)
    fill_template("tflm/edgeprune_model.h", folder, BYTES=source.model.stat().st_size)
    fill_template("tflm/edgeprune_selftest.c", folder)
    write_text(folder / "edgeprune_model.cc", model_as_c_array(source.model, "edgeprune_model"))
    labels = ",\n    ".join(map(c_string, source.labels))
    write_text(
        folder / "edgeprune_labels.c",
        '#include "edgeprune_labels.h"\n\n'
        f"const char *const edgeprune_labels[EDGEPRUNE_CLASSES] = {{\n    {labels},\n}};\n",
    )
    _write_vectors(source, outputs(source.model, source.stored), folder)
    return {
        **facts,
        "operators": sorted(set(operators(source.model))),
        "arena": {
            "bytes": arena.total_bytes,
            "measured_bytes": arena.measured_bytes,
            "headroom_bytes": arena.headroom_bytes,
            "headroom_for": kernels,
        },
    }


def copy_files(folder: str, out: Path, files: Mapping[str, str]) -> None:
    """Copy files of `export/<folder>` into the bundle: path there -> path here."""
    for there, here in files.items():
        write_bytes(out / here, (share_folder("export") / folder / there).read_bytes())


def write_readme(source: Source, out: Path, target: str, kernels: Kernels) -> None:
    """Write README.md of a target from `export/<target>/README.md`."""
    arena = arena_of(source, kernels)
    use = (share_folder("export") / "tflm" / "use.txt").read_text(encoding="utf-8")
    data = source.model.stat().st_size + source.stored.nbytes + (0 if source.audio is None else source.audio.nbytes)
    fill_template(
        f"{target}/README.md",
        out,
        MODEL=source.model.name,
        VECTORS=len(source.stored),
        USE=use.strip("\n"),
        SAMPLE_RATE=source.frontend.sample_rate,
        FLASH_KIB=-(-data // 1024),
        ARENA_KIB=-(-arena.total_bytes // 1024),
        FACTS=facts_text(source, arena),
    )


def facts_text(source: Source, arena: Arena | None = None) -> str:
    """Labels, quantisation and arena, as Markdown."""
    model = TFLiteModel(source.model)
    (scale_in, zero_in), (scale_out, zero_out) = model.input_quantisation, model.output_quantisation
    layout = "frames, mels" if source.layout == "frames_mels" else "mels, frames"
    shape = " x ".join(str(size) for size in model.input_shape[1:3])
    lines = [
        f"- Input: int8, {shape} ({layout}); a stored q stands for {scale_in:.9g} * (q {-zero_in:+d}).",
        f"- Output: int8, {len(source.labels)} classes; a stored q stands for {scale_out:.9g} * (q {-zero_out:+d}).",
    ]
    if arena is not None:
        lines.append(
            f"- Arena: {arena.total_bytes:,} B. {arena.measured_bytes:,} B are the least that was found to give the\n"
            "  right bytes, on 64 bits with reference kernels; on 32 bits it is less. The rest is headroom for the\n"
            f"  scratch memory of {arena.kernels}, a bound computed from the shapes. `edgeprune_arena_used()` tells\n"
            "  what your build takes; define `EDGEPRUNE_ARENA_BYTES` to change it."
        )
    lines.append("- Labels, in the order of the output:\n")
    # in code, with no line break and no backtick of their own
    lines += [f"      {json.dumps(label, ensure_ascii=False)}" for label in source.labels]
    return "\n".join(lines)


def model_as_c_array(path: Path, symbol: str, alignment: int = ALIGNMENT) -> str:
    """C++ source of a file as an aligned constant array; its header `<symbol>.h` declares it."""
    content = path.read_bytes()
    rows = (content[start : start + _PER_LINE] for start in range(0, len(content), _PER_LINE))
    lines = ",\n    ".join(", ".join(str(byte) for byte in row) for row in rows)
    return (
        f'#include "{symbol}.h"\n\nalignas({alignment}) const unsigned char {symbol}[{len(content)}] = {{\n'
        f"    {lines},\n}};\n"
    )


def op_resolver(path: Path) -> tuple[int, list[str]]:
    """How many operators the network needs, and the methods of `MicroMutableOpResolver` that register just these.

    Raises:
        EdgepruneError: an operator has no such method.
    """
    needed = sorted(set(operators(path)))
    missing = [name for name in needed if name not in METHODS]
    if missing:
        raise EdgepruneError(
            f"{path.name}: has the operator {missing[0]}, which TensorFlow Lite Micro does not register; choose "
            "another target."
        )
    return len(needed), [f"Add{METHODS[name]}" for name in needed]


def arena_of(source: Source, kernels: Kernels) -> Arena:
    """The measured arena and the headroom of a kernel library.

    Raises:
        EdgepruneError: no arena was measured.
    """
    if source.arena_bytes is None:
        raise EdgepruneError(f"{source.model.name}: its arena was not measured; measure it with --device tflm.")
    return Arena(source.arena_bytes, scratch_bytes(source.model, kernels), kernels)


def scratch_bytes(path: Path, kernels: Kernels) -> int:
    """Most scratch memory that one operator of an int8 file asks of a kernel library: a bound for all processors.

    CMSIS-NN lays out a few columns of the input as a filter sees it, of 2 bytes a value (4 columns of 1 byte with MVE).
    ESP-NN (on an ESP32-S3, the most) copies the padded input and the filters with rows of 16 bytes, depthwise ones in 2
    bytes a value.
    """
    found = {"CMSIS-NN": _cmsis_nn, "ESP-NN": _esp_nn}[kernels]
    return _round_up(max((found(name, *shapes) for name, *shapes in _shapes(path)), default=0))


def _cmsis_nn(name: str, x: list[int], weights: list[int]) -> int:
    if name == "CONV_2D":
        return 4 * _round_up(prod(weights[1:])) + 4 * weights[0]
    if name == "DEPTHWISE_CONV_2D":
        return max(2 * prod(weights), 4 * 124 * prod(weights[1:3])) + 4 * weights[3]
    return 4 * weights[0] if name == "FULLY_CONNECTED" else 4 * x[-1]


def _esp_nn(name: str, x: list[int], weights: list[int]) -> int:
    if name not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        return 0
    height, width = weights[1:3]
    padded = (x[1] + height) * (x[2] + width) * x[3]
    if name == "DEPTHWISE_CONV_2D":
        return 2 * (padded + prod(weights)) + 64
    if height == width == 1:
        return 24 * x[3] + 8 * weights[0] + 16 * 1024 + 64
    return padded + _round_up(width * x[3]) * height * weights[0] + 4 * weights[0] + 64


def _shapes(path: Path) -> list[tuple[str, list[int], list[int]]]:
    """Of each operator that kernel libraries have their own code for: its name, the shapes of input and weights."""
    graph = unpack_model(path).subgraphs[0]
    found = []
    for name, step in zip(operators(path), graph.operators, strict=True):
        if name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "AVERAGE_POOL_2D"):
            shapes = [[int(size) for size in graph.tensors[number].shape] for number in step.inputs[:2]]
            found.append((name, shapes[0], shapes[-1]))
    return found


def _values(source: Source, arena: Arena) -> dict[str, Any]:
    model = TFLiteModel(source.model)
    count, methods = op_resolver(source.model)
    return {
        "INPUT_SIZE": source.stored[0].size,
        "CLASSES": len(source.labels),
        "INPUT_SCALE": c_float(model.input_quantisation[0]),
        "INPUT_ZERO_POINT": model.input_quantisation[1],
        "OUTPUT_SCALE": c_float(model.output_quantisation[0]),
        "OUTPUT_ZERO_POINT": model.output_quantisation[1],
        "MEASURED": arena.measured_bytes,
        "HEADROOM": arena.headroom_bytes,
        "KERNELS": arena.kernels,
        "ARENA": arena.total_bytes,
        "OPERATORS": count,
        "ADDED": "\n".join(f"        operators.{method}();" for method in methods),
    }


def _write_vectors(source: Source, expected: NDArray[Any], folder: Path) -> None:
    """Vectors, what TFLite Micro itself gives for them, and the first clip; the others would only take flash."""
    clip = source.clips[0] if source.clips else None
    fill_template(
        "tflm/test_vectors.h",
        folder,
        VECTORS=len(source.stored),
        SAMPLES=0 if clip is None else len(clip.samples),
    )
    text = '#include "test_vectors.h"\n'
    inputs, outputs = ("inputs", source.stored, "INPUT_SIZE"), ("outputs", expected, "CLASSES")
    for name, values, size in (inputs, outputs):
        rows = ",\n".join(f"    {{{c_numbers(row)}}}" for row in values)
        text += f"\nconst int8_t test_{name}[TEST_VECTORS][EDGEPRUNE_{size}] = {{\n{rows},\n}};\n"
    if clip is not None:
        best = int(clip.probabilities.argmax())
        text += (
            f"\nconst char *const test_clip = {c_string(clip.name)};\n"
            f"const int test_class = {best};\n"
            f"const int test_percent = {round(100 * float(clip.probabilities[best]))};\n"
            f"const int16_t test_audio[TEST_SAMPLES] = {{\n    {c_numbers(clip.samples)},\n}};\n"
        )
    write_text(folder / "test_vectors.c", text)


def c_float(value: float) -> str:
    """A float as C writes it; 9 significant digits tell every float32 from its neighbours."""
    text = f"{value:.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def _round_up(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
