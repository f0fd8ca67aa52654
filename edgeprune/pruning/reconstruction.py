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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgeprune.console import track
from edgeprune.errors import EdgepruneError
from edgeprune.graph.cutting import PlainWeights
from edgeprune.graph.evaluation_mode import evaluating
from edgeprune.graph.graph import Graph
from edgeprune.graph.trace import LAYERS
from edgeprune.pruning.few_rows import FewRows
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
from edgeprune.pruning.watching import drawn_rows, flat_outputs, network_inputs, watch_one, watched

RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Ridges that are tried, as shares of the inputs' mean variance."""
DEFAULT_RIDGE = 1e-2
"""The ridge where too few clips are given to hold some out."""
FEWEST_ROWS, ROWS_A_COLUMN = 20_000, 10
"""Positions of all clips that a layer is fitted on: so many, or so many a weight of a filter if these are more."""
MOST_COLUMNS = 5_000
"""Beyond so many weights a filter, which is a matrix of 200 MB, a layer is fitted on so many positions at most."""
HELD_OUT = 5
"""One in so many inputs is held out to choose the ridge."""
BLOCK_VALUES = 8_000_000
"""Values of unfolded inputs that are multiplied at once."""
SEED = 0
_TINY = torch.finfo(torch.float64).tiny


@dataclass(frozen=True)
class LayerFit:
    """What became of a layer.

    Attributes:
        path: of the layer in the model.
        error_before, error_after: squared error against the dense network's output, as a share of each filter's
            variance, mean over the filters, on the positions it was fitted on: with the weights it had and the weights
            it has. None of a layer that was left as it is.
        ridge: as a share of the inputs' mean variance.
        left: why it was left as it is; "" of a layer that was fitted.
    """

    path: str
    error_before: float | None = None
    error_after: float | None = None
    ridge: float | None = None
    left: str = ""


