"""Repairing a pruned network: each layer is fitted anew, by least squares, to what the dense network computes.

After filters are cut, the weights that remain were made for inputs that are gone. Layer by layer, in the order of
execution, weights and bias are chosen so that from the inputs which the layer now gets its output comes as close as it
can to the dense network's on the filters that stay. Clips are needed, labels are not.

Sources: He, Zhang & Sun, "Channel pruning for accelerating very deep neural networks", ICCV 2017; Luo, Wu & Lin,
"ThiNet", ICCV 2017.
"""

import copy
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree

from edgeprune.console import track
from edgeprune.errors import EdgepruneError
from edgeprune.graph.cutting import PlainWeights
from edgeprune.graph.evaluation_mode import evaluating
from edgeprune.graph.graph import Graph, Operator
from edgeprune.graph.trace import LAYERS
from edgeprune.pruning.normal_equations import NormalEquations
from edgeprune.pruning.unfolding import (
    bias_of,
    by_group,
    outputs_at,
    positions_of,
    set_weight,
    unfolded,
    weight_of,
)

RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Ridges that are tried, as shares of the inputs' mean variance."""
DEFAULT_RIDGE = 1e-2
"""The ridge where too few clips are given to hold some out."""
FEWEST_ROWS, ROWS_A_COLUMN = 20_000, 20
"""Positions of all clips that a layer is fitted on: so many, or so many a weight of a filter if these are more."""
MOST_INPUTS = 20
"""Network inputs that run at once."""
HELD_OUT = 5
"""One in so many inputs is held out to choose the ridge."""
SEED = 0


@dataclass(frozen=True)
class LayerFit:
    """What became of a layer.

    Attributes:
        path: of the layer in the model.
        error_before, error_after: squared error against the dense network's output, as a share of that output's
            variance, on the positions it was fitted on, with the weights it had and the weights it has; None of a layer
            that was left as it is.
        ridge: as a share of the inputs' mean variance.
        left: why it was left as it is; "" of a layer that was fitted.
    """

    path: str
    error_before: float | None = None
    error_after: float | None = None
    ridge: float | None = None
    seconds: float = 0.0
    left: str = ""


