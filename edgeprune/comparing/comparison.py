"""What a comparison of runs consists of."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and folds, with its spread.

    Attributes:
        mean: of the runs.
        n: how many runs.
        std: sample standard deviation; None of one run, which tells nothing of a spread.
        low, high: 95 % interval of the mean; None of one run.
    """

    mean: float
    n: int
    std: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Difference:
    """A variant minus a control, over the runs with the same seed and fold.

    Attributes:
        against: name of the control.
        metric: `accuracy` or `log_loss`.
        estimate: of the paired differences.
        p_value: of the test that the comparison names; None of one pair.
    """

    against: str
    metric: str
    estimate: Estimate
    p_value: float | None


@dataclass(frozen=True)
class Latency:
    """A file on a device: the median of the runs' medians."""

    device: str
    kind: str
    unit: str
    estimate: Estimate


@dataclass(frozen=True)
class RunRecord:
    """One run: where it is, and what identifies it.

    Attributes:
        folder: run folder.
        variant: name of the variant it belongs to.
        seed, fold: what pairs it with runs of other variants.
        result: content of `result.json`; None of a run that failed or has not finished.
        reason: why there is no result.
        stage: which of the run's networks it stands for: `pruned`, or `dense` where the unpruned network of a run
            serves as control. `result` tells that network's figures in the places of the pruned one's (`pruned`, the
            artefacts by their format, `widths.pruned`); its predictions are in `predictions_dense_<format>.csv`.
    """

    folder: Path
    variant: str
    seed: int
    fold: int
    result: dict[str, Any] | None
    reason: str = ""
    stage: str = "pruned"


@dataclass(frozen=True)
class Variant:
    """Runs with the same settings but for seed and fold.

    Attributes:
        name: unique in the comparison, made of what tells the variants apart, such as `operator_norm, params 20k`.
        role: `dense`, `scratch`, `random` for the controls, `variant` for the others.
        settings: recipe fields that differ between the variants, by dotted name.
        cost: `params`, `macs`, `flash_bytes`, `peak_ram_bytes` (the arena), means over the runs as estimates.
        accuracy, log_loss: by number format.
        bytes: size of the file by number format.
        latency: by device.
        differences: to each control, of the format compared.
        pareto: quantities (`macs`, `params`, `flash_bytes`, `peak_ram_bytes`) on whose front it lies.
        runs: finished and failed.
    """

    name: str
    role: str
    settings: dict[str, Any]
    cost: dict[str, Estimate] = field(default_factory=dict)
    accuracy: dict[str, Estimate] = field(default_factory=dict)
    log_loss: dict[str, Estimate] = field(default_factory=dict)
    bytes: dict[str, Estimate] = field(default_factory=dict)
    latency: tuple[Latency, ...] = ()
    differences: tuple[Difference, ...] = ()
    pareto: tuple[str, ...] = ()
    runs: tuple[RunRecord, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """All variants, and how they were compared.

    Attributes:
        format: number format whose accuracy decides differences and fronts (int8 where all have it).
        controls: names of the variants that others are compared with.
        test: what `p_value` is, in one sentence.
        notes: what a reader must know: missing pairs, one seed only, runs that failed.
    """

    variants: tuple[Variant, ...]
    format: str
    controls: tuple[str, ...]
    test: str
    notes: tuple[str, ...] = ()
