"""What a comparison of runs consists of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from edgeprune.recipe import FORMATS
from edgeprune.results.result import File, NetworkName, NetworkResult, Result
from edgeprune.results.run_folder import RunFolder, RunState
from edgeprune.tabular import Tabular

if TYPE_CHECKING:
    import pandas as pd

COSTS = ("params", "macs", "flash_bytes", "peak_ram_bytes")
"""Costs of a variant; `peak_ram_bytes` is the arena that TFLite Micro plans."""
METRICS = ("accuracy", "log_loss")
"""What is compared; `accuracy` stands for the score that `Comparison.score` names."""


@dataclass(frozen=True)
class MeanEstimate:
    """A mean over `n` runs, their sample standard deviation and the 95 % interval of the mean; None for one run.

    The interval of a share stays within 0 and 1, that of a cost or a log loss above 0.
    """

    mean: float
    n: int
    std: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class PairedDifference:
    """A metric of a variant minus that of a control, over the runs with the same seed and fold.

    Attributes:
        against: name of the control.
        p_value: of the test that the comparison names; None for one pair.
    """

    against: str
    metric: str
    estimate: MeanEstimate
    p_value: float | None


@dataclass(frozen=True)
class Latency:
    """A file on a device: the median of the runs' medians."""

    device: str
    kind: str
    unit: str
    estimate: MeanEstimate

    @property
    def key(self) -> tuple[str, str, str]:
        """Device, kind and unit: latencies with the same key stand in one column."""
        return self.device, self.kind, self.unit


@dataclass(frozen=True)
class ComparedRun:
    """One run, standing for one of its two networks; seed and fold pair it with runs of other variants.

    Attributes:
        recipe: its settings, with newer fields at their defaults.
        result: its result without layers, confusion matrices and history; None unless the run is done.
        failure: why it failed, or what is damaged, without a full stop.
        network: `pruned`, or `dense` where the run's unpruned network serves as a control.
    """

    folder: RunFolder
    seed: int
    fold: int
    recipe: Mapping[str, Any]
    state: RunState
    result: Result | None = None
    failure: str = ""
    network: NetworkName = "pruned"

    @property
    def problem(self) -> str:
        """Why there is no result, as the end of a sentence; "" where there is one."""
        words = {RunState.FAILED: f"failed: {self.failure}", RunState.DAMAGED: f"is damaged: {self.failure}"}
        return {**words, RunState.UNFINISHED: "has not finished"}.get(self.state, "")

    @property
    def figures(self) -> NetworkResult | None:
        """The result of the network it stands for."""
        return None if self.result is None else self.result.networks[self.network]

    def file(self, format: str) -> File | None:
        """The network's file in a number format."""
        return None if self.figures is None else self.figures.files.get(format)

    def score(self, metric: str, format: str) -> float | None:
        """The main score (a fraction, see `Scores.main`) or the log loss (nats) of a file, on the evaluation part."""
        file = self.file(format)
        return getattr(file.scores, "main" if metric == "accuracy" else metric) if file else None

    @property
    def split(self) -> str | None:
        """Hash of the split the run was trained and evaluated on."""
        return None if self.result is None else self.result.data.sha256


@dataclass(frozen=True)
class Variant:
    """Runs with the same settings but for seed and fold.

    Attributes:
        name: unique in the comparison, made of the settings that differ, such as `operator_norm, params 20k`.
        role: `dense`, `scratch` or `random` for controls, `variant` for the others.
        settings: recipe fields that differ between the variants, by dotted name.
        cost: means over the runs, by the names in `COSTS`.
        accuracy: the score compared (see `Comparison.score`), of the file by number format.
        log_loss, bytes: the same of these.
        differences: to each control, for the format compared.
        pareto: costs on whose front the variant lies.
        runs: all runs, also those without a result.
    """

    name: str
    role: str
    settings: dict[str, Any]
    cost: dict[str, MeanEstimate] = field(default_factory=dict)
    accuracy: dict[str, MeanEstimate] = field(default_factory=dict)
    log_loss: dict[str, MeanEstimate] = field(default_factory=dict)
    bytes: dict[str, MeanEstimate] = field(default_factory=dict)
    latency: tuple[Latency, ...] = ()
    differences: tuple[PairedDifference, ...] = ()
    pareto: tuple[str, ...] = ()
    runs: tuple[ComparedRun, ...] = ()

    @property
    def finished(self) -> list[ComparedRun]:
        """Runs that have a result."""
        return [run for run in self.runs if run.result is not None]

    @property
    def unfinished(self) -> list[ComparedRun]:
        """Runs that have no result."""
        return [run for run in self.runs if run.result is None]

    def difference(self, controls: Sequence[str], metric: str) -> PairedDifference | None:
        """The first difference to one of some controls."""
        return next((one for one in self.differences if one.against in controls and one.metric == metric), None)

    def latency_of(self, key: tuple[str, str, str]) -> Latency | None:
        """The latency on a device, given by device, kind and unit."""
        return next((latency for latency in self.latency if latency.key == key), None)


@dataclass(frozen=True)
class Contender:
    """A variant held to the dense network.

    Attributes:
        bytes: of its file, mean over the runs; None where that is not known.
        difference: its score minus that of the dense network, over the runs of the same seed, fold and split.
        standing: `within` the tolerance or `below` it by the whole 95 % interval of the difference, else `open`.
    """

    name: str
    bytes: float | None
    difference: MeanEstimate
    standing: str


