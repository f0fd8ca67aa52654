"""An int8 network compiled to C11 without heap or interpreter by bakenn, on a Cortex-M with the kernels of CMSIS-NN."""

import re
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import files
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgeprune.errors import EdgepruneError, unknown_name
from edgeprune.files import write_bytes
from edgeprune.tflite.flatbuffer import describe_tensors, operator_names, operators, pack_model, unpack_model

TARGETS = ("host", "cortex-m4", "cortex-m7", "cortex-m33")
"""`host`: C for any compiler. The others: kernels of CMSIS-NN for processors with Arm's DSP instructions."""


@dataclass(frozen=True)
class CompiledLayer:
    """A call in the generated code.

    Attributes:
        operator: place of its operator in the file; None where the compiler added the call.
        kernel: the compiler's name of the function that computes it.
    """

    operator: int | None
    kernel: str


@dataclass(frozen=True)
class C11:
    """A network as C, whose one function is `void <symbol>_infer(uint8_t *arena, const int8_t *input, int8_t *output)`.

    Attributes:
        tflite: the network that was compiled, without softmax and with its tensors renamed; the code computes it.
        symbol: prefix of all C names; macros have the same in capitals.
        header, source: declaration and definition of that function.
        sources: all C files, `source` among them.
        includes: folders of headers.
        defines: macros that the sources need.
        licences: files by the name of the compiler and of each library whose kernels are among the sources.
        arena_bytes: working memory, aligned to `arena_alignment`.
        input_shape, output_shape: with the batch, which is 1; input channels last.
        input_quantisation, output_quantisation: `(scale, zero_point)`: real = scale x (stored - zero_point).
        logits: the network ended in a softmax or sigmoid, which is left to the caller (see `probabilities`).
        layers: calls in the order they run.
    """

    tflite: Path
    symbol: str
    header: Path
    source: Path
    sources: tuple[Path, ...]
    includes: tuple[Path, ...]
    defines: tuple[str, ...]
    licences: dict[str, Path]
    arena_bytes: int
    arena_alignment: int
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    input_quantisation: tuple[float, int]
    output_quantisation: tuple[float, int]
    logits: bool
    layers: tuple[CompiledLayer, ...]


