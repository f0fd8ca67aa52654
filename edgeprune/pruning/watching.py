"""What a layer reads and puts out while its network runs on clips."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils import _pytree

from edgeprune.errors import EdgepruneError

INPUTS_AT_ONCE = 20
"""Network inputs that run at once."""
_Key = TypeVar("_Key")


def network_inputs(batches: Iterable[Any], device: torch.device, reader: str) -> list[tuple[Tensor, ...]]:
    """The inputs of batches with or without labels, a few at once.

    A batch is a tensor `[n, ...]`, or a pair of inputs (a tensor, or a tuple of them) and labels, which are left out.
    `reader` is what looks at them, for the message where there is no clip.
    """
    pieces: list[tuple[Tensor, ...]] = []
    for batch in batches:
        given = batch[0] if isinstance(batch, tuple | list) else batch
        tensors = tuple(given) if isinstance(given, tuple | list) else (given,)
        split = [tensor.to(device).split(INPUTS_AT_ONCE) for tensor in tensors]
        pieces += [piece for piece in zip(*split, strict=True) if len(piece[0])]
    if not pieces:
        raise EdgepruneError(f"{reader} got batches without clips; give a few hundred.")
    return pieces


def flat_outputs(outputs: Any) -> Tensor:
    """All numbers `[clips, numbers]` that a network puts out for a batch, float64."""
    leaves = [leaf for leaf in _pytree.tree_leaves(outputs) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    return torch.cat([leaf.double().reshape(len(leaf), -1) for leaf in leaves], 1)


@contextmanager
def watched(
    layers: Sequence[tuple[_Key, nn.Module]], receive: Callable[[_Key, Tensor, Tensor], None]
) -> Iterator[None]:
    """While active, `receive` gets key, input and output, with their batch axis, of each of the layers that runs."""

    def hook(key: _Key) -> Any:
        def hand_over(layer: Any, args: Any, kwargs: Any, y: Tensor) -> None:
            x: Tensor = args[0] if args else next(iter(kwargs.values()))
            axes = 2 if isinstance(layer, nn.Linear | nn.RNNBase) else layer.weight.ndim
            receive(key, *((x[None], y[None]) if x.ndim < axes else (x, y)))

        return hand_over

    hooks = [layer.register_forward_hook(hook(key), with_kwargs=True) for key, layer in layers]
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

    with watched([(path, model.get_submodule(path))], receive), suppress(_StopForward):
        model(*batch)
    return found[0], found[1]


def drawn_rows(positions: int, wanted: float, generator: torch.Generator) -> Tensor:
    """About so many of the positions, one at least, drawn at random; all of them where there are no more."""
    if wanted >= positions:
        return torch.arange(positions)
    return torch.randperm(positions, generator=generator)[: max(1, round(wanted))]
