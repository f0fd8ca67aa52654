"""Checkpoints of networks: spec, weights and whatever is needed to use them; no pickles."""

import io
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeprune.data.normalisation import Normalisation
from edgeprune.errors import EdgepruneError
from edgeprune.files import write_bytes
from edgeprune.models.registry import ModelSpec, build

if TYPE_CHECKING:
    from torch import Tensor, nn

_FORMAT = 1


@dataclass
class Checkpoint:
    """A network with its spec and `extra`: labels, front-end, normalisation, history, as plain values."""

    spec: ModelSpec
    model: "nn.Module"
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def normalisation(self) -> Normalisation:
        """The statistics its inputs were normalised with."""
        return Normalisation.from_dict(self.extra["normalisation"])

    @property
    def threshold(self) -> float | None:
        """Probability from which a class counts as heard; None where one class a clip is told."""
        return self.extra.get("threshold")


def save(path: Path | str, spec: ModelSpec, model: "nn.Module", extra: Mapping[str, Any] | None = None) -> None:
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    content = {"format": _FORMAT, "spec": spec.to_dict(), "state": state, "extra": dict(extra or {})}
    write_bytes(path, torch_bytes(_unshared(content)))


def _unshared(value: Any) -> Any:
    """The same value, each text in it one object and each container its own.

    A pickle tells an object that occurs twice from two equal ones, such as those of a training that was resumed.
    """
    if type(value) is str:
        return sys.intern(value)
    if isinstance(value, dict):
        return {_unshared(key): _unshared(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_unshared, value))
    return value


def torch_bytes(content: Mapping[str, Any]) -> bytes:
    """What `torch.save` writes; the same content gives the same bytes, since no file name goes into them."""
    import torch

    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def load(path: Path | str) -> Checkpoint:
    """Load a checkpoint in evaluation mode."""
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["format"] != _FORMAT:
            raise EdgepruneError(f"{path}: checkpoint format {content['format']} is not known to this version.")
        spec, extra = ModelSpec.from_dict(content["spec"]), content["extra"]
        if not isinstance(extra, dict):
            raise TypeError("its extra is no table")
        with torch.device("meta"):  # no memory before it is known that the weights are there
            _check_state(content["state"], build(spec).state_dict())
        model = build(spec)
        model.load_state_dict(content["state"])
        return Checkpoint(spec, model.eval(), extra)
    except EdgepruneError:
        raise
    except FileNotFoundError as error:
        raise EdgepruneError(f"{path}: there is no such checkpoint.") from error
    except Exception as error:
        raise EdgepruneError(
            f"{path}: is not a whole edgeprune checkpoint ({type(error).__name__}); "
            "delete it and run again to make it anew."
        ) from error


def _check_state(state: Mapping[str, Any], due: Mapping[str, "Tensor"]) -> None:
    """Refuse a state dict with other tensors than the network's, or with tensors of another shape or type."""
    if state.keys() != due.keys():
        raise ValueError("its tensors are not those of its network")
    for name, tensor in due.items():
        stored = state[name]
        if (stored.shape, stored.dtype, stored.layout) != (tensor.shape, tensor.dtype, tensor.layout):
            raise ValueError(f"{name} is {stored.dtype} {list(stored.shape)}")
