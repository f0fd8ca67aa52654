"""The figures of a result: costs, scores, parity, timings, budget, data, front-end.

Parts that an older or unfinished run did not write are None or empty. Accuracies are fractions, log losses nats, sizes
bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from edgeprune.results.json_fields import counts, mapping, number, numbers, objects, plain_fields, sequence, whole

if TYPE_CHECKING:
    import pandas as pd

_UNIT_IN_MS = {"ns": 1e-6, "us": 1e-3, "\N{MICRO SIGN}s": 1e-3, "ms": 1.0, "s": 1e3}


@dataclass(frozen=True)
class LayerFigures:
    """The cost of one layer. `name` is that of its module; `kind` is `conv`, `dense`, `pool` ..."""

    name: str
    kind: str | None
    filters: int | None
    params: int | None
    macs: int | None


@dataclass(frozen=True)
class CostFigures:
    """The cost of a network.

    Attributes:
        params: parameters that ship: batch norm folded, zeros included.
        params_trainable, params_with_statistics: as trained, without and with batch norm's moving statistics.
        macs: multiply-accumulates of one input.
        flash_bytes: int8 weights and int32 biases.
        arena_bytes: int8 activation memory as TFLite Micro plans it.
        peak_bound_bytes: the most int8 activations alive at once, which no arena is below (`peak_ram_bytes` in JSON).
    """

    params: int | None = None
    params_trainable: int | None = None
    params_with_statistics: int | None = None
    macs: int | None = None
    flash_bytes: int | None = None
    arena_bytes: int | None = None
    peak_bound_bytes: int | None = None
    by_layer: tuple[LayerFigures, ...] = ()

    @property
    def ram_bytes(self) -> int | None:
        """The arena; its lower bound where an older result has no arena."""
        return self.peak_bound_bytes if self.arena_bytes is None else self.arena_bytes

    @staticmethod
    def from_json(value: Mapping[str, Any], where: str = "") -> CostFigures:
        by_layer = tuple(
            LayerFigures(name=str(row.get("name")), **plain_fields(LayerFigures, row))
            for row in objects(value, "by_layer", where)
        )
        renamed = {**value, "peak_bound_bytes": value.get("peak_ram_bytes")}
        return CostFigures(**plain_fields(CostFigures, renamed), by_layer=by_layer)


@dataclass(frozen=True)
class GroupScores:
    """Metrics of the clips of one class, device or city; of independent classes also average precision and d-prime."""

    accuracy: float | None
    log_loss: float | None
    clips: int | None
    average_precision: float | None = None
    d_prime: float | None = None

    @property
    def main(self) -> float | None:
        """The fraction that parts are compared by: average precision where a part has it, else accuracy."""
        return self.accuracy if self.average_precision is None else self.average_precision


@dataclass(frozen=True)
class DetectionFigures:
    """What a detector finds at its threshold, and how often it raises a false alarm.

    Attributes:
        asked_recall: what the threshold was set for; of figures on validation clips alone.
        hits, misses, false_alarms: clips.
        hours_without: of clips without the sound.
        interval: 95 % interval of the false alarms an hour.
    """

    threshold: float | None = None
    asked_recall: float | None = None
    recall: float | None = None
    precision: float | None = None
    hits: int | None = None
    misses: int | None = None
    false_alarms: int | None = None
    hours_without: float | None = None
    false_alarms_per_hour: float | None = None
    interval: tuple[float, float] | None = None

    @staticmethod
    def from_json(value: Mapping[str, Any], where: str = "") -> DetectionFigures | None:
        if not value:
            return None
        return DetectionFigures(**plain_fields(DetectionFigures, value), interval=_interval(value, where))


@dataclass(frozen=True)
class Scores:
    """Metrics of the evaluation part.

    Attributes:
        mean_average_precision, auc, d_prime: of independent classes alone (see `evaluation.tags`).
        detection: where one sound is detected.
        interval: 95 % interval of the accuracy.
        groups: by `class`, `device` and `city`, metrics by name.
        confusion: counts `[true class, predicted class]`, in the order of `classes`.
    """

    accuracy: float | None = None
    macro_accuracy: float | None = None
    log_loss: float | None = None
    interval: tuple[float, float] | None = None
    clips: int | None = None
    groups: Mapping[str, Mapping[str, GroupScores]] = field(default_factory=dict)
    confusion: tuple[tuple[int, ...], ...] = ()
    classes: tuple[str, ...] = ()
    mean_average_precision: float | None = None
    auc: float | None = None
    d_prime: float | None = None
    detection: DetectionFigures | None = None

    @property
    def main(self) -> float | None:
        """The fraction that runs are compared by: mean average precision of independent classes, else accuracy."""
        return self.accuracy if self.mean_average_precision is None else self.mean_average_precision

    def columns(self) -> dict[str, float | None]:
        """The scores that tables of files show, by name."""
        columns = {"accuracy": self.accuracy, "log_loss": self.log_loss}
        if self.mean_average_precision is not None:
            columns = {"mean_average_precision": self.mean_average_precision, "d_prime": self.d_prime, **columns}
        if self.detection is not None:
            alarms = self.detection.false_alarms_per_hour
            columns |= {"recall": self.detection.recall, "false_alarms_per_hour": alarms}
        return columns

    def __bool__(self) -> bool:
        """Whether anything was evaluated."""
        return any(value not in (None, {}, ()) for value in vars(self).values())

    def table(self) -> pd.DataFrame:
        """Accuracy, log loss and number of clips: of all clips, then of each class, device and city.

        Of independent classes also (mean) average precision and d-prime.
        """
        import pandas as pd

        whole = GroupScores(self.accuracy, self.log_loss, self.clips, self.mean_average_precision, self.d_prime)
        parts = {("all", ""): whole}
        parts |= {(kind, name): scores for kind, rows in self.groups.items() for name, scores in rows.items()}
        index = pd.MultiIndex.from_tuples(list(parts), names=["part", "name"])
        table = pd.DataFrame([vars(scores) for scores in parts.values()], index=index)
        return table if self.mean_average_precision is not None else table[["accuracy", "log_loss", "clips"]]

    @staticmethod
    def from_json(value: Mapping[str, Any], where: str = "") -> Scores:
        groups: dict[str, Mapping[str, GroupScores]] = {}
        for kind in ("class", "device", "city"):
            rows = mapping(value, f"per_{kind}", where)
            groups[kind] = {
                name: GroupScores(**plain_fields(GroupScores, mapping(rows, name, f"{where}per_{kind}.")))
                for name in rows
            }
        return Scores(
            **plain_fields(Scores, value),
            interval=_interval(value, where),
            detection=DetectionFigures.from_json(mapping(value, "detection", where), f"{where}detection."),
            groups={kind: rows for kind, rows in groups.items() if rows},
            confusion=counts(value, "confusion", where),
            classes=tuple(str(name) for name in sequence(value, "classes", where)),
        )


def _interval(value: Mapping[str, Any], where: str) -> tuple[float, float] | None:
    bounds = [number(bound) for bound in sequence(value, "interval", where)]
    low, high = bounds if len(bounds) == 2 else (None, None)
    return None if low is None or high is None else (low, high)


@dataclass(frozen=True)
class ReconstructionFigures:
    """What fitting the cut network to the dense one did; by layer: see `pruning.reconstruction`.

    Attributes:
        inputs: network inputs of training clips that it looked at.
        fitted: layers that were fitted.
        output_error_before, output_error_after: squared error against the dense network's outputs, as a share of their
            variance.
        kept: whether the fitted weights were kept.
        cut_only: metrics of the network without it.
    """

    inputs: int | None
    fitted: int
    output_error_before: float | None
    output_error_after: float | None
    kept: bool
    cut_only: Scores

    @staticmethod
    def from_json(value: Mapping[str, Any], where: str = "") -> ReconstructionFigures | None:
        if not value:
            return None
        return ReconstructionFigures(
            **plain_fields(ReconstructionFigures, value),
            fitted=sum(not layer.get("left") for layer in objects(value, "layers", where)),
            kept=bool(value.get("kept")),
            cut_only=Scores.from_json(mapping(value, "cut_only", where), where),
        )


@dataclass(frozen=True)
class Parity:
    """How far a file's outputs are from its network's; `label_flips` of `clips` compared have another top class."""

    max_abs_error: float | None = None
    label_flips: int | None = None
    transposes: int | None = None
    clips: int | None = None

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Parity:
        return Parity(**plain_fields(Parity, value))


@dataclass(frozen=True)
class Timing:
    """Time or instructions of one inference of a file on a device: measured, emulated or estimated."""

    device: str
    kind: str | None
    unit: str | None
    file: str
    median: float | None
    p5: float | None
    p95: float | None
    runs: int | None
    threads: int
    peak_ram_bytes: int | None
    sha256: str | None
    detail: Mapping[str, Any]

    @property
    def median_ms(self) -> float | None:
        """Milliseconds; None where the unit is no time."""
        scale = _UNIT_IN_MS.get(self.unit or "")
        return None if self.median is None or scale is None else self.median * scale

    @property
    def is_size(self) -> bool:
        """Whether `median` is a size that was found once, such as an arena, and no median of runs."""
        return (self.unit or "").endswith("bytes")

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Timing:
        return Timing(
            **plain_fields(Timing, value),
            device=str(value.get("device") or "device"),
            file=PurePath(str(value.get("model") or "")).name,
            threads=whole(value.get("threads")) or 1,
            detail=mapping(value, "detail", "latency."),
        )


@dataclass(frozen=True)
class BudgetOutcome:
    """The limits, what was reached, and how good the allocation is; by `params`, `macs`, `peak_ram` ...

    Attributes:
        program_kind: how RAM and flash of a linked program became known; None where they are the network's alone.
    """

    asked: Mapping[str, Any] = field(default_factory=dict)
    reached: Mapping[str, float] = field(default_factory=dict)
    slack: Mapping[str, float] = field(default_factory=dict)
    binding: tuple[str, ...] = ()
    kept_scores: Mapping[str, float] = field(default_factory=dict)
    value: float | None = None
    gap: float | None = None
    proven: bool = False
    read_from: str | None = None
    program_kind: str | None = None

    def __bool__(self) -> bool:
        """Whether the run had a budget or reached one."""
        return bool(self.asked or self.reached)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> BudgetOutcome:
        binding = value.get("binding")
        return BudgetOutcome(
            **plain_fields(BudgetOutcome, value),
            asked=dict(mapping(value, "asked", "budget.")),
            reached=numbers(mapping(value, "reached", "budget.")),
            slack=numbers(mapping(value, "slack", "budget.")),
            binding=(binding,) if isinstance(binding, str) else tuple(sequence(value, "binding", "budget.")),
            kept_scores=numbers(mapping(value, "kept_scores", "budget.")),
            proven=value.get("proven") is True,
        )


@dataclass(frozen=True)
class DataFacts:
    """Which clips: data set, split, clips by part (`train`, `validation`, `test`), the split's hash, what is odd."""

    name: str = ""
    split: str | None = None
    clips: Mapping[str, int] = field(default_factory=dict)
    sha256: str | None = None
    warnings: tuple[str, ...] = ()

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> DataFacts:
        clips = value.get("clips")
        counts = {"all": clips} if not isinstance(clips, Mapping | None) else dict(clips or {})
        parts = {name: int(count) for name, count in numbers(counts).items()}
        warnings = tuple(str(sentence) for sentence in sequence(value, "warnings", "data."))
        name = str(value.get("name") or "")
        return DataFacts(name=name, clips=parts, warnings=warnings, **plain_fields(DataFacts, value))


@dataclass(frozen=True)
class Threads:
    """With how many threads of the CPU a run trains and fine-tunes."""

    train: int | None
    finetune: int | None

    def __bool__(self) -> bool:
        """Whether both are known."""
        return bool(self.train and self.finetune)

    def __str__(self) -> str:
        """As `1 thread`, or `1 thread in training and 2 in fine-tuning`."""
        more = "" if self.finetune == self.train else f" in training and {self.finetune} in fine-tuning"
        return f"{self.train} thread{'' if self.train == 1 else 's'}{more}"

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Threads:
        return Threads(**plain_fields(Threads, value))


@dataclass(frozen=True)
class FrontendFigures:
    """The cost of the log-mel front-end in C, beside the network's; instructions are by emulated processor."""

    ram_bytes: int | None
    flash_bytes: int | None
    hop_s: float | None
    instructions_per_hop: Mapping[str, float]

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> FrontendFigures | None:
        if not value:
            return None
        emulated = objects(value, "emulated", "frontend.")
        counts = {str(row.get("board")): row.get("instructions_per_hop") for row in emulated}
        return FrontendFigures(**plain_fields(FrontendFigures, value), instructions_per_hop=numbers(counts))
