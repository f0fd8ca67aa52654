"""The criteria by name: each scores a layer's filters, and those with the lowest scores are removed first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from edgeprune.errors import EdgepruneError, unknown_name

if TYPE_CHECKING:
    from torch import Tensor

Needs = Literal["weight", "batch_norm", "activations", "gradients", "readers"]
_WHAT = {
    "batch_norm": "the scale of the batch norm after a layer",
    "activations": "a network's activations on data",
    "gradients": "a network's activations and gradients on data",
    "readers": "what the layers after it read on data",
}


@dataclass(frozen=True)
class Criterion:
    """A way to score filters.

    Attributes:
        module: the file in this folder.
        needs: what its function takes. From a `weight` `[filters, channels, *kernel]`, or the scale `[filters]` of a
            `batch_norm`, it computes `[filters]`. From a layer's `activations` `[n, filters, ...]`, or those and their
            `gradients`, it computes a value for each clip, `[n, filters]`, which `over_clips` makes `[filters]` of. Of
            the `readers` of a group of layers (see `pruning.readers`) it takes what they get and their weights.
        source: where it was published.
        pools: `over_clips` needs the values of all clips; otherwise their mean, as one row, is enough.
    """

    name: str
    module: str
    needs: Needs
    source: str
    pools: bool = False

    @property
    def active(self) -> bool:
        """Whether the network must see data."""
        return self.needs in ("activations", "gradients", "readers")

    def function(self) -> "Callable[..., Tensor]":
        """The function that computes the score in float64."""
        return self._function(self.name, None)

    def over_clips(self) -> "Callable[[Tensor], Tensor]":
        """The function from an active score's values `[clips, filters]` to `[filters]`: the mean, or one of its own."""
        return self._function(f"{self.name}_over_clips", lambda values: values.mean(dim=0))

    def _function(self, name: str, default: Any) -> Any:
        return getattr(import_module(f"{__name__}.{self.module}"), name, default)  # the module imports PyTorch


_OPERATOR_NORM = "Singh & Plumbley, 'Efficient CNNs via Passive Filter Pruning', TASLP 2025, arXiv 2304.02319"
CRITERIA = {
    one.name: one
    for one in (
        Criterion("operator_norm", "operator_norm", "weight", _OPERATOR_NORM),
        Criterion("operator_norm_unsigned", "operator_norm", "weight", f"our own, after {_OPERATOR_NORM}"),
        Criterion("l1", "norms", "weight", "Li et al., 'Pruning filters for efficient ConvNets', ICLR 2017"),
        Criterion("l2", "norms", "weight", "Li et al., 'Pruning filters for efficient ConvNets', ICLR 2017"),
        Criterion("geometric_mean", "geometric_mean", "weight", f"compared with in {_OPERATOR_NORM}"),
        Criterion(
            "geometric_median",
            "geometric_median",
            "weight",
            "He et al., 'Filter Pruning via Geometric Median for Deep CNN Acceleration', CVPR 2019",
        ),
        Criterion(
            "similarity",
            "similarity",
            "weight",
            "Singh & Plumbley, 'A Passive Similarity based CNN Filter Pruning for Efficient Acoustic Scene "
            "Classification', Interspeech 2022",
        ),
        Criterion("random", "random_scores", "weight", "none: the control"),
        Criterion(
            "batchnorm_scale",
            "batch_norm",
            "batch_norm",
            "Liu et al., 'Learning Efficient Convolutional Networks through Network Slimming', ICCV 2017",
        ),
        Criterion(
            "hrank",
            "singular_values",
            "activations",
            "Lin et al., 'HRank: Filter Pruning using High-Rank Feature Map', CVPR 2020",
        ),
        Criterion(
            "energy",
            "singular_values",
            "activations",
            "Yeom et al., 'Toward Compact Deep Neural Networks via Energy-Aware Pruning', 2021, arXiv 2103.10858",
        ),
        Criterion("apoz", "activity", "activations", "Hu et al., 'Network Trimming', 2016, arXiv 1607.03250"),
        Criterion(
            "entropy",
            "activity",
            "activations",
            "Luo & Wu, 'An Entropy-based Pruning Method for CNN Compression', 2017, arXiv 1706.05791",
            pools=True,
        ),
        Criterion(
            "taylor",
            "taylor",
            "gradients",
            "Molchanov et al., 'Pruning Convolutional Neural Networks for Resource Efficient Inference', ICLR 2017",
        ),
        Criterion(
            "stand_in",
            "stand_in",
            "readers",
            "our own, after Hassibi & Stork, 'Second order derivatives for network pruning: Optimal Brain Surgeon', "
            "NIPS 1992, and Luo et al., 'ThiNet', ICCV 2017",
        ),
    )
}


def criterion(name: str) -> Criterion:
    """The criterion of that name."""
    if name in CRITERIA:
        return CRITERIA[name]
    raise unknown_name("criterion", name, CRITERIA)


def score(weight: "Tensor", criterion_name: str = "operator_norm", layer: str = "the layer") -> "Tensor":
    """Scores `[filters]`, float64, of a layer by its weight `[filters, channels, *kernel]`, on the weight's device."""
    chosen = criterion(criterion_name)
    if chosen.needs != "weight":
        raise EdgepruneError(
            f"criterion '{criterion_name}' needs {_WHAT[chosen.needs]}, not only a weight; use `edgeprune score RUN` "
            "or give `edgeprune.prune` the network and data."
        )
    check_weight(weight, layer)
    return chosen.function()(weight)


def check_weight(weight: "Tensor", layer: str) -> None:
    """Raise EdgepruneError unless this is a layer's weight of finite numbers."""
    if weight.ndim < 2 or weight.numel() == 0:
        raise EdgepruneError(f"{layer}: a weight of shape {list(weight.shape)} has no filters to score.")
    # NaN shows in the extremes, and `isfinite()` of the whole weight would take memory.
    if not all(extreme.isfinite() for extreme in weight.detach().aminmax()):
        raise EdgepruneError(f"{layer}: its weights hold NaN or infinite values; train the network again.")


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's rank correlation of two criteria's scores of one layer, from -1 to 1.

    It is None where a criterion scores all filters the same or there are fewer than two.
    """
    from scipy.stats import spearmanr

    if len(set(first)) < 2 or len(set(second)) < 2:
        return None
    return float(spearmanr(first, second).statistic)