@dataclass(frozen=True)
class Reconstruction:
    """What a reconstruction did.

    Attributes:
        inputs: network inputs it looked at.
        layers: in the order of execution.
        output_error_before, output_error_after: squared error of the network's outputs against the dense network's, as
            a share of their variance, right after filters were cut and with the fitted weights.
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
        """Plain values, as in `result.json`, without the time: the same run twice keeps the same bytes."""
        facts = {**asdict(self), "layers": [asdict(layer) for layer in self.layers]}
        del facts["seconds"]
        return facts


@torch.no_grad()
def reconstruct(
    dense: nn.Module, pruned: nn.Module, kept: Mapping[str, Sequence[int]], graph: Graph, batches: Iterable[Any]
) -> Reconstruction:
    """Fit the layers of a pruned network, in place, to those of the dense network it was cut from.

    A layer is left as it is where it runs several times, where it is recurrent, where it computes something else than
    its weights say, and where its inputs did not change. If the network's outputs on the clips do not come closer, all
    layers are.

    The ridge draws weights to those the layer has. It is chosen for each layer: that of the least error on one in five
    inputs, which are held out meanwhile.

    Args:
        dense: is left as it is; the pruned network comes to its device.
        kept: filters by group, as `graph.surgery.remove` takes them; groups it lacks kept theirs.
        graph: of the dense network.
        batches: network inputs `[n, ...]` of training clips, or pairs of inputs (a tensor, or a tuple of them) and
            labels, which are ignored. Some hundred clips are usual.

    Raises:
        EdgepruneError: there are fewer than two clips, or the dense network's outputs are not finite.
    """
    began, device = time.monotonic(), next(dense.parameters()).device
    inputs = network_inputs(batches, device, "reconstruction")
    pruned.to(device).eval()
    with evaluating(dense):
        walk = _Walk(dense, pruned, kept, graph, inputs)
    plain = PlainWeights(pruned)
    cut_only = copy.deepcopy(pruned.state_dict())
    before = walk.output_error()
    layers = tuple(walk.fit(path) for path in track(walk.paths, "reconstructing", len(walk.paths)))
    after = walk.output_error()
    closer = after <= before
    if not closer:
        pruned.load_state_dict(cut_only)
    plain.restore()
    return Reconstruction(walk.count, layers, before, after, closer, round(time.monotonic() - began, 2))


class _Walk:
    """A pruned network, the clips, and what the dense network puts out where layers are fitted: at some positions."""

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
        runs = Counter(operator.path for operator in graph.operators if operator.path and operator.positions)
        self.paths = list(runs)
        self._left = {path: _reason_to_leave(pruned.get_submodule(path), times) for path, times in runs.items()}
        self._norms = _norms_behind(graph, pruned)
        self._outputs: list[Tensor] = []
        self._rows: dict[str, list[Tensor]] = {path: [] for path in runs}
        self._targets: dict[str, list[Tensor]] = {path: [] for path in runs}
        self._run_dense(dense, {path: _kept_places(graph, path, kept) for path in runs if not self._left[path]})

    def _run_dense(self, dense: nn.Module, places: Mapping[str, Tensor]) -> None:
        """Keep the network's outputs, and at positions drawn by chance those of its layers on the filters that stay."""
        generator = torch.Generator().manual_seed(SEED)

        def receive(path: str, _x: Tensor, y: Tensor) -> None:
            layer, batch = self._pruned.get_submodule(path), self._inputs[len(self._outputs)]
            wanted = _rows_for(weight_of(layer).shape[2]) * len(batch[0]) / self.count
            rows = drawn_rows(positions_of(layer, y), wanted, generator).to(y.device)
            self._rows[path].append(rows)
            self._targets[path].append(outputs_at(layer, y, rows)[:, places[path].to(y.device)].clone())

        with watched([(path, dense.get_submodule(path)) for path in places], receive):
            for batch in self._inputs:
                self._outputs.append(flat_outputs(dense(*batch)))
        if self.count < 2:
            raise EdgepruneError("reconstruction: one clip does not show how outputs vary; give some hundred, or none.")
        if not all(outputs.isfinite().all() for outputs in self._outputs):
            raise EdgepruneError(
                "reconstruction: the dense network puts out NaN or infinite values; check the inputs, or train again."
            )

    def output_error(self) -> float:
        """Squared error of the pruned network's outputs as a share of the variance of the dense network's."""
        every = torch.cat(self._outputs)
        variation = float((every - every.mean(0)).square().sum())
        error = sum(
            float((flat_outputs(self._pruned(*batch)) - wanted).square().sum())
            for batch, wanted in zip(self._inputs, self._outputs, strict=True)
        )
        return error / max(variation, _TINY)

    def fit(self, path: str) -> LayerFit:
        """Fit a layer whose predecessors are fitted."""
        layer = self._pruned.get_submodule(path)
        left = self._left[path] or self._changes_nothing(path, layer)
        if left:
            return LayerFit(path, left=left)
        weight, bias, norm = weight_of(layer).clone(), bias_of(layer).clone(), self._norms.get(path)
        free = layer.bias is not None or norm is not None
        fitted_on, held_out = self._equations(path, layer)
        ridge = DEFAULT_RIDGE
        if held_out.rows and fitted_on.rows:
            losses = [_share(held_out, *fitted_on.solve(weight, each, free)) for each in RIDGES]
            ridge = RIDGES[losses.index(min(losses))]
        fitted_on.merge(held_out)
        fit = fitted_on.solve(weight, ridge, free)
        set_weight(layer, *fit)
        if layer.bias is None and norm is not None:
            norm.running_mean -= fit[1].flatten().to(norm.running_mean.dtype)
        before, after = _share(fitted_on, weight, bias), _share(fitted_on, *fit)
        return LayerFit(path, before, after, ridge)

    def _changes_nothing(self, path: str, layer: nn.Module) -> str:
        """Why there is nothing to fit, as the first batch shows; "" if there is."""
        if not self._targets[path]:
            return "the network does not call it as a module"
        x, y = watch_one(self._pruned, path, self._inputs[0])
        rows = self._rows[path][0]
        target, own = self._targets[path][0], outputs_at(layer, y, rows)
        product = unfolded(layer, x, rows) @ weight_of(layer).mT + bias_of(layer)[:, None]
        scale = float(own.abs().max())
        rounding = max(1e-3, 4 * torch.finfo(own.dtype).eps)
        if not float((product - by_group(layer, own)).abs().max()) <= rounding * scale:
            return "it computes something else than its weights say"
        return "its inputs did not change" if float((own - target).abs().max()) <= 1e-5 * scale else ""

    def _equations(self, path: str, layer: nn.Module) -> tuple[Any, Any]:
        """The equations of the inputs that are fitted, and of those held out."""
        device = self._outputs[0].device
        groups, filters, columns = weight_of(layer).shape
        kind = FewRows if sum(map(len, self._rows[path])) < columns else NormalEquations
        fitted_on, held_out = (kind(groups, columns, filters, device) for _ in range(2))
        for x, y, clips in self._blocks(path, layer):
            held = clips // max(1, self.count // (10 * HELD_OUT)) % HELD_OUT == HELD_OUT - 1  # neighbours stay together
            fitted_on.add(x[:, ~held], y[:, ~held])
            held_out.add(x[:, held], y[:, held])
        return fitted_on, held_out

    def _blocks(self, path: str, layer: nn.Module) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Unfolded inputs and wanted outputs, as `NormalEquations.add` takes them, and the clip of each row."""
        inputs: list[Tensor] = []
        outputs: list[Tensor] = []
        clips: list[Tensor] = []
        first = 0
        for number, (batch, rows, target) in enumerate(
            zip(self._inputs, self._rows[path], self._targets[path], strict=True), 1
        ):
            x, y = watch_one(self._pruned, path, batch)
            inputs.append(unfolded(layer, x, rows))
            outputs.append(by_group(layer, target))
            clips.append(first + rows * len(batch[0]) // positions_of(layer, y))
            first += len(batch[0])
            if number == len(self._inputs) or sum(part.numel() for part in inputs) >= BLOCK_VALUES:
                yield torch.cat(inputs, 1), torch.cat(outputs, 1), torch.cat(clips)
                inputs, outputs, clips = [], [], []


def _rows_for(columns: int) -> int:
    """How many positions of all clips a layer is fitted on."""
    return max(FEWEST_ROWS, ROWS_A_COLUMN * columns) if columns <= MOST_COLUMNS else MOST_COLUMNS


def _reason_to_leave(layer: nn.Module, runs: int) -> str:
    """Why a layer cannot be fitted; "" if it can."""
    if not isinstance(layer, LAYERS):
        return "it is neither a convolution nor dense"
    return f"the network runs it {runs} times" if runs > 1 else ""


def _kept_places(graph: Graph, path: str, kept: Mapping[str, Sequence[int]]) -> Tensor:
    """Which filters of a layer stay, as places among those of the dense network."""
    keeps = {name: set(filters) for name, filters in kept.items()}
    places = graph.places(graph.filters_of(path))
    stays = [group not in keeps or filter in keeps[group] for group, filter in places]
    return torch.tensor(stays).nonzero().flatten()


def _norms_behind(graph: Graph, pruned: nn.Module) -> dict[str, Any]:
    """By path of a layer, the batch norm that directly follows it, whose mean can take the bias the layer lacks."""
    times = Counter(operator.norm_scale for operator in graph.operators if operator.norm_scale)
    norms = {}
    for operator in graph.operators:
        if operator.path and operator.norm and times[operator.norm_scale] == 1:
            norm = pruned.get_submodule(operator.norm_scale.rpartition(".")[0])
            if isinstance(getattr(norm, "running_mean", None), Tensor):
                norms[operator.path] = norm
    return norms


def _share(equations: NormalEquations | FewRows, weight: Tensor, bias: Tensor) -> float:
    """Squared error as a share of each output's variance, mean over the filters, since a batch norm may scale each."""
    energy = equations.energy.clamp(min=max(1e-12 * float(equations.energy.max()), _TINY))
    return float((equations.squared_error(weight, bias) / energy).mean())
