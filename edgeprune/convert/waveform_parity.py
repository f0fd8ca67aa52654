"""Whether a file with the front-end inside computes what the Python front-end and the exported network do."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.audio.decode import load_clip
from edgeprune.audio.logmel import waveform_patches
from edgeprune.convert.waveform import check_input, read_log_mel_description
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.files import write_bytes
from edgeprune.scratch import scratch_folder
from edgeprune.tflite.flatbuffer import describe_tensors, operator_names, pack_model, unpack_model
from edgeprune.tflite.interpreter import TFLiteModel, load_interpreter
from edgeprune.tflite.metadata import read_description

LOG_MEL_TOLERANCE = 1e-3
"""Largest difference of a log-mel value from the Python front-end's, natural log units."""
OUTPUT_TOLERANCE = 1e-5
"""Largest difference of a probability from the network's own, on the same features; a step of int8 is 4e-3."""


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
    by a step from one graph to another. `tolerance` is the largest difference allowed of a log-mel value.
    """
    if not files:
        raise EdgepruneError(f"{path}: there are no clips to compare on; give at least one.")
    comparison = _Comparison(path, source_path)
    for file in files:
        comparison.add(load_clip(file, comparison.spec.sample_rate))
    return comparison.result(tolerance)


class _Comparison:
    """Clip after clip, what a waveform-in file gives and what the chain it replaces gives."""

    def __init__(self, path: Path | str, source_path: Path | str) -> None:
        self._description = read_log_mel_description(source_path)
        if not read_description(path).takes_waveform:
            raise EdgepruneError(f"{path}: takes features, not samples; give a file whose front-end is inside.")
        self.spec, self._name = self._description.logmel, Path(path).name
        self._source = TFLiteModel(source_path, xnnpack=False)
        check_input(source_path, self._description, self._source.input_shape)
        self._opened = _open_inside(path, source_path)
        self._log_mel_errors: list[NDArray[np.float32]] = []
        self._input_steps: list[NDArray[np.int64]] = []
        self._clip_means: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
        self._network_error = 0.0

    def add(self, clip: NDArray[np.float32]) -> None:
        expected = self._description.patches(clip)
        (waveform,), exits = self._opened.get_input_details(), self._opened.get_output_details()
        rows = []
        for patch in waveform_patches(clip, self.spec):
            self._opened.set_tensor(waveform["index"], patch[np.newaxis])
            self._opened.invoke()
            rows.append([self._opened.get_tensor(exit["index"])[0] for exit in exits])
        features, inputs, outputs = (np.stack(column) for column in zip(*rows, strict=True))
        own = np.concatenate([self._source.invoke_raw(patch[np.newaxis]) for patch in inputs])
        self._network_error = max(self._network_error, _largest(self._source.dequantise(own) - outputs))
        std = self._description.normalisation.std
        std = std if self._description.layout == "frames_mels" else std[:, np.newaxis]
        self._log_mel_errors.append(np.abs(features - expected)[..., 0] * std)
        if inputs.dtype != np.float32:
            self._input_steps.append(np.abs(inputs.astype(np.int64) - self._source.quantise(expected)))
        chain = self._source.predict(expected)
        self._clip_means.append((outputs.mean(axis=0, dtype=np.float64), chain.mean(axis=0, dtype=np.float64)))

    def _labels(self, means: NDArray[np.float64]) -> NDArray[Any]:
        """The labels of each clip: its likeliest class, or which classes reach the threshold."""
        threshold = self._description.threshold
        return means.argmax(axis=1, keepdims=True) if threshold is None else means >= threshold

    def result(self, tolerance: float) -> WaveformParity:
        errors = np.concatenate([clip.ravel() for clip in self._log_mel_errors])
        largest = _largest(errors)
        if not largest <= tolerance:  # NaN as well
            raise CheckFailedError(
                f"{self._name}: its front-end differs from the one the network was trained with by {largest:.3g} in "
                f"log-mel, more than {tolerance:g}; make the file again."
            )
        if not self._network_error <= OUTPUT_TOLERANCE:
            raise CheckFailedError(
                f"{self._name}: its network differs from {self._source.path.name} by {self._network_error:.3g} on the "
                "same input; make the file again."
            )
        means, chain_means = (np.stack(side) for side in zip(*self._clip_means, strict=True))
        steps = np.concatenate([np.zeros(0, np.int64), *(step.ravel() for step in self._input_steps)])
        return WaveformParity(
            clips=len(means),
            patches=sum(len(clip) for clip in self._log_mel_errors),
            log_mel_max=largest,
            log_mel_p999=float(np.percentile(errors, 99.9)),
            inputs=len(steps),
            inputs_differing=int((steps > 0).sum()),
            largest_step=int(steps.max(initial=0)),
            label_flips=int((self._labels(means) != self._labels(chain_means)).any(axis=1).sum()),
            max_abs_error=_largest(means - chain_means),
        )


def _open_inside(path: Path | str, source_path: Path | str) -> Any:
    """An interpreter of the waveform-in file whose outputs are the features, the network's input and its output."""
    model, source = unpack_model(path), unpack_model(source_path)
    graph, network_input = model.subgraphs[0], source.subgraphs[0].inputs[0]
    named = zip(operator_names(model), graph.operators, strict=True)
    makers = [(name, operator) for name, operator in named if network_input in list(operator.outputs)]
    features = makers[0][1].inputs[0] if makers and makers[0][0] == "QUANTIZE" else network_input
    graph.outputs, model.signatureDefs = [features, network_input, graph.outputs[0]], None
    if not makers or describe_tensors(model)[1][1] != describe_tensors(source)[0][0]:
        raise CheckFailedError(f"{path}: was not made from {source_path}; make the file again.")
    with scratch_folder() as folder:
        opened = folder / "opened.tflite"
        write_bytes(opened, pack_model(model))
        return load_interpreter(opened, xnnpack=False)


def _largest(values: NDArray[Any]) -> float:
    return float(np.abs(values).max())
