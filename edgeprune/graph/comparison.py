"""Whether two states of a network compute the same, on an example and on random inputs."""

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree

from edgeprune.errors import first_line

SEED = 0


def difference_of(
    model: nn.Module,
    inputs: tuple[Tensor, ...],
    before: Callable[[], None],
    after: Callable[[], None],
    tolerance: float,
) -> str:
    """What is wrong with a network after two changes: it does not run, or gives other outputs than between the two.

    "" if nothing is. Outputs may differ by `tolerance`, a share of the largest value of each output.
    """
    tried = [random_like(inputs), inputs]
    with torch.no_grad():
        before()
        expected = [_outputs(model, each) for each in tried]
        after()
        compared = False
        for each, wanted in zip(tried, expected, strict=True):
            if isinstance(wanted, str) or not all(bool(tensor.isfinite().all()) for tensor in wanted):
                continue  # a random input may be one that the network does not take
            outputs = _outputs(model, each)
            if isinstance(outputs, str):
                return f"does not run any more after pruning ({outputs})"
            difference = _difference(outputs, wanted)
            if not difference <= tolerance:
                share = (
                    f"{difference:.1e} of its largest value" if isfinite(difference) else "more than can be measured"
                )
                return f"gives another output after pruning than with the filters silenced; they differ by {share}"
            compared = True
    return "" if compared else "gives no finite output with the filters silenced"


def random_like(inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Random inputs of the mean and deviation of the example; an example that is constant gives normal noise."""
    generator = torch.Generator().manual_seed(SEED)
    drawn = []
    for x in inputs:
        if not x.is_floating_point() or x.numel() == 0:
            drawn.append(x)
            continue
        noise = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        spread = float(x.double().std()) if x.numel() > 1 else 0.0
        drawn.append((noise * spread + float(x.double().mean()) if spread > 0 else noise).to(x.dtype))
    return tuple(drawn)


def _outputs(model: nn.Module, inputs: tuple[Tensor, ...]) -> list[Tensor] | str:
    """All tensors that the network gives, or why it does not run."""
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            made: Any = model(*(x.clone() for x in inputs))  # which the network may change in place
    except Exception as error:  # whatever the user's forward raises
        return first_line(error)
    leaves = _pytree.tree_leaves(made)
    return [leaf.double() for leaf in leaves if isinstance(leaf, Tensor) and not leaf.is_complex()]


def _difference(outputs: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """The largest difference as a share of the largest value of an output."""
    if [tensor.shape for tensor in outputs] != [tensor.shape for tensor in wanted]:
        return float("inf")
    worst = 0.0
    for one, two in zip(outputs, wanted, strict=True):
        if one.numel():
            scale = float(two.abs().max())
            worst = max(worst, float((one - two).abs().max()) / scale if scale else float((one - two).abs().max()))
            if not bool(one.isfinite().all()):
                return float("nan")
    return worst
