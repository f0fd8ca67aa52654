"""What a layer reads and puts out while its network runs on clips."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree

from edgeprune.errors import EdgepruneError

MOST_INPUTS = 20
"""Network inputs that run at once."""


def network_inputs(batches: Iterable[Any], device: torch.device) -> list[tuple[Tensor, ...]]:
    """The inputs of batches with or without labels, a few at once.

    A batch is a tensor `[n, ...]`, or a pair of inputs (a tensor, or a tuple of them) and labels, which are left out.
    """
    pieces: list[tuple[Tensor, ...]] = []
    for batch in batches:
        given = batch[0] if isinstance(batch, tuple | list) else batch
        tensors = tuple(given) if isinstance(given, tuple | list) else (given,)
        split = [tensor.to(device).split(MOST_INPUTS) for tensor in tensors]
        pieces += [piece for piece in zip(*split, strict=True) if len(piece[0])]
    if not pieces:
        raise EdgepruneError("reconstruction: got batches without clips; give a few hundred.")
    return pieces


def flat_outputs(outputs: Any) -> Tensor:
    """All numbers `[clips, numbers]` that a network puts out for a batch, float64."""
    leaves = [leaf for leaf in _pytree.tree_leaves(outputs) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    return torch.cat([leaf.double().reshape(len(leaf), -1) for leaf in leaves], 1)


@contextmanager
def watched(model: nn.Module, paths: Sequence[str], receive: Callable[[str, Tensor, Tensor], None]) -> Iterator[None]:
    """While active, `receive` gets path, input and output, with their batch axis, of each of the layers that runs."""

    def hook(path: str) -> Any:
        def hand_over(layer: Any, args: Any, kwargs: Any, y: Tensor) -> None:
            x: Tensor = args[0] if args else next(iter(kwargs.values()))
            axes = 2 if isinstance(layer, nn.Linear) else layer.weight.ndim
            receive(path, *((x[None], y[None]) if x.ndim < axes else (x, y)))

        return hand_over

    hooks = [model.get_submodule(path).register_forward_hook(hook(path), with_kwargs=True) for path in paths]
    try:
        yield
    finally:
        for each in hooks:
            each.remove()


class _StopForward(Exception):  # noqa: N818 - it is no error
    """Ends a forward pass whose rest is not needed."""


def watch_one(model: nn.Module, path: str, batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """A layer's input and output; what comes after it does not run."""
    found: list[Tensor] = []

    def receive(_path: str, x: Tensor, y: Tensor) -> None:
        found.extend((x, y))
        raise _StopForward

    with watched(model, [path], receive), suppress(_StopForward):
        model(*batch)
    return found[0], found[1]