@dataclass(frozen=True)
class Reconstruction:
    """What a reconstruction did.

    Attributes:
        inputs: network inputs it looked at.
        layers: in the order of execution.
        output_error_before, output_error_after: squared error of the network's outputs against the dense network's, as
            a share of their variance, right after filters were cut and now.
        kept: whether the fitted weights were kept, since the outputs came closer.
    """

    inputs: int
    layers: tuple[LayerFit, ...]
    output_error_before: float
    output_error_after: float
    kept: bool
    seconds: float

    def sentence(self) -> str:
        """What was done, for a reader."""
        layers = sum(not layer.left for layer in self.layers)
        errors = f"from {self.output_error_before:.1%} to {self.output_error_after:.1%} of the outputs' variance"
        if not self.kept:
            return f"reconstruction of {layers} layers took the error {errors}; the weights were left as they were"
        return (
            f"reconstructed {layers} layers on {self.inputs:,} inputs in {self.seconds:.0f} s: the error against the "
            f"dense network fell {errors}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as in `result.json`."""
        return {**asdict(self), "layers": [asdict(layer) for layer in self.layers]}


@torch.no_grad()
def reconstruct(
    dense: nn.Module,
    pruned: nn.Module,
    kept: Mapping[str, Sequence[int]],
    graph: Graph,
    batches: Iterable[Any],
    ridges: Sequence[float] = RIDGES,
) -> Reconstruction:
    """Fit the layers of a pruned network, in place, to those of the dense network it was cut from.

    A layer is left as it is where it runs several times, where it is recurrent, where it computes something else than
    its weights say, and where its inputs did not change. If the network's outputs on the clips do not come closer, all
    layers are.

    The ridge, which draws weights to those the layer has, is chosen for each layer: that of the least error on one in
    five inputs, which are held out meanwhile.

    Args:
        kept: filters by group, as `graph.surgery.remove` takes them; groups it lacks kept theirs.
        graph: of the dense network.
        batches: network inputs `[n, ...]` of training clips, or pairs of inputs (a tensor, or a tuple of them) and
            labels, which are ignored. Some hundred clips are usual.

    Raises:
        EdgepruneError: there is no clip.
    """
    began, device = time.monotonic(), next(dense.parameters()).device
    inputs = _inputs(batches, device)
    pruned.to(device).eval()
    plain, cut_state = PlainWeights(pruned), {}
    with evaluating(dense):
        walk = _Walk(dense, pruned, kept, graph, inputs)
        cut_state = copy.deepcopy(pruned.state_dict())
        before = walk.output_error()
        layers = [walk.fit(path, ridges) for path in track(walk.paths, "reconstructing", len(walk.paths))]
    after = walk.output_error()
    if not after <= before:
        pruned.load_state_dict(cut_state)
    plain.restore()
    seconds = round(time.monotonic() - began, 2)
    return Reconstruction(walk.count, (*layers, *walk.left), before, after, after <= before, seconds)


class _Walk:
    """Two networks, and what the dense one puts out on the clips, at the positions that layers are fitted on."""

    def __init__(
        self,
        dense: nn.Module,
        pruned: nn.Module,
        kept: Mapping[str, Sequence[int]],
        graph: Graph,
        inputs: list[tuple[Tensor, ...]],
    ) -> None:
        self._pruned, self._inputs = pruned, inputs
        self.count = sum(len(batch[0]) for batch in inputs)
        self._norms = _norms_behind(graph, pruned)
        self.paths, self.left = _layers_to_fit(graph, pruned)
        self._held = [_held_out(batch, first, self.count) for batch, first in zip(inputs, self._starts(), strict=True)]
        self._targets: dict[str, list[Tensor]] = {path: [] for path in self.paths}
        self._rows: dict[str, list[Tensor]] = {path: [] for path in self.paths}
        self._outputs: list[Tensor] = []
        places = {path: _kept_places(graph, path, kept) for path in self.paths}
        self._run_dense(dense, places)

    def _starts(self) -> list[int]:
        sizes = [len(batch[0]) for batch in self._inputs]
        return [sum(sizes[:place]) for place in range(len(sizes))]

    def _run_dense(self, dense: nn.Module, places: Mapping[str, Tensor]) -> None:
        """Keep the dense network's outputs, and those of its layers at some positions and the kept filters."""
        generator = torch.Generator().manual_seed(SEED)

        def receive(path: str, _x: Tensor, y: Tensor) -> None:
            layer, batch = self._pruned.get_submodule(path), len(self._outputs)
            wanted = max(FEWEST_ROWS, ROWS_A_COLUMN * weight_of(layer).shape[2])
            rows = _pick(positions_of(layer, y), wanted * len(self._inputs[batch][0]) / self.count, generator)
            rows = rows.to(y.device)
            self._rows[path].append(rows)
            self._targets[path].append(outputs_at(layer, y, rows)[:, places[path].to(y.device)].clone())

        with _hooked(dense, self.paths, receive):
            for batch in self._inputs:
                self._outputs.append(_flat(dense(*batch)))

    def output_error(self) -> float:
        """Squared error of the pruned network's outputs as a share of the variance of the dense network's."""
        error = sum(
            float((_flat(self._pruned(*batch)) - wanted).square().sum())
            for batch, wanted in zip(self._inputs, self._outputs, strict=True)
        )
        return error / max(_variation(self._outputs), torch.finfo(torch.float64).tiny)

    def fit(self, path: str, ridges: Sequence[float]) -> LayerFit:
        """Fit a layer whose predecessors are fitted."""
        began, layer = time.monotonic(), self._pruned.get_submodule(path)
        fitted_on, held_out = self._equations(path, layer)
        if isinstance(fitted_on, str):
            return LayerFit(path, left=fitted_on)
        weight, bias, norm = weight_of(layer), bias_of(layer), self._norms.get(path)
        free = layer.bias is not None or norm is not None
        ridge = DEFAULT_RIDGE
        if held_out.rows and fitted_on.rows:
            losses = [_share(held_out, *fitted_on.solve(weight, each, free)) for each in ridges]
            ridge = ridges[losses.index(min(losses))]
        fitted_on.merge(held_out)
        new_weight, new_bias = fitted_on.solve(weight, ridge, free)
        before, after = _share(fitted_on, weight, bias), _share(fitted_on, new_weight, new_bias)
        set_weight(layer, new_weight, new_bias)
        if layer.bias is None and norm is not None:
            norm.running_mean -= new_bias.flatten().to(norm.running_mean.dtype)
        return LayerFit(path, before, after, ridge, round(time.monotonic() - began, 2))

    def _equations(self, path: str, layer: nn.Module) -> tuple[NormalEquations | str, NormalEquations]:
        """Normal equations of the inputs that are fitted and of those held out; or why the layer is left as it is."""
        weight, bias, device = weight_of(layer), bias_of(layer), self._outputs[0].device
        groups, filters, columns = weight.shape
        fitted_on, held_out = (NormalEquations(groups, columns, filters, device) for _ in range(2))
        if not self._targets[path]:
            return "the network does not call it as a module", held_out
        for number, batch in enumerate(self._inputs):
            rows, target = self._rows[path][number], by_group(layer, self._targets[path][number])
            x, y = _stopped_at(self._pruned, path, batch)
            unfolded_x = unfolded(layer, x, rows)
            if number == 0:
                own = by_group(layer, outputs_at(layer, y, rows))
                if not torch.allclose(own, unfolded_x @ weight.mT + bias[:, None], rtol=1e-3, atol=1e-4):
                    return "it computes something else than its weights say", held_out
                if torch.allclose(own, target, rtol=1e-5, atol=1e-6):
                    return "its inputs did not change", held_out
            held = self._held[number].to(device)[rows * len(batch[0]) // positions_of(layer, y)]
            fitted_on.add(unfolded_x[:, ~held], target[:, ~held])
            held_out.add(unfolded_x[:, held], target[:, held])
        return fitted_on, held_out


def _inputs(batches: Iterable[Any], device: torch.device) -> list[tuple[Tensor, ...]]:
    """Network inputs without labels, a few at once."""
    pieces: list[tuple[Tensor, ...]] = []
    for batch in batches:
        given = batch[0] if isinstance(batch, tuple | list) else batch
        tensors = tuple(given) if isinstance(given, tuple | list) else (given,)
        split = [tensor.to(device).split(MOST_INPUTS) for tensor in tensors]
        pieces += [piece for piece in zip(*split, strict=True) if len(piece[0])]
    if not pieces:
        raise EdgepruneError("reconstruction: got batches without clips; give a few hundred.")
    return pieces


def _held_out(batch: tuple[Tensor, ...], first: int, count: int) -> Tensor:
    """Which inputs of a batch are held out: one block in five, so that neighbours stay together."""
    block = max(1, count // (10 * HELD_OUT))
    places = torch.arange(first, first + len(batch[0]))
    return places // block % HELD_OUT == HELD_OUT - 1


def _pick(positions: int, wanted: float, generator: torch.Generator) -> Tensor:
    """Some of the positions, drawn at random."""
    if wanted >= positions:
        return torch.arange(positions)
    return torch.randperm(positions, generator=generator)[: max(1, round(wanted))]


def _layers_to_fit(graph: Graph, pruned: nn.Module) -> tuple[list[str], list[LayerFit]]:
    """Paths of the layers that can be fitted, in the order of execution, and those that are left as they are."""
    operators = [operator for operator in graph.operators if operator.path and operator.positions]
    runs = Counter(operator.path for operator in operators)
    paths, left = [], []
    for path, times in runs.items():
        if not isinstance(pruned.get_submodule(path), LAYERS):
            left.append(LayerFit(path, left="it is neither a convolution nor dense"))
        elif times > 1:
            left.append(LayerFit(path, left=f"the network runs it {times} times"))
        else:
            paths.append(path)
    return paths, left


def _kept_places(graph: Graph, path: str, kept: Mapping[str, Sequence[int]]) -> Tensor:
    """Which filters of a layer stay, as places among those of the dense network."""
    keeps = {name: set(filters) for name, filters in kept.items()}
    places = graph.places(graph.filters_of(path))
    stays = [group not in keeps or filter in keeps[group] for group, filter in places]
    return torch.tensor(stays).nonzero().flatten()


def _norms_behind(graph: Graph, pruned: nn.Module) -> dict[str, Any]:
    """By path of a layer, the batch norm that directly follows it, whose mean can take the bias the layer lacks."""
    named: list[Operator] = [operator for operator in graph.operators if operator.norm and operator.norm_scale]
    times = Counter(operator.norm_scale for operator in graph.operators if operator.norm_scale)
    norms = {}
    for operator in named:
        norm = pruned.get_submodule(operator.norm_scale.rpartition(".")[0])
        if operator.path and times[operator.norm_scale] == 1 and getattr(norm, "running_mean", None) is not None:
            norms[operator.path] = norm
    return norms


class _StopForward(Exception):  # noqa: N818 - it is no error
    """Ends a forward pass whose rest is not needed."""


def _stopped_at(model: nn.Module, path: str, batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """A layer's input and output; what comes after it does not run."""
    found: list[Tensor] = []

    def receive(_path: str, x: Tensor, y: Tensor) -> None:
        found.extend((x, y))
        raise _StopForward

    with _hooked(model, [path], receive), suppress(_StopForward):
        model(*batch)
    return found[0], found[1]


@contextmanager
def _hooked(model: nn.Module, paths: Sequence[str], receive: Callable[[str, Tensor, Tensor], None]) -> Iterator[None]:
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


def _flat(outputs: Any) -> Tensor:
    """All numbers that a network puts out for a batch, float64."""
    leaves = [leaf for leaf in _pytree.tree_leaves(outputs) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    return torch.cat([leaf.double().reshape(len(leaf), -1) for leaf in leaves], 1)


def _variation(outputs: Sequence[Tensor]) -> float:
    """Sum of the squares of outputs about the mean of each."""
    every = torch.cat(list(outputs))
    return float((every - every.mean(0)).square().sum())


def _share(equations: NormalEquations, weight: Tensor, bias: Tensor) -> float:
    """Squared error as a share of the outputs' variance: the mean over filters, since a batch norm may scale each."""
    variation = equations.energy
    tiny = 1e-12 * variation.max().clamp(min=torch.finfo(torch.float64).tiny)
    shares = equations.squared_error(weight, bias) / variation.clamp(min=float(tiny))
    return float(shares.mean())
