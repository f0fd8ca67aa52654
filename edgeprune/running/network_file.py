"""A .tflite as an object: of one's own, of a run, or by others with labels and front-end given to it."""

import os
import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.errors import EdgepruneError
from edgeprune.recipe import Data, LogMel
from edgeprune.scratch import scratch_folder
from edgeprune.tflite.description import Description, Output
from edgeprune.tflite.interpreter import TFLiteModel
from edgeprune.tflite.metadata import read_description, read_metadata, write_described
from edgeprune.tflite.own_description import own_description
from edgeprune.tflite.sidecar import check_unchanged, write_sidecar

if TYPE_CHECKING:
    from edgeprune.devices.record import Measurements
    from edgeprune.graph.cost import Cost
    from edgeprune.running.evaluate import Evaluation


@dataclass(frozen=True)
class NetworkFile(os.PathLike[str]):
    """A .tflite; every function of edgeprune that takes a path takes it as well.

    Attributes:
        path: the file; of one whose description was given, a copy that carries it, which lives as long as this object.
        description: labels, front-end and normalisation; None of a file by others.
    """

    path: Path
    description: Description | None = None

    def __fspath__(self) -> str:
        return str(self.path)

    def predict(self, x: Any) -> NDArray[np.float32]:
        """Outputs `[n, ...]` of the first output, dequantised.

        Args:
            x: `[n, ...]` as the file takes it, or as the network that was exported did (channels first).
        """
        from edgeprune.convert.onnx_to_tf import in_file

        values = np.asarray(x, dtype=np.float32)
        model = TFLiteModel(self.path)
        axes = read_metadata(self.path).get("input_axes") if self.description is not None else None
        if axes is not None and values.shape[1:] != model.input_shape[1:]:
            values = in_file(values, tuple(axes))
        return model.predict_all(values)[0]

    def cost(self) -> "Cost":
        """Parameters, MACs, flash and RAM."""
        from edgeprune.tflite.cost import cost_of_tflite

        return cost_of_tflite(self.path)

    def bench(self, device: str = "host", **settings: Any) -> "Measurements":
        """See `edgeprune.bench`."""
        from edgeprune.devices.bench import bench

        return bench(self.path, device, **settings)

    def evaluate(self, data: Data, split: str = "test") -> "Evaluation":
        """See `edgeprune.evaluate`."""
        from edgeprune.running.evaluate import evaluate

        return evaluate(self.path, data, split)

    def deploy(self, target: str, out: Path | str, clips: Sequence[Path] = ()) -> Path:
        """See `edgeprune.deploy`."""
        from edgeprune.bundles.targets import write_bundle

        return write_bundle(self.path, target, Path(out), clips)


def load_tflite(
    path: Path | str,
    labels: Sequence[str] | None = None,
    frontend: LogMel | None = None,
    normalisation: tuple[Any, Any] | None = None,
    output: Output = "softmax",
) -> NetworkFile:
    """A .tflite, exported by edgeprune or by others.

        edgeprune.load_tflite("kws.tflite", labels=["yes", "no"], frontend=LogMel(patch_frames=49)).bench("tflm")

    Args:
        path: the file.
        labels: names of its outputs, for a file without our description; with it, they and what follows take its place.
        frontend: whose log-mel patches it takes.
        normalisation: mean and standard deviation, of each mel band or of all, that log-mel is normalised by.
        output: what its values are: `softmax`, `sigmoid`, `logits`, `none`.

    Raises:
        EdgepruneError: the file is not whole, or labels and front-end do not match it.
        CheckFailedError: the file is not the one its sidecar, or the result of its run, was written for.
    """
    path = Path(path)
    check_unchanged(path)
    model = TFLiteModel(path)
    if labels is None and frontend is None:
        if normalisation is not None or output != "softmax":
            raise EdgepruneError(
                f"{path}: normalisation and output are taken with labels or a front-end; give these too."
            )
        try:
            return NetworkFile(path, read_description(path))
        except EdgepruneError:
            return NetworkFile(path)
    classes = int(model.output_shape[-1])
    description = own_description(path.stem, model.input_shape, classes, labels, frontend, normalisation, output)
    with ExitStack() as stack:
        folder = stack.enter_context(scratch_folder(prefix="edgeprune-"))
        copy = write_described(path, description, folder / path.name)
        write_sidecar(copy, description, {"described": "its labels and front-end were given, not exported with it"})
        network = NetworkFile(copy, description)
        weakref.finalize(network, stack.pop_all().close)
    return network