def compile_c11(path: Path, out: Path, target: str, name: str = "net") -> C11:
    """Write an int8 .tflite as C for one of `TARGETS`: to `out` the compiled `<name>.tflite`, and its C in `c11/`.

    The C names begin with `bknn_<name>`.
    """
    if target in ("cortex-m55", "cortex-m85"):
        raise EdgepruneError(
            f"{path}: not compiled for {target}: bakenn reserves too little working memory for its vector kernels "
            "(MVE), which then compute something else without any error; use cortex-m4, cortex-m7 or cortex-m33."
        )
    if target not in TARGETS:
        raise unknown_name("target", target, TARGETS)
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", name):
        raise EdgepruneError(f"name: '{name}' makes no C name; use up to 31 of a-z, 0-9 and _, a letter first.")
    try:
        import_module("tflite")  # bakenn imports it only when it reads a file
        bakenn: Any = import_module("bakenn")
    except ImportError as error:
        raise EdgepruneError(
            f"{path}: compiling to C needs {error.name}, which is not installed; pip install 'edgeprune[mcu]'."
        ) from error
    tflite = _plain_network(path, out / f"{name}.tflite")
    try:
        options = bakenn.CBackendOptions(**_options(bakenn, target))
        compiled = bakenn.compile_tflite(tflite, out / "c11", name=name, backend_options=options)
    except (bakenn.BakeNNError, ValueError, TypeError, OverflowError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise EdgepruneError(f"{path}: bakenn does not compile it ({reason}); use tflm.") from error
    return _describe(path, tflite, compiled.artifacts, name)


def probabilities(logits: NDArray[Any], scale: float, zero_point: int) -> NDArray[np.float32]:
    """Softmax of a network's stored outputs, integers `[n, classes]` with their scale and zero point."""
    real = np.float32(scale) * (logits.astype(np.float32) - np.float32(zero_point))
    powers = np.exp(real - real.max(axis=1, keepdims=True))
    result: NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
    return result


def _options(bakenn: Any, target: str) -> dict[str, Any]:
    """Settings of bakenn; its one target with DSP instructions gives the same code for all processors that have them.

    Packed weights of dense layers are off: they take twice the flash, and their kernel takes more instructions.
    """
    if target == "host":
        return {"kernel_policy": bakenn.KernelPolicy.PORTABLE}
    return {
        "kernel_policy": bakenn.KernelPolicy.STATIC_PRIORITY,
        "enable_cmsis_nn": True,
        "enable_weight_packing": False,
        "target": bakenn.CORTEX_M4,
    }


def _plain_network(path: Path, out: Path) -> Path:
    """Write the network without its last softmax or sigmoid, which keep the order of classes, and without its own text.

    The compiler writes names of tensors into comments of the code, where a name could end the comment. Weights, scales
    and the other operators stay as they are.
    """
    model = unpack_model(path)
    inputs, outputs = describe_tensors(model)
    ends = {tensor["dtype"] for tensor in (*inputs, *outputs)}
    if ends != {"int8"}:
        raise EdgepruneError(
            f"{path}: has {' and '.join(sorted(ends))} ends, and only int8 is compiled to C; export it as int8."
        )
    names = operator_names(model)
    if "SOFTMAX" in names[:-1]:
        raise EdgepruneError(f"{path}: has a softmax inside, which the compiler to C does not take; use tflm.")
    if names[-1:] in (["SOFTMAX"], ["LOGISTIC"]):
        last = model.subgraphs[0].operators.pop()
        model.subgraphs[0].outputs = [last.inputs[0]]
    model.description, model.metadata, model.metadataBuffer, model.signatureDefs = "network", None, None, None
    for graph in model.subgraphs:
        graph.name = "network"
        for number, tensor in enumerate(graph.tensors):
            tensor.name = f"t{number}"
            tensor.shapeSignature = None  # bakenn refuses a batch that may vary, and `shape` has a batch of one
        for name, operator in zip(operator_names(model), graph.operators, strict=True):
            if name == "RESHAPE" and operator.builtinOptions is None:
                operator.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions  # bakenn demands them
                operator.builtinOptions = schema.ReshapeOptionsT()
                operator.builtinOptions.newShape = list(graph.tensors[operator.outputs[0]].shape)
            if len(operator.inputs) == 3:
                _set_bias_scale(*(graph.tensors[number].quantization for number in operator.inputs))
    for code in model.operatorCodes:
        code.customCode = None if code.customCode is None else "custom"
    write_bytes(out, pack_model(model))
    return out


def _set_bias_scale(x: Any, weights: Any, bias: Any) -> None:
    """Make a bias's scales the products of input and weight scales to the last bit, as bakenn demands.

    Kernels do not read them, so a file whose converter rounded otherwise computes the same.
    """
    scales = ([] if tensor is None or tensor.scale is None else tensor.scale for tensor in (x, weights, bias))
    x_scale, weight_scales, bias_scales = (np.asarray(scale, np.float32) for scale in scales)
    if len(x_scale) == 1 and len(weight_scales) == len(bias_scales):
        exact = x_scale * weight_scales
        if np.allclose(bias_scales, exact, rtol=1e-5, atol=0):
            bias.scale = exact.tolist()


def _describe(path: Path, tflite: Path, artifacts: Any, name: str) -> C11:
    (input_,), (output,) = describe_tensors(unpack_model(tflite))
    plan = artifacts.backend_plan
    sources = (artifacts.model_source, artifacts.weights_source, artifacts.kernels_source, *artifacts.support_sources)
    names = {"cmsis_nn": "CMSIS-NN", "cmsis_core": "CMSIS-Core"}
    own = next((file for file in files("bakenn") or () if file.name == "LICENSE"), None)
    licences = {"bakenn": Path(str(own.locate()))} if own else {}
    licences |= {names.get(file.parent.name, file.parent.name): file for file in artifacts.third_party_licenses}
    # bakenn names the call of the operator at place 3 `tflite_3_conv_2d`
    places = [re.match(r"tflite_(\d+)_", choice.step_name) for choice in plan.selections]
    return C11(
        tflite=tflite,
        symbol=f"bknn_{name}",
        header=artifacts.header,
        source=artifacts.model_source,
        sources=sources,
        includes=(artifacts.output_dir, *artifacts.support_include_dirs),
        # The C compiler then writes copies of constant size in place.
        defines=("BAKENN_CMSIS_NN_BUILTIN_MEMORY",) if artifacts.support_sources else (),
        licences=licences,
        arena_bytes=plan.arena_size,
        arena_alignment=plan.arena_alignment,
        input_shape=tuple(input_["shape"]),
        output_shape=tuple(output["shape"]),
        input_quantisation=(input_["scale"], input_["zero_point"]),
        output_quantisation=(output["scale"], output["zero_point"]),
        logits=operators(path)[-1] in ("SOFTMAX", "LOGISTIC"),
        layers=tuple(
            CompiledLayer(int(place[1]) if place else None, choice.kernel_id)
            for place, choice in zip(places, plan.selections, strict=True)
        ),
    )
