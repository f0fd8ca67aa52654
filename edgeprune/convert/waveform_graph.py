"""The log-mel front-end as TFLite operators, in front of a network or as a file of its own.

All operators are builtin and written through TFLite's schema, without a converter. TFLite's RFFT2D computes in double
precision, as the Python front-end does; the operators around it compute in float32.
"""

import math
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgeprune.audio.layout import Layout
from edgeprune.audio.logmel import Frontend
from edgeprune.data.normalisation import Normalisation
from edgeprune.errors import EdgepruneError
from edgeprune.recipe import LogMel


class GraphBuilder:
    """Adds tensors and operators to the first graph of a `ModelT`; existing ones keep their numbers and bytes."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.graph = model.subgraphs[0]
        self.operators: list[Any] = []
        """New operators in the order they run; not yet part of the graph."""

    def tensor(self, name: str, shape: tuple[int, ...], dtype: str = "FLOAT32", buffer: int = 0) -> int:
        """Number of a new tensor; computed tensors have buffer 0, which is empty."""
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name, list(shape), buffer
        tensor.type = getattr(schema.TensorType, dtype)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def constant(self, name: str, values: NDArray[Any]) -> int:
        """Number of a new tensor that holds float32 or int32 values."""
        content = np.frombuffer(np.ascontiguousarray(values).tobytes(), dtype=np.uint8)
        self.model.buffers.append(schema.BufferT(content))
        return self.tensor(name, values.shape, values.dtype.name.upper(), len(self.model.buffers) - 1)

    def apply(self, operator: str, inputs: list[int], output: int, version: int = 1, **options: Any) -> int:
        """Add an operator that writes `output`; returns `output`.

        Args:
            operator: its name in the schema, such as `FULLY_CONNECTED`.
            inputs: numbers of tensors.
            version: of the operator in TFLite; an old runtime refuses versions it does not know.
            options: fields of its options; the others keep the schema's defaults.
        """
        added = schema.OperatorT()
        added.opcodeIndex = self._code(getattr(schema.BuiltinOperator, operator), version)
        added.inputs, added.outputs = inputs, [output]
        kind = "".join(word.capitalize() for word in operator.split("_")) + "Options"
        if hasattr(schema.BuiltinOptions, kind):
            added.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            added.builtinOptions = getattr(schema, f"{kind}T")()
            vars(added.builtinOptions).update(options)
        self.operators.append(added)
        return output

    def reshape(self, x: int, name: str, shape: tuple[int, ...], output: int | None = None) -> int:
        """RESHAPE a tensor to `output`, or to a new tensor `frontend/<name>`."""
        sizes = self.constant(f"frontend/{name}_shape", np.array(shape, np.int32))
        target = self.tensor(f"frontend/{name}", shape) if output is None else output
        return self.apply("RESHAPE", [x, sizes], target, newShape=list(shape))

    def _code(self, builtin: int, version: int) -> int:
        """Index of an operator's entry."""
        for place, code in enumerate(self.model.operatorCodes):
            if max(code.builtinCode, code.deprecatedBuiltinCode) == builtin and code.version == version:
                return place
        code = schema.OperatorCodeT()
        # Codes above 127 do not fit the schema's older field, which then holds 127.
        code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), version
        self.model.operatorCodes.append(code)
        return len(self.model.operatorCodes) - 1


def check_fft(spec: LogMel) -> None:
    """Refuse a front-end that TFLite's FFT cannot compute."""
    size = spec.check().fft_size
    if size & (size - 1):
        near = 1 << (size - 1).bit_length()
        raise EdgepruneError(
            f"front-end: n_fft {size} is no power of two, and TFLite's FFT takes no other; train with n_fft {near}, or "
            "compute the features outside the file."
        )


