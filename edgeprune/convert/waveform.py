"""Files that take the waveform, for phones and Linux: the front-end inside, in front of the network as it was."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.audio.logmel import waveform_patches
from edgeprune.convert.waveform_graph import Builder, add_frontend, check_spec
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.files import write_bytes
from edgeprune.recipe import LogMel
from edgeprune.tflite.flatbuffer import describe_tensors, operators, pack_model, unpack_model
from edgeprune.tflite.interpreter import TFLiteModel, load_interpreter
from edgeprune.tflite.metadata import read_metadata, set_metadata

if TYPE_CHECKING:
    from edgeprune.data.patches import Normalisation

INPUT = "waveform"
"""What the metadata of such a file has as its `input`."""
LOG_MEL_TOLERANCE = 1e-3
"""Largest difference of a log-mel value from the Python front-end's, natural log units."""
OUTPUT_TOLERANCE = 1e-5
"""Largest difference of a probability from the network's own, on the same features; a step of int8 is 4e-3."""
_RUNTIME = (2, 5, 0)
"""The first TensorFlow Lite with RFFT2D and COMPLEX_ABS."""
_QUANTISED = {"int8": 2, "uint8": 1, "int16": 3}
"""Versions of QUANTIZE and DEQUANTIZE that take the type."""


def write_waveform_model(path: Path | str, out: Path | str) -> Path:
    """Write an exported network with its front-end in front: one file from samples to probabilities.

    Input `waveform`: float32 `[1, samples]` at the front-end's rate, full scale 1; output `probabilities` (`logits` of
    a network without softmax): float32 `[1, classes]`, dequantised where the network's are integers. The network's
    operators, weights and scales stay byte for byte as they are.

    The graph pads nothing: `samples` are all that a patch's frames see, so that a patch in the middle of a clip sees
    its real neighbours; the caller puts zeros before and after a clip (`patch_samples`). The metadata tells
    `"input": "waveform"` and, under `waveform`, `sample_rate`, `samples`, `before` (samples that precede the one the
    patch's first frame stands for) and `hop` (samples between patches).

    Args:
        path: a file of any format exported by edgeprune for audio.
        out: the file to write.

    Returns:
        `out`.

    Raises:
        EdgepruneError: not such a file, it takes the waveform already, or its FFT size is no power of two.
    """
    described, spec = _described(path)
    model = unpack_model(path)
    (entrance,), (exit,) = describe_tensors(model)
    time_first = _time_first(path, described, entrance["shape"])
    builder, graph = Builder(model), model.subgraphs[0]
    features, outcome = graph.inputs[0], graph.outputs[0]
    if entrance["dtype"] != "float32":
        features = builder.tensor("frontend/features", tuple(entrance["shape"]))
    waveform = add_frontend(builder, spec, _normalisation(described), time_first, features)
    if entrance["dtype"] != "float32":
        builder.apply("QUANTIZE", [features], graph.inputs[0], "Quantize", _version(path, entrance))
    before, builder.steps = builder.steps, []
    if exit["dtype"] != "float32":
        outcome = builder.tensor("", tuple(exit["shape"]))
        builder.apply("DEQUANTIZE", [graph.outputs[0]], outcome, "Dequantize", _version(path, exit))
    graph.tensors[outcome].name = "probabilities" if operators(path)[-1] == "SOFTMAX" else "logits"
    graph.operators = [*before, *graph.operators, *builder.steps]
    return _write(builder, waveform, outcome, {**described, **_told(spec)}, out)


def write_frontend_model(spec: LogMel, normalisation: "Normalisation", time_first: bool, out: Path | str) -> Path:
    """Write a front-end alone, as `write_waveform_model` puts it before a network.

    Input as there; output `features`: float32 normalised log-mel, `[1, mels, frames, 1]`, or `[1, frames, mels, 1]` if
    `time_first`.

    Raises:
        EdgepruneError: the FFT size is no power of two, or the fields of the front-end contradict each other.
    """
    from ai_edge_litert import schema_py_generated as schema

    check_spec(spec)
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.description = 3, "log-mel front-end"
    model.subgraphs, model.operatorCodes, model.buffers = [graph], [], [schema.BufferT()]
    graph.name, graph.tensors = "main", []
    builder = Builder(model)
    features = builder.tensor("features", _patch_shape(spec, time_first))
    waveform = add_frontend(builder, spec, normalisation, time_first, features)
    graph.operators = builder.steps
    told = {"frontend": asdict(spec), "normalisation": normalisation.to_dict(), **_told(spec)}
    return _write(builder, waveform, features, told, out)