@dataclass(frozen=True)
class Answer:
    """Which file to ship.

    Attributes:
        sentence: the answer in words.
        tolerance: how much lower than that of the dense network a score may be, a fraction.
        ship: name of the variant; None where there is no answer.
        file: its file, of the first fold and seed.
        rule: `interval`: the smallest shown to be within the tolerance; `mean`: nothing is shown, and it is the
            smallest whose mean is within; `dense`: neither, so the dense network ships; "" where there is no answer.
        dense: name of the dense network the others are held to; None where none has a score.
        alike: names of what the data cannot tell from it: the 95 % interval of the difference holds 0, or is missing.
        warnings: sentences on what makes the answer weak.
    """

    sentence: str
    tolerance: float
    ship: str | None = None
    file: str | None = None
    rule: str = ""
    dense: str | None = None
    alike: tuple[str, ...] = ()
    contenders: tuple[Contender, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison(Tabular):
    """All variants, and how they were compared.

    Attributes:
        format: number format whose accuracy decides differences and fronts.
        controls: names of the variants that others are compared with.
        test: what `p_value` is, in one sentence.
        notes: sentences on what limits the comparison: missing pairs, one seed only, failed runs.
        score: what is compared: `accuracy`, or `mean_average_precision` where classes are independent.
        answer: which file to ship.
    """

    variants: tuple[Variant, ...]
    format: str
    controls: tuple[str, ...]
    test: str
    notes: tuple[str, ...] = ()
    score: str = "accuracy"
    answer: Answer | None = None

    @property
    def score_name(self) -> str:
        """As tables show it."""
        return self.score.replace("_", " ")

    def of_role(self, role: str) -> list[str]:
        """Names of the variants with a role."""
        return [variant.name for variant in self.variants if variant.role == role]

    def devices(self) -> list[tuple[str, str, str]]:
        """Device, kind and unit of every latency."""
        return list(dict.fromkeys(latency.key for variant in self.variants for latency in variant.latency))

    def table(self) -> pd.DataFrame:
        """One row a variant and number format; NaN where a figure is unknown.

        Columns: `variant`, `role`, `format`, `runs`, `failed`; the fields that differ, by dotted name; the means of
        `COSTS` and `file_bytes`; `accuracy` (a fraction) and `log_loss` (nats), each with `_n`, `_std`, `_low` and
        `_high` (95 % interval). Rows of the format compared also have, for every role of control,
        `accuracy_minus_<role>` and `log_loss_minus_<role>` with the same and `_p`, and `<role>_control`, its name;
        `pareto`, the costs on whose front the variant lies; and the median latency as
        `latency_<unit>, <device>, <kind>`. Where classes are independent, `mean_average_precision` stands in the place
        of `accuracy` in all names.
        """
        import pandas as pd

        fields = list(dict.fromkeys(field for variant in self.variants for field in variant.settings))
        rows = []
        for variant in self.variants:
            for format in [name for name in FORMATS if name in variant.accuracy] or [""]:
                row = _row(variant, format, fields)
                rows.append(row | self._compared(variant) if format == self.format else row)
        return pd.DataFrame([self._named(row) for row in rows])

    def _named(self, row: dict[str, Any]) -> dict[str, Any]:
        """Names that begin with `accuracy` begin with the score compared."""
        return {
            self.score + name.removeprefix("accuracy") if name.startswith("accuracy") else name: value
            for name, value in row.items()
        }

    def _compared(self, variant: Variant) -> dict[str, Any]:
        roles = {other.name: other.role for other in self.variants}
        row: dict[str, Any] = {}
        for difference in variant.differences:
            name = f"{difference.metric}_minus_{roles[difference.against]}"
            row[f"{roles[difference.against]}_control"] = difference.against
            row |= {**_spread(name, difference.estimate), f"{name}_p": difference.p_value}
        row["pareto"] = " ".join(variant.pareto)
        for latency in variant.latency:
            row[f"latency_{latency.unit}, {latency.device}, {latency.kind}"] = latency.estimate.mean
        return row

    def to_json(self) -> dict[str, Any]:
        """The comparison as plain values; each run with its folder, seed, fold and scores."""
        variants = [
            {
                **self._named(asdict(replace(variant, runs=()))),
                "differences": [
                    {**asdict(one), "metric": one.metric.replace("accuracy", self.score)} for one in variant.differences
                ],
                "runs": [_run_to_json(run, self.score) for run in variant.runs],
            }
            for variant in self.variants
        ]
        return {**asdict(replace(self, variants=())), "variants": variants}


def _row(variant: Variant, format: str, fields: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "variant": variant.name,
        "role": variant.role,
        "format": format,
        "runs": len(variant.finished),
        "failed": len(variant.unfinished),
        **{field: variant.settings.get(field) for field in fields},
        **{cost: _mean(variant.cost.get(cost)) for cost in COSTS},
        "file_bytes": _mean(variant.bytes.get(format)),
    }
    return row | _spread("accuracy", variant.accuracy.get(format)) | _spread("log_loss", variant.log_loss.get(format))


def _spread(name: str, estimate: MeanEstimate | None) -> dict[str, Any]:
    return {
        name: _mean(estimate),
        **{f"{name}_{key}": getattr(estimate, key, None) for key in ("n", "std", "low", "high")},
    }


def _mean(estimate: MeanEstimate | None) -> float | None:
    return None if estimate is None else estimate.mean


def _run_to_json(run: ComparedRun, score: str) -> dict[str, Any]:
    formats = run.figures.files if run.figures else ()
    names = {score: "accuracy", "log_loss": "log_loss"}
    scores = {format: {name: run.score(metric, format) for name, metric in names.items()} for format in formats}
    return {
        "folder": str(run.folder.path),
        "seed": run.seed,
        "fold": run.fold,
        "stage": run.network,
        "reason": run.problem,
        "scores": scores if run.result else None,
    }
