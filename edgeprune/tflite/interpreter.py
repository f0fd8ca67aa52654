"""Run a TFLite file with LiteRT, after checking that the file is whole."""

import importlib.metadata
import math
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import ArrayLike, NDArray

from edgeprune.errors import EdgepruneError, first_line
from edgeprune.tflite import flatbuffer
from edgeprune.tflite.integrity import check_file
from edgeprune.tflite.trial import try_file
from edgeprune.tflite.trial_process import REFUSALS, model_of


def load_interpreter(path: Path | str, threads: int = 1, reference: bool = False, xnnpack: bool = True) -> Any:
    """LiteRT's interpreter of the file, tensors allocated.

    Args:
        threads: CPU threads an inference may use.
        reference: use the slow reference kernels. Their dense layers round once, those of microcontrollers and of
            `xnnpack=False` twice, so that integers may differ by one step.
        xnnpack: use the XNNPACK delegate, as the runtime does by default; its integers may differ by one step a layer.
            Without it, an int8 file gives the bytes of TFLite Micro but for one step of a dense layer on a few clips
            in a hundred (seen on x86), which softmax turns into many steps. No effect with `reference`.
    """
    if threads < 1:
        raise EdgepruneError(f"threads: {threads} cannot run anything; use 1 or more.")
    check_file(path)
    kernels = OpResolverType.AUTO if xnnpack else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    if reference:
        kernels = OpResolverType.BUILTIN_REF
    try_file(path, kernels.name)
    try:
        with _without_notices():
            model = model_of(str(path))
            interpreter = Interpreter(**model, num_threads=threads, experimental_op_resolver_type=kernels)
            interpreter.allocate_tensors()
        # In a damaged file the tensors' names may not be text, which only these calls notice.
        interpreter.get_input_details(), interpreter.get_output_details()
    except REFUSALS as error:
        raise _cannot_load(path, error) from error
    return interpreter


@contextmanager
def _without_notices() -> Iterator[None]:
    """Keep LiteRT's lines that begin with INFO, which native code writes, out of standard error."""
    try:
        stderr = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    with tempfile.TemporaryFile() as written:
        sys.stderr.flush()
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            written.seek(0)
            for line in written:
                if not line.startswith(b"INFO:"):
                    os.write(2, line)


def runtime_version() -> str:
    """The package the interpreter comes from and its version, such as `ai-edge-litert 2.3.0`."""
    return f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')}"