def takes_waveform(described: Mapping[str, Any]) -> bool:
    """Whether a file takes samples rather than features, by its metadata."""
    return described.get("input") == INPUT


def waveform_probabilities(
    path: Path | str, files: Sequence[Path], title: str = "evaluating", threads: int = 0
) -> NDArray[np.float64]:
    """Class probabilities a waveform-in file gives audio files: means over each clip's patches.

    Args:
        path: the .tflite file, from `write_waveform_model`.
        files: clips, decoded and resampled one at a time.
        title: of the progress bar.
        threads: of the interpreter; 0: one a core.

    Returns:
        `[clips, classes]`.

    Raises:
        EdgepruneError: the file takes features, or a clip cannot be used (see `audio.decode.load_clip`).
    """
    from edgeprune.convert.audio_in import audio_probabilities

    waveform_spec(path)
    return audio_probabilities(path, files, title, threads)


def waveform_spec(path: Path | str) -> LogMel:
    """The front-end inside a waveform-in file.

    Raises:
        EdgepruneError: the file takes features or tells nothing of itself.
    """
    described = read_metadata(path)
    if not takes_waveform(described):
        raise EdgepruneError(f"{path}: takes features, not samples; give a file whose front-end is inside.")
    return LogMel(**described["frontend"])


@dataclass(frozen=True)
class WaveformParity:
    """A waveform-in file against the chain it replaces: Python front-end, then the exported network.

    Attributes:
        clips, patches: compared.
        log_mel_max, log_mel_p999: largest difference of a log-mel value and its 99.9th percentile, natural log units.
        inputs, inputs_differing: integers that enter the network, and how many of them differ (0 of a float network).
        largest_step: by how many quantisation steps at most.
        label_flips: clips whose most likely class is another one.
        max_abs_error: largest difference of a clip's probability.
    """

    clips: int
    patches: int
    log_mel_max: float
    log_mel_p999: float
    inputs: int
    inputs_differing: int
    largest_step: int
    label_flips: int
    max_abs_error: float


def check_waveform(
    path: Path | str, source_path: Path | str, files: Sequence[Path], tolerance: float = LOG_MEL_TOLERANCE
) -> WaveformParity:
    """Compare a waveform-in file with the exported file it was made from, behind the Python front-end.

    The front-end inside may differ by rounding. The network behind it may not: on the features that the front-end
    inside computes, the exported file must give the same outputs. Both run without XNNPACK, whose integers may differ
    by a step from one graph to another.

    Args:
        path: from `write_waveform_model`.
        source_path: the file it was made from.
        files: audio clips.
        tolerance: largest difference allowed of a log-mel value, natural log units.

    Raises:
        EdgepruneError: there are no clips, one cannot be used, or a file is not of the kind said.
        CheckFailedError: the front-end differs by more than `tolerance`, or the network behind it is another one.
    """
    from edgeprune.audio.decode import load_clip

    if not files:
        raise EdgepruneError(f"{path}: there are no clips to compare on; give at least one.")
    comparison = _Comparison(path, source_path)
    for file in files:
        comparison.add(load_clip(file, comparison.spec.sample_rate))
    return comparison.result(tolerance)