def add_frontend(builder: GraphBuilder, spec: LogMel, normalisation: Normalisation, layout: Layout, output: int) -> int:
    """Add the operators from the waveform to normalised log-mel, the float32 tensor `output` `[1, height, width, 1]`.

    Returns:
        the number of the input `waveform`: float32 `[1, patch_samples]`, full scale 1.
    """
    waveform = builder.tensor("waveform", (1, spec.patch_samples))
    spectrum = _spectrum(builder, spec, _windowed(builder, spec, waveform))
    features = _normalised_log_mel(builder, spec, normalisation, spectrum)
    if layout == "mels_frames":
        turned = builder.tensor("frontend/turned", (spec.mels, spec.patch_frames))
        order = builder.constant("frontend/order", np.array([1, 0], np.int32))
        features = builder.apply("TRANSPOSE", [features, order], turned)
    builder.reshape(features, "patch", tuple(int(size) for size in builder.graph.tensors[output].shape), output)
    return waveform


def _windowed(builder: GraphBuilder, spec: LogMel, waveform: int) -> int:
    """`[frames, 1, columns]`: each frame's samples times the window.

    The waveform is laid out in rows of one hop. A frame is a row and the next few beside it, so that no index has to
    be stored; their samples after the window are multiplied by zero.
    """
    frames, hop = spec.patch_frames, spec.hop_samples
    beside = math.ceil(spec.window_samples / hop)
    columns, samples = beside * hop, spec.patch_samples
    rows = frames - 1 + beside
    if rows * hop > samples:
        after = builder.constant("frontend/after", np.array([[0, 0], [0, rows * hop - samples]], np.int32))
        padded = builder.tensor("frontend/padded", (1, rows * hop))
        waveform = builder.apply("PAD", [waveform, after], padded)
    by_rows = builder.reshape(waveform, "rows", (rows, hop))
    size = builder.constant("frontend/part_shape", np.array([frames, hop], np.int32))
    parts = []
    for part in range(beside):
        start = builder.constant(f"frontend/start_{part}", np.array([part, 0], np.int32))
        piece = builder.tensor(f"frontend/part_{part}", (frames, hop))
        parts.append(builder.apply("SLICE", [by_rows, start, size], piece))
    framed = parts[0]
    if beside > 1:
        framed = builder.tensor("frontend/framed", (frames, columns))
        builder.apply("CONCATENATION", parts, framed, axis=1)
    weights = np.zeros(columns, np.float32)
    weights[: spec.window_samples] = Frontend(spec).window.numpy()
    windowed = builder.tensor("frontend/windowed", (frames, columns))
    builder.apply("MUL", [framed, builder.constant("frontend/window", weights)], windowed)
    return builder.reshape(windowed, "lines", (frames, 1, columns))


def _spectrum(builder: GraphBuilder, spec: LogMel, lines: int) -> int:
    """`[frames, 1, bins]`, magnitude or power; RFFT2D itself pads each frame to the FFT size or cuts its zeros off."""
    shape = (spec.patch_frames, 1, spec.fft_size // 2 + 1)
    size = builder.constant("frontend/fft_size", np.array([1, spec.fft_size], np.int32))
    bins = builder.tensor("frontend/fft", shape, "COMPLEX64")
    builder.apply("RFFT2D", [lines, size], bins)
    magnitude = builder.apply("COMPLEX_ABS", [bins], builder.tensor("frontend/magnitude", shape))
    if spec.spectrum == "magnitude":
        return magnitude
    return builder.apply("SQUARE", [magnitude], builder.tensor("frontend/power", shape))


def _normalised_log_mel(builder: GraphBuilder, spec: LogMel, normalisation: Normalisation, spectrum: int) -> int:
    """`[frames, mels]`: the natural logarithm of the bands, normalised; the offset is the bias of the filter bank."""
    shape = (spec.patch_frames, spec.mels)
    bank = builder.constant("frontend/filter_bank", Frontend(spec).filter_bank.numpy().T.astype(np.float32))
    offset = builder.constant("frontend/log_offset", np.full(spec.mels, spec.log_offset, np.float32))
    bands = builder.tensor("frontend/bands", shape)
    builder.apply("FULLY_CONNECTED", [spectrum, bank, offset], bands)
    log_mel = builder.apply("LOG", [bands], builder.tensor("frontend/log_mel", shape))
    mean = builder.constant("frontend/mean", normalisation.mean.astype(np.float32))
    std = builder.constant("frontend/std", normalisation.std.astype(np.float32))
    centred = builder.apply("SUB", [log_mel, mean], builder.tensor("frontend/centred", shape))
    return builder.apply("DIV", [centred, std], builder.tensor("frontend/normalised", shape))