class TFLiteModel:
    """A TFLite network of one input whose first axis is the batch; see `load_interpreter`.

    Whether an output is probabilities or logits is up to the file (see `operators`).

    Attributes:
        input_shape: with the batch, as the file has it, such as `(1, 40, 51, 1)`.
        input_dtype: float32, int8, uint8 or int16.
        input_quantisation: `(scale, zero_point)`: real = scale x (stored - zero_point); `(0.0, 0)` for float32.
        output_shape, output_dtype, output_quantisation: the same of the first output.
        outputs: how many there are; `invoke_raw` and `predict` are for networks of one.
    """

    def __init__(self, path: Path | str, threads: int = 1, reference: bool = False, xnnpack: bool = True) -> None:
        self.path = Path(path)
        self._interpreter = load_interpreter(path, threads, reference, xnnpack)
        self._input = self._only(self._interpreter.get_input_details(), "inputs")
        self._outputs = list(self._interpreter.get_output_details())
        self.outputs = len(self._outputs)
        if not self._outputs:
            raise EdgepruneError(f"{self.path.name}: has no output; give the file of a network.")
        self.input_shape, self.input_dtype, self.input_quantisation = self._described(self._input)
        self.output_shape, self.output_dtype, self.output_quantisation = self._described(self._outputs[0])
        for output in self._outputs[1:]:
            self._described(output)

    def operators(self) -> list[str]:
        """Names of the operators in the order they run (see `flatbuffer.operator_names`)."""
        return list(self._unpacked[0])

    @cached_property
    def _unpacked(self) -> tuple[list[str], float]:
        """Names of the operators, and the step of the first output; the file is unpacked once, not for every batch."""
        model = flatbuffer.unpack_model(self.path)
        return flatbuffer.operator_names(model), flatbuffer.output_step(model)

    def quantise(self, x: ArrayLike) -> NDArray[Any]:
        """Real numbers of any shape as the input stores them; unchanged for a float32 input.

        Halves are rounded away from zero and values beyond the range saturate, as TFLite's QUANTIZE operator does.
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

    def dequantise(self, y: NDArray[Any], output: int = 0) -> NDArray[np.float32]:
        """Stored values of an output, of any shape, as real numbers, float32."""
        if y.dtype == np.float32:
            return y
        scale, zero_point = self._outputs[output]["quantization"]
        return ((y.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)).astype(np.float32)

    def step(self, output: int = 0) -> float:
        """The distance of two values that an output can have; 0 where it is float32."""
        return float(self._outputs[output]["quantization"][0])

    def invoke_raw(self, x: NDArray[Any]) -> NDArray[Any]:
        """Run one batch: `x` of `input_shape` and `input_dtype` gives an array of `output_shape` and `output_dtype`."""
        if self.outputs != 1:
            raise EdgepruneError(f"{self.path.name}: has {self.outputs} outputs; give a network with one.")
        return self.invoke_all(x)[0]

    def invoke_flat(self, x: NDArray[Any]) -> NDArray[Any]:
        """Run one batch; the outputs as one row `[1, values]`: as stored, or of several real numbers, float32."""
        outputs = self.invoke_all(x)
        if len(outputs) == 1:
            return outputs[0].reshape(1, -1)
        rows = [self.dequantise(values, number).reshape(1, -1) for number, values in enumerate(outputs)]
        return np.concatenate(rows, axis=1)

    def invoke_all(self, x: NDArray[Any]) -> list[NDArray[Any]]:
        """Run one batch; every output as the file stores it."""
        if _without_units(x.shape) == _without_units(self.input_shape):
            x = x.reshape(self.input_shape)
        if x.shape != self.input_shape or x.dtype != self.input_dtype:
            raise EdgepruneError(
                f"{self.path.name}: got {x.dtype} {list(x.shape)} where it takes {self.input_dtype} "
                f"{list(self.input_shape)}; give it that."
            )
        try:
            self._interpreter.set_tensor(self._input["index"], x)
            self._interpreter.invoke()
            return [self._interpreter.get_tensor(output["index"]) for output in self._outputs]
        except REFUSALS as error:
            raise EdgepruneError(
                f"{self.path.name}: its interpreter failed ({first_line(error)}); export it again."
            ) from error

    def predict(self, x: ArrayLike) -> NDArray[np.float32]:
        """Outputs of many clips, float32 `[clips, classes]`, dequantised.

        Args:
            x: float32 `[clips, ...]`, each clip shaped as `input_shape` without its batch; run batch by batch.
        """
        if self.outputs != 1:
            raise EdgepruneError(f"{self.path.name}: has {self.outputs} outputs; give a network with one.")
        (outputs,) = self.predict_all(x)
        return outputs.reshape(len(outputs), math.prod(outputs.shape[1:]))

    def probabilities(self, x: ArrayLike) -> NDArray[np.float32]:
        """What `predict` gives of a file that ends in probabilities, with zeros read as what they stand for.

        In an output of integers, zero stands for all that is less than half a step (1/512 of int8), and is read as
        half a step. Read as zero, it would cost any metric with a logarithm all that the metric's own limit allows.
        Where classes are many, it is read as 1/32 shared among all of them, so that what is added stays small.
        """
        values = self.predict(x)
        floor = min(self._unpacked[1] / 2, 1 / (32 * values.shape[1]))
        return np.where(values == 0, np.float32(floor), values)

    def predict_all(self, x: ArrayLike) -> list[NDArray[np.float32]]:
        """Every output of many clips, float32 `[clips, ...]`, dequantised; clips as `predict` takes them."""
        if {"VAR_HANDLE", "ASSIGN_VARIABLE"} & set(self.operators()):
            raise EdgepruneError(
                f"{self.path.name}: keeps state from one call to the next, so its answers depend on what it heard "
                "before; only bench takes it."
            )
        clips = np.asarray(x, dtype=np.float32)
        batch, clip_shape = self.input_shape[0], self.input_shape[1:]
        if clips.ndim > 0 and _without_units(clips.shape[1:]) == _without_units(clip_shape):
            clips = clips.reshape(len(clips), *clip_shape)
        if clips.ndim == 0 or clips.shape[1:] != clip_shape:
            raise EdgepruneError(
                f"{self.path.name}: got clips of shape {list(clips.shape[1:])} where it takes {list(clip_shape)}; "
                "compute the features it was trained on."
            )
        shapes = [tuple(int(size) for size in output["shape"]) for output in self._outputs]
        if uneven := next((shape for shape in shapes if math.prod(shape) % batch), None):
            raise EdgepruneError(
                f"{self.path.name}: gives {list(uneven)} for a batch of {batch}, not the same for each clip; export it "
                "again."
            )
        clip_shapes = [(math.prod(shape) // batch,) if shape[0] != batch else shape[1:] for shape in shapes]
        results = [np.empty((len(clips), *shape), dtype=np.float32) for shape in clip_shapes]
        for start in range(0, len(clips), batch):
            part = clips[start : start + batch]
            filled = np.zeros(self.input_shape, dtype=np.float32)
            filled[: len(part)] = part
            for number, raw in enumerate(self.invoke_all(self.quantise(filled))):
                values = self.dequantise(raw, number).reshape(batch, *clip_shapes[number])
                results[number][start : start + batch] = values[: len(part)]
        return results

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


def _without_units(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The sizes that are not 1: arrays that differ in others alone hold the same values in the same order."""
    return tuple(size for size in shape if size != 1)


def _cannot_load(path: Path | str, error: Exception) -> EdgepruneError:
    """The interpreter's message as one sentence that says what to do."""
    text = str(error)
    if missing := re.search(r"Didn't find op for builtin opcode '(\w+)' version '(\d+)'", text):
        return EdgepruneError(
            f"{path}: needs {missing[1]} version {missing[2]}, which {runtime_version()} does not have; "
            "update ai-edge-litert, or export the model as float32 or int8."
        )
    if re.search(r"unresolved custom op|Select TensorFlow op", text):
        return EdgepruneError(
            f"{path}: uses operators that are not builtin ({first_line(error)}); export it with builtin ones only."
        )
    return EdgepruneError(f"{path}: {runtime_version()} cannot load it ({first_line(error)}); export it again.")