class _Comparison:
    """Clip after clip, what a waveform-in file gives and what the chain it replaces gives."""

    def __init__(self, path: Path | str, source_path: Path | str) -> None:
        from edgeprune.audio.logmel import Frontend

        described, self.spec = _described(source_path)
        waveform_spec(path)
        self._name, self._frontend = Path(path).name, Frontend(self.spec)
        self._normalisation = _normalisation(described)
        self._source = TFLiteModel(source_path, xnnpack=False)
        self._time_first = _time_first(source_path, described, self._source.input_shape)
        self._whole = _opened(path, source_path)
        self._log_mel: list[NDArray[np.float32]] = []
        self._steps: list[NDArray[np.int64]] = []
        self._means: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
        self._network = 0.0

    def add(self, clip: NDArray[np.float32]) -> None:
        expected = self._features(clip)
        features, entering, outputs = self._run(waveform_patches(clip, self.spec))
        own = np.concatenate([self._source.invoke_raw(patch[np.newaxis]) for patch in entering])
        self._network = max(self._network, _largest(self._source.dequantise(own) - outputs))
        std = self._normalisation.std if self._time_first else self._normalisation.std[:, np.newaxis]
        self._log_mel.append(np.abs(features - expected)[..., 0] * std)
        if entering.dtype != np.float32:
            self._steps.append(np.abs(entering.astype(np.int64) - self._source.quantise(expected)))
        chain = self._source.predict(expected)
        self._means.append((outputs.mean(axis=0, dtype=np.float64), chain.mean(axis=0, dtype=np.float64)))

    def _run(self, patches: NDArray[np.float32]) -> list[NDArray[Any]]:
        """Features, what enters the network, and probabilities of each patch."""
        (entrance,), exits = self._whole.get_input_details(), self._whole.get_output_details()
        rows = []
        for patch in patches:
            self._whole.set_tensor(entrance["index"], patch[np.newaxis])
            self._whole.invoke()
            rows.append([self._whole.get_tensor(exit["index"])[0] for exit in exits])
        return [np.stack(column) for column in zip(*rows, strict=True)]

    def _features(self, clip: NDArray[np.float32]) -> NDArray[np.float32]:
        """The Python chain's patches as the network takes them, cut from the features of the whole clip."""
        import torch

        from edgeprune.audio.logmel import patch_starts

        frames, long = self._frontend(torch.from_numpy(clip)).numpy(), self.spec.patch_frames
        starts = patch_starts(len(frames), long, self.spec.patch_hop_frames)
        mean, std = self._normalisation.mean, self._normalisation.std
        values = np.stack([(frames[start : start + long] - mean) / std for start in starts])
        turned = values if self._time_first else values.transpose(0, 2, 1)
        return np.ascontiguousarray(turned[..., np.newaxis])

    def result(self, tolerance: float) -> WaveformParity:
        name, log_mel = self._name, np.concatenate([values.ravel() for values in self._log_mel])
        worst = _largest(log_mel)
        if not worst <= tolerance:  # NaN as well
            raise CheckFailedError(
                f"{name}: its front-end differs from the one the network was trained with by {worst:.3g} in log-mel, "
                f"more than {tolerance:g}; make the file again."
            )
        if not self._network <= OUTPUT_TOLERANCE:
            raise CheckFailedError(
                f"{name}: its network differs from {self._source.path.name} by {self._network:.3g} on the same input; "
                "make the file again."
            )
        found, expected = (np.stack(side) for side in zip(*self._means, strict=True))
        steps = np.concatenate([step.ravel() for step in self._steps]) if self._steps else np.zeros(0, np.int64)
        return WaveformParity(
            clips=len(found),
            patches=sum(len(values) for values in self._log_mel),
            log_mel_max=worst,
            log_mel_p999=float(np.percentile(log_mel, 99.9)),
            inputs=len(steps),
            inputs_differing=int((steps > 0).sum()),
            largest_step=int(steps.max(initial=0)),
            label_flips=int((found.argmax(axis=1) != expected.argmax(axis=1)).sum()),
            max_abs_error=_largest(found - expected),
        )


def _opened(path: Path | str, source_path: Path | str) -> Any:
    """An interpreter of the waveform-in file that also gives out the features and what enters its network.

    Raises:
        CheckFailedError: the file was not made from the other.
    """
    model, source = unpack_model(path), unpack_model(source_path)
    graph, entrance = model.subgraphs[0], source.subgraphs[0].inputs[0]
    makers = [step for step in graph.operators if entrance in list(step.outputs)]
    features = makers[0].inputs[0] if makers and _is_quantise(model, makers[0]) else entrance
    graph.outputs, model.signatureDefs = [features, entrance, graph.outputs[0]], None
    if not makers or describe_tensors(model)[1][1] != describe_tensors(source)[0][0]:
        raise CheckFailedError(f"{path}: was not made from {source_path}; make the file again.")
    with tempfile.TemporaryDirectory(prefix="edgeprune.") as folder:
        opened = Path(folder) / "opened.tflite"
        write_bytes(opened, pack_model(model))
        return load_interpreter(opened, xnnpack=False)


