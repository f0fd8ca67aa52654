"""The figures of a result: costs, scores, parity, timings, budget, data, front-end.

Parts that an older or unfinished run did not write are None or empty. Accuracies are fractions, log losses nats, sizes
bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from edgeprune.results.json_fields import mapping, number, numbers, objects, sequence, text, whole

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
        layers = tuple(
            LayerFigures(
                str(row.get("name")),
                text(row.get("kind")),
                whole(row.get("filters")),
                whole(row.get("params")),
                whole(row.get("macs")),
            )
            for row in objects(value, "by_layer", where)
        )
        return CostFigures(
            params=whole(value.get("params")),
            params_trainable=whole(value.get("params_trainable")),
            params_with_statistics=whole(value.get("params_with_statistics")),
            macs=whole(value.get("macs")),
            flash_bytes=whole(value.get("flash_bytes")),
            arena_bytes=whole(value.get("arena_bytes")),
            peak_bound_bytes=whole(value.get("peak_ram_bytes")),
            by_layer=layers,
        )


@dataclass(frozen=True)
class GroupScores:
    """Metrics of the clips of one class, device or city."""

    accuracy: float | None
    log_loss: float | None
    clips: int | None


@dataclass(frozen=True)
class Scores:
    """Metrics of the evaluation part.

    Attributes:
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

    def __bool__(self) -> bool:
        """Whether anything was evaluated."""
        return any(value not in (None, {}, ()) for value in vars(self).values())

    def table(self) -> pd.DataFrame:
        """Accuracy, log loss and number of clips: of all clips, then of each class, device and city."""
        import pandas as pd

        parts = {("all", ""): GroupScores(self.accuracy, self.log_loss, self.clips)}
        parts |= {(kind, name): scores for kind, rows in self.groups.items() for name, scores in rows.items()}
        index = pd.MultiIndex.from_tuples(list(parts), names=["part", "name"])
        return pd.DataFrame([vars(scores) for scores in parts.values()], index=index)

    @staticmethod
    def from_json(value: Mapping[str, Any], where: str = "") -> Scores:
        bounds = [number(bound) for bound in sequence(value, "interval", where)]
        interval = (bounds[0], bounds[1]) if len(bounds) == 2 else (None, None)
        groups: dict[str, Mapping[str, GroupScores]] = {}
        for kind in ("class", "device", "city"):
            rows = mapping(value, f"per_{kind}", where)
            groups[kind] = {name: _group_scores(mapping(rows, name, f"{where}per_{kind}.")) for name in rows}
        return Scores(
            accuracy=number(value.get("accuracy")),
            macro_accuracy=number(value.get("macro_accuracy")),
            log_loss=number(value.get("log_loss")),
            interval=None if interval[0] is None or interval[1] is None else (interval[0], interval[1]),
            clips=whole(value.get("clips")),
            groups={kind: rows for kind, rows in groups.items() if rows},
            confusion=tuple(tuple(whole(n) or 0 for n in row) for row in sequence(value, "confusion", where)),
            classes=tuple(str(name) for name in sequence(value, "classes", where)),
        )


def _group_scores(value: Mapping[str, Any]) -> GroupScores:
    return GroupScores(number(value.get("accuracy")), number(value.get("log_loss")), whole(value.get("clips")))


@dataclass(frozen=True)
class Parity:
    """How far a file's outputs are from its network's; `label_flips` of `clips` compared have another top class."""

    max_abs_error: float | None = None
    label_flips: int | None = None
    transposes: int | None = None
    clips: int | None = None

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Parity:
        return Parity(
            max_abs_error=number(value.get("max_abs_error")),
            label_flips=whole(value.get("label_flips")),
            transposes=whole(value.get("transposes")),
            clips=whole(value.get("clips")),
        )


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

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Timing:
        return Timing(
            device=str(value.get("device") or "device"),
            kind=text(value.get("kind")),
            unit=text(value.get("unit")),
            file=PurePath(str(value.get("model") or "")).name,
            median=number(value.get("median")),
            p5=number(value.get("p5")),
            p95=number(value.get("p95")),
            runs=whole(value.get("runs")),
            threads=whole(value.get("threads")) or 1,
            peak_ram_bytes=whole(value.get("peak_ram_bytes")),
            sha256=text(value.get("sha256")),
            detail=mapping(value, "detail", "latency."),
        )


@dataclass(frozen=True)
class BudgetOutcome:
    """The limits, what was reached, and how good the allocation is; by `params`, `macs`, `peak_ram` ..."""

    asked: Mapping[str, Any] = field(default_factory=dict)
    reached: Mapping[str, float] = field(default_factory=dict)
    slack: Mapping[str, float] = field(default_factory=dict)
    binding: tuple[str, ...] = ()
    kept_scores: Mapping[str, float] = field(default_factory=dict)
    value: float | None = None
    gap: float | None = None
    proven: bool = False
    read_from: str | None = None

    def __bool__(self) -> bool:
        """Whether the run had a budget or reached one."""
        return bool(self.asked or self.reached)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> BudgetOutcome:
        binding = value.get("binding")
        return BudgetOutcome(
            asked=dict(mapping(value, "asked", "budget.")),
            reached=numbers(mapping(value, "reached", "budget.")),
            slack=numbers(mapping(value, "slack", "budget.")),
            binding=(binding,) if isinstance(binding, str) else tuple(sequence(value, "binding", "budget.")),
            kept_scores=numbers(mapping(value, "kept_scores", "budget.")),
            value=number(value.get("value")),
            gap=number(value.get("gap")),
            proven=value.get("proven") is True,
            read_from=text(value.get("read_from")),
        )


@dataclass(frozen=True)
class DataFacts:
    """Which clips: data set, split, clips by part (`train`, `validation`, `test`), and the split's hash."""

    name: str = ""
    split: str | None = None
    clips: Mapping[str, int] = field(default_factory=dict)
    sha256: str | None = None

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> DataFacts:
        clips = value.get("clips")
        counts = {"all": clips} if not isinstance(clips, Mapping | None) else dict(clips or {})
        parts = {name: count for name, count in ((name, whole(n)) for name, n in counts.items()) if count is not None}
        return DataFacts(str(value.get("name") or ""), text(value.get("split")), parts, text(value.get("sha256")))


@dataclass(frozen=True)
class FrontendFigures:
    """The cost of the log-mel front-end in C, beside the network's.

    Attributes:
        instructions_per_hop: by emulated processor.
    """

    ram_bytes: int | None
    flash_bytes: int | None
    hop_s: float | None
    instructions_per_hop: Mapping[str, float]

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> FrontendFigures | None:
        if not value:
            return None
        rows = [(str(row.get("board")), row) for row in objects(value, "emulated", "frontend.")]
        counts = ((board, number(row.get("instructions_per_hop"))) for board, row in rows)
        return FrontendFigures(
            whole(value.get("ram_bytes")),
            whole(value.get("flash_bytes")),
            number(value.get("hop_s")),
            {board: count for board, count in counts if count is not None},
        )
