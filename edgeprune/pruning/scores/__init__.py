"""Scores of filters by name: a layer's weight, batch norm or feature maps in, `[filters]` out; low scores go first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from edgeprune.errors import EdgepruneError, unknown_name

if TYPE_CHECKING:
    from torch import Tensor

Needs = Literal["weight", "batch_norm", "activations", "gradients"]
_WHAT = {
    "batch_norm": "the scale of the batch norm after a layer",
    "activations": "a network's activations on data",
    "gradients": "a network's activations and gradients on data",
}


@dataclass(frozen=True)
class Criterion:
    """A score in the registry.

    Attributes:
        module: the file in this folder.
        needs: what its function takes. `weight`: `[filters, channels, *kernel]`; `batch_norm`: the scale `[filters]`;
            both give `[filters]`. `activations`: a layer's feature maps `[n, filters, ...]`; `gradients`: those and
            the loss's gradients, of the same shape; both give a value a clip, `[n, filters]`, see `over_clips`.
        source: where it was published.
        pools: the layer's score comes from the values of all clips together, not from their mean.
    """

    name: str
    module: str
    needs: Needs
    source: str
    pools: bool = False

    @property
    def active(self) -> bool:
        """Whether the network must see data."""
        return self.needs in ("activations", "gradients")

    def function(self) -> "Callable[..., Tensor]":
        """The score itself; float64."""
        score_filters: Callable[..., Tensor] = getattr(self._module(), self.name)
        return score_filters

    def over_clips(self) -> "Callable[[Tensor], Tensor]":
        """From an active score's values `[clips, filters]` to the layer's `[filters]`; the mean, where it has no other.

        Unless the criterion `pools`, the mean over the clips as one row will do.
        """
        pool: Callable[[Tensor], Tensor] = getattr(self._module(), f"{self.name}_over_clips", _mean)
        return pool

    def _module(self) -> Any:
        return import_module(f"{__name__}.{self.module}")  # where PyTorch is imported


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
    )
}


def criterion(name: str) -> Criterion:
    """The criterion of that name; raises EdgepruneError with the nearest name when there is none."""
    if name in CRITERIA:
        return CRITERIA[name]
    raise unknown_name("criterion", name, CRITERIA)


def score(weight: "Tensor", criterion_name: str = "operator_norm", layer: str = "the layer") -> "Tensor":
    """Score the filters of one layer by its weight alone.

    Args:
        weight: `[filters, channels, *kernel]`.
        criterion_name: a name from `CRITERIA` that needs no more than the weight.
        layer: named in errors.

    Returns:
        `[filters]`, float64, where the weight is.
    """
    chosen = criterion(criterion_name)
    if chosen.needs != "weight":
        raise EdgepruneError(
            f"criterion '{criterion_name}' needs {_WHAT[chosen.needs]}, not only a weight; use `edgeprune score RUN` "
            "or give `edgeprune.prune` the network and data."
        )
    check_weight(weight, layer)
    return chosen.function()(weight)


def check_weight(weight: "Tensor", layer: str) -> None:
    """Raise EdgepruneError unless it is a layer's weight of finite numbers; takes no memory."""
    if weight.ndim < 2 or weight.numel() == 0:
        raise EdgepruneError(f"{layer}: a weight of shape {list(weight.shape)} has no filters to score.")
    # NaN passes through the extremes, and `isfinite()` of the whole would copy it.
    if not all(extreme.isfinite() for extreme in weight.detach().aminmax()):
        raise EdgepruneError(f"{layer}: its weights hold NaN or infinite values; train the network again.")


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's rank correlation of two criteria's scores of one layer, from -1 to 1.

    Args:
        first: `[filters]`.
        second: `[filters]`.

    Returns:
        None where it is undefined: fewer than two filters, or a criterion that scores all of them the same.
    """
    from scipy.stats import spearmanr

    if len(set(first)) < 2 or len(set(second)) < 2:
        return None
    return float(spearmanr(first, second).statistic)


def _mean(values: "Tensor") -> "Tensor":
    return values.mean(dim=0)