def _is_quantise(model: Any, step: Any) -> bool:
    from ai_edge_litert import schema_py_generated as schema

    return bool(model.operatorCodes[step.opcodeIndex].builtinCode == schema.BuiltinOperator.QUANTIZE)


def _largest(values: NDArray[Any]) -> float:
    return float(np.abs(values).max())


def _described(path: Path | str) -> tuple[dict[str, Any], LogMel]:
    """Metadata and front-end of a file that takes log-mel."""
    described = read_metadata(path)
    if takes_waveform(described):
        raise EdgepruneError(f"{path}: takes the waveform already; give the file it was made from.")
    if not described.get("frontend"):
        raise EdgepruneError(f"{path}: takes images, not audio; there is no front-end to put in front of it.")
    if not {"normalisation", "model"} <= described.keys():
        raise EdgepruneError(f"{path}: does not tell its network and its normalisation; export it again.")
    return described, check_spec(LogMel(**described["frontend"]))


def _normalisation(described: Mapping[str, Any]) -> "Normalisation":
    from edgeprune.data.patches import Normalisation

    return Normalisation.from_dict(described["normalisation"])


def _time_first(path: Path | str, described: Mapping[str, Any], shape: Sequence[int]) -> bool:
    """Whether the network takes `[1, frames, mels, 1]`; refuses one whose input is no patch of its front-end."""
    from edgeprune.convert.audio_in import takes_time_first

    first = takes_time_first(described)
    patch = _patch_shape(LogMel(**described["frontend"]), first)
    if tuple(shape) != patch:
        raise EdgepruneError(f"{path}: takes {list(shape)} where its front-end gives {list(patch)}; export it again.")
    return first


def _patch_shape(spec: LogMel, time_first: bool) -> tuple[int, int, int, int]:
    return (1, spec.patch_frames, spec.mels, 1) if time_first else (1, spec.mels, spec.patch_frames, 1)


def _version(path: Path | str, end: Mapping[str, Any]) -> int:
    if end["dtype"] not in _QUANTISED or end["scale"] is None:
        raise EdgepruneError(f"{path}: has an end of {end['dtype']}; export it as float32, int8 or int16x8.")
    return _QUANTISED[end["dtype"]]


def _told(spec: LogMel) -> dict[str, Any]:
    """What a program must know to feed the file."""
    before, _ = spec.samples_around
    return {
        "input": INPUT,
        "waveform": {
            "sample_rate": spec.sample_rate,
            "samples": spec.patch_samples,
            "before": before,
            "hop": spec.patch_hop_frames * spec.hop_samples,
        },
    }


def _write(builder: Builder, waveform: int, outcome: int, described: Mapping[str, Any], out: Path | str) -> Path:
    """The graph with its new ends, one signature and the metadata."""
    from ai_edge_litert import schema_py_generated as schema

    model, graph = builder.model, builder.graph
    graph.inputs, graph.outputs = [waveform], [outcome]
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = "serving_default", 0
    signature.inputs, signature.outputs = _named(graph, waveform), _named(graph, outcome)
    model.signatureDefs = [signature]
    _raise_runtime(model)
    set_metadata(model, described)
    write_bytes(out, pack_model(model))
    return Path(out)


def _named(graph: Any, number: int) -> list[Any]:
    from ai_edge_litert import schema_py_generated as schema

    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = graph.tensors[number].name, number
    return [entry]


def _raise_runtime(model: Any) -> None:
    """The file tells which TensorFlow Lite it needs at least; the front-end may need a newer one than the network."""
    for item in model.metadata or []:
        if item.name == b"min_runtime_version":
            told = bytes(model.buffers[item.buffer].data).rstrip(b"\0")
            if tuple(int(part) for part in told.split(b".") if part.isdigit()) < _RUNTIME:
                text = ".".join(map(str, _RUNTIME)).encode().ljust(16, b"\0")
                model.buffers[item.buffer].data = np.frombuffer(text, dtype=np.uint8)
