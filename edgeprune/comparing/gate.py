"""Hold new runs to earlier ones: accuracy, latency, size of the file."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf, isfinite
from pathlib import Path
from statistics import median
from typing import Any

from edgeprune.comparing import measures
from edgeprune.comparing.compare import choose_format, compared_score
from edgeprune.comparing.comparison import ComparedRun
from edgeprune.comparing.load import load_runs, predictions_of
from edgeprune.comparing.variants import RunGroup, differing, group_runs, name_groups
from edgeprune.comparing.words import count, some
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.evaluation.predictions import Predictions
from edgeprune.evaluation.statistics import mcnemar, paired_bootstrap
from edgeprune.reporting.numbers import format_percent, format_signed, format_significant
from edgeprune.reporting.tables import Table

MAX_DROP = 0.01
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Limits:
    """How much worse the new runs may be; None: not checked.

    Attributes:
        drop: of the accuracy, a fraction: 0.01 is one point.
        latency: new divided by old, on each device that timed both.
        bytes: new divided by old size of the file.
    """

    drop: float = MAX_DROP
    latency: float | None = None
    bytes: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.drop <= 1:
            raise EdgepruneError(f"--max-drop {self.drop:g}: give a fraction of 0 to 1; 0.01 is one point of accuracy.")
        for name, value in (("latency", self.latency), ("bytes", self.bytes)):
            if value is not None and not (value > 0 and isfinite(value)):
                raise EdgepruneError(f"--max-{name} {value:g}: give a ratio above 0; 1.05 allows 5 % more.")


@dataclass(frozen=True)
class Ratio:
    """Old and new latency on one device, in `unit`."""

    device: str
    kind: str
    unit: str
    old: float
    new: float

    @property
    def ratio(self) -> float:
        """New divided by old."""
        return self.new / self.old if self.old else (1.0 if self.new == self.old else inf)


@dataclass(frozen=True)
class Chance:
    """Whether a change of accuracy is more than chance, judged clip by clip.

    Attributes:
        clips: decisions compared.
        low, high: 95 % bootstrap interval of new minus old; a clip is drawn with all its runs.
        p_value: of McNemar's exact test; None where several runs decided one clip.
    """

    clips: int
    low: float
    high: float
    p_value: float | None


@dataclass(frozen=True)
class Match:
    """A variant of the new runs and its counterpart among the old ones.

    Attributes:
        pairs: number of runs with a counterpart; 0: means over different seeds and folds are compared.
        old, new: the `score` compared: accuracy, or mean average precision where classes are independent.
        latency: on the devices that timed both.
        untimed: devices of the baseline that did not time the new runs, or timed them otherwise.
        chance: None where predictions are missing.
        breaches: the limits it breaks, each as a clause.
        unmeasured: figures with a limit that one side lacks, each as a clause.
    """

    name: str
    pairs: int
    old: float
    new: float
    bytes_old: float | None
    bytes_new: float | None
    latency: tuple[Ratio, ...]
    chance: Chance | None
    untimed: tuple[str, ...] = ()
    breaches: tuple[str, ...] = ()
    unmeasured: tuple[str, ...] = ()
    score: str = "accuracy"


@dataclass(frozen=True)
class Gate:
    """The comparison with a baseline, and the limits that were broken.

    Attributes:
        lost: variants that have only old results.
        unscored: variants without an accuracy in the format on one side, each as a clause.
    """

    new: str
    old: str
    format: str
    limits: Limits
    matches: tuple[Match, ...]
    notes: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    unscored: tuple[str, ...] = ()

    @property
    def breaches(self) -> list[str]:
        """Every broken limit as a clause, with the variant's name where there are several."""
        return self._clauses("breaches") + [f"{name}: has no result any more" for name in self.lost]

    @property
    def unmeasured(self) -> list[str]:
        """Every figure that was to be held and that one side lacks, as a clause."""
        return self._clauses("unmeasured") + list(self.unscored)

    @property
    def passed(self) -> bool:
        """Whether every limit was held to, and none was broken."""
        return not self.breaches and not self.unmeasured

    def require(self) -> None:
        """Raise CheckFailedError with every breach and every figure that was never measured, if there is one."""
        if self.passed:
            return
        if self.breaches:
            verdict, advice = "is worse than", "find out what changed, or raise the limit on purpose"
        else:
            verdict, advice = "cannot be held to", "measure it on both sides in the same way, or leave out its limit"
        clauses = "; ".join([*self.breaches, *self.unmeasured])
        raise CheckFailedError(f"{self.new}: {verdict} {self.old} ({self.format}): {clauses}; {advice}.")

    def _clauses(self, kind: str) -> list[str]:
        several = len(self.matches) > 1
        return [f"{match.name}: {text}" if several else text for match in self.matches for text in getattr(match, kind)]

    def summary(self) -> str:
        """One line on what was compared."""
        change = format_signed(100 * min(match.new - match.old for match in self.matches))
        worst = "" if len(self.matches) == 1 else "at worst "
        checks = [
            f"{self.matches[0].score} ({worst}{change} points, a drop of {100 * self.limits.drop:.2f} is allowed)"
        ]
        if self.limits.latency is not None:
            devices = self._devices()
            checks.append(f"latency on {', '.join(devices)}" if devices else "no latency")
        if self.limits.bytes is not None:
            checks.append("size of the file")
        pairs = sum(match.pairs for match in self.matches)
        extent = f"{count(len(self.matches), 'variant')}, {count(pairs, 'pair')} of runs"
        return f"{self.new} against {self.old}, {self.format}, {extent}: {', '.join(checks)}."

    def table(self) -> Table:
        """A row a variant: accuracies, their change and whether it is chance, latency, size."""
        devices = self._devices()
        columns = ("variant", "pairs", "old", "new", "change, points [95 %], p", "file", *devices, "")
        rows = []
        for match in self.matches:
            ratios = {ratio.device: _times(ratio.new, ratio.old) for ratio in match.latency}
            row = (match.name, str(match.pairs), format_percent(match.old), format_percent(match.new))
            change = format_signed(100 * (match.new - match.old))
            if chance := match.chance:
                p = "" if chance.p_value is None else f", {chance.p_value:.3f}"
                change += f" [{format_signed(100 * chance.low)}, {format_signed(100 * chance.high)}]{p}"
            size = _times(match.bytes_new, match.bytes_old)
            verdict = "too much" if match.breaches else "not measured" if match.unmeasured else "within the limits"
            rows.append((*row, change, size, *(ratios.get(name, "") for name in devices), verdict))
        return Table(columns, tuple(rows))

    def _devices(self) -> list[str]:
        return list(dict.fromkeys(ratio.device for match in self.matches for ratio in match.latency))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = asdict(self)
        for row, match in zip(values["matches"], self.matches, strict=True):
            row["drop"] = match.old - match.new
            row["latency"] = [{**asdict(r), "ratio": r.ratio if isfinite(r.ratio) else None} for r in match.latency]
        return {**values, "passed": self.passed}


def judge(new: Sequence[Path], old: Sequence[Path], limits: Limits, format: str | None = None) -> Gate:
    """Compare new runs with earlier ones.

    A variant of the new runs is matched with the old variant that has the same values in the fields that differ within
    either side. So one run is matched with one run whatever their settings, and a sweep with an earlier sweep point by
    point. The folders are run folders, or hold them; without a format int8 is compared where all have it.
    """
    sides, notes = [], []
    for folders in (new, old):
        runs, load_notes = load_runs(folders)
        groups, group_notes = group_runs(runs)
        sides.append(groups)
        notes += [*load_notes, *group_notes]
        problems = [f"{run.folder.path} {run.problem}" for run in runs if run.result is None]
        notes += [f"Not compared, as there is no result: {some(problems)}."] if problems else []
    format = choose_format([*sides[0], *sides[1]], format)
    names = [", ".join(map(str, folders)) for folders in (new, old)]
    matches, lost, unscored = [], [], []
    for name, new_group, old_group in _matched(sides[0], sides[1], notes):
        after, before = (
            [run for run in group.runs if run.score("accuracy", format) is not None] for group in (new_group, old_group)
        )
        if after and before:
            matches.append(_compare(name, after, before, format, limits, notes))
        elif before and not new_group.finished:
            lost.append(name)
        elif before:
            unscored.append(f"{name}: its accuracy in {format} was never measured")
        elif after:
            unscored.append(f"{name}: its accuracy in {format} was never measured in the baseline")
        else:
            notes.append(f"Not compared: {name} has no accuracy in {format} on either side.")
    if not matches and not unscored:
        reasons = f" ({some(note.rstrip('.') for note in notes)})" if notes else ""
        nothing = f"{names[0]}: no variant with an accuracy in {format} is both there and in {names[1]}{reasons}"
        raise EdgepruneError(f"{nothing}; give a baseline of the same variants.")
    notes = list(dict.fromkeys(notes))
    return Gate(names[0], names[1], format, limits, tuple(matches), tuple(notes), tuple(lost), tuple(unscored))


def _matched(new: list[RunGroup], old: list[RunGroup], notes: list[str]) -> Iterator[tuple[str, RunGroup, RunGroup]]:
    """Name, new and old group of every variant that both sides have."""
    axes = sorted({name for side in (new, old) for name in differing([group.settings for group in side])})

    def point(group: RunGroup) -> tuple[Any, ...]:
        return (group.role if axes else "", *(group.settings.get(name) for name in axes))

    after, before = (
        {point(group): (name, group) for name, group in zip(name_groups(side), side, strict=True)}
        for side in (new, old)
    )
    for title, side, other in (("Not in the baseline", after, before), ("In the baseline alone", before, after)):
        alone = [name for place, (name, _) in side.items() if place not in other]
        notes += [f"{title}: {some(alone)}."] if alone else []
    for place in [place for place in after if place in before]:
        yield *after[place], before[place][1]


def _compare(
    name: str, new: list[ComparedRun], old: list[ComparedRun], format: str, limits: Limits, notes: list[str]
) -> Match:
    """Compare one variant over the seeds and folds of both sides, else over all runs of each."""
    pairs = _pairs(name, new, old, notes)
    tables = [(predictions_of(after, format), predictions_of(before, format)) for after, before in pairs]
    other_clips = [
        (after, before)
        for (after, before), sides in zip(pairs, tables, strict=True)
        if after.split != before.split and not _same_clips(*sides)
    ]
    if pairs:
        new, old = map(list, zip(*pairs, strict=True))
    elif {run.split for run in new} != {run.split for run in old}:
        other_clips = [(new[0], old[0])]
    if other_clips:
        after, before = other_clips[0]
        splits = f"{after.folder.path}: was evaluated on another split of the data than {before.folder.path}"
        raise EdgepruneError(f"{splits}, so their accuracies do not compare; give a baseline on the same split.")
    sizes = [measures.file_bytes(runs).get(format) for runs in (old, new)]
    bytes_old, bytes_new = (size.mean if size else None for size in sizes)
    match = Match(
        name=name,
        pairs=len(pairs),
        old=measures.scores(old, "accuracy")[format].mean,
        new=measures.scores(new, "accuracy")[format].mean,
        bytes_old=bytes_old,
        bytes_new=bytes_new,
        latency=tuple(_ratios(new, old, format)),
        untimed=tuple(_untimed(new, old, format, name, notes)),
        chance=_chance([run.fold for run, _ in pairs], tables),
        score=compared_score([*new, *old]).replace("_", " "),
    )
    return replace(match, breaches=tuple(_breaches(match, limits)), unmeasured=tuple(_unmeasured(match, limits)))


def _pairs(
    name: str, new: Sequence[ComparedRun], old: Sequence[ComparedRun], notes: list[str]
) -> list[tuple[ComparedRun, ComparedRun]]:
    """Runs of the same seed and fold; two single runs of one fold are a pair whatever their seeds."""
    if len(new) == len(old) == 1 and new[0].fold == old[0].fold:
        if new[0].seed != old[0].seed:
            notes.append(f"{name}: the seeds differ, {old[0].seed} and now {new[0].seed}.")
        return [(new[0], old[0])]
    partners = {(run.seed, run.fold): run for run in old}
    pairs = [(run, partners[run.seed, run.fold]) for run in new if (run.seed, run.fold) in partners]
    if not pairs:
        notes.append(f"{name}: no seed and fold is in both, so the means over all runs are compared.")
    elif len(pairs) < max(len(new), len(old)):
        notes.append(f"{name}: compared over the seeds and folds that both have ({len(pairs)}).")
    return pairs


def _breaches(match: Match, limits: Limits) -> Iterator[str]:
    drop, chance = match.old - match.new, ""
    if match.chance:
        more = "more than" if match.chance.high < 0 or match.chance.low > 0 else "no more than"
        p = "" if match.chance.p_value is None else f", McNemar p {match.chance.p_value:.3f}"
        chance = f" ({more} chance on {match.chance.clips} clips{p})"
    if drop > limits.drop + _ROUNDING:
        change = f"from {format_percent(match.old)} to {format_percent(match.new)}"
        yield f"{match.score} fell by {100 * drop:.2f} points of {100 * limits.drop:.2f} allowed, {change}{chance}"
    for ratio in match.latency:
        if limits.latency is not None and ratio.ratio > limits.latency + _ROUNDING:
            yield (
                f"{ratio.device} took {format_significant(ratio.old)} and takes {format_significant(ratio.new)} "
                f"{ratio.unit} ({ratio.kind}), {_times(ratio.new, ratio.old)} of {limits.latency:g} allowed"
            )
    old, new = match.bytes_old, match.bytes_new
    if limits.bytes is not None and old and new is not None and new / old > limits.bytes + _ROUNDING:
        yield f"the file grew from {old:,.0f} to {new:,.0f} B, {_times(new, old)} of {limits.bytes:g} allowed"


def _unmeasured(match: Match, limits: Limits) -> Iterator[str]:
    """Figures that were to be held and that one side lacks; nothing that nobody measured passes."""
    if limits.latency is not None:
        for device in match.untimed:
            yield f"latency on {device} was not measured as in the baseline"
        if not match.latency and not match.untimed:
            yield "latency was never measured in the baseline"
    for side, size in (("", match.bytes_new), (" in the baseline", match.bytes_old)):
        if limits.bytes is not None and size is None:
            yield f"the size of the file is not known{side}"


def _times(new: float | None, old: float | None) -> str:
    return "" if not old or new is None else f"x{new / old:.3f}"


def _ratios(new: Sequence[ComparedRun], old: Sequence[ComparedRun], format: str) -> Iterator[Ratio]:
    """Latencies on the devices that timed both sides."""
    after, before = (
        {key: median(medians) for key, medians in measures.all_latencies(runs, format).items()} for runs in (new, old)
    )
    for key in sorted(after.keys() & before.keys()):
        yield Ratio(key.label(), key.kind, key.unit, before[key], after[key])


def _untimed(
    new: Sequence[ComparedRun], old: Sequence[ComparedRun], format: str, name: str, notes: list[str]
) -> Iterator[str]:
    """Devices of the baseline whose latencies have no counterpart; notes say why."""
    after, before = (measures.all_latencies(runs, format).keys() for runs in (new, old))
    shared = {key.device for key in after & before}
    devices, old_devices = ({key.device for key in side} for side in (after, before))

    def settings(device: str, keys: Iterable[measures.TimedOn]) -> str:
        return some(
            f"{key.processor or 'processor not known'}, {key.kind}, {key.unit}, {count(key.threads, 'thread')}"
            for key in keys
            if key.device == device
        )

    for device in sorted((devices & old_devices) - shared):
        text = f"{name}: latency on {device} is not compared, as it was measured otherwise"
        notes.append(f"{text}: {settings(device, before)} and now {settings(device, after)}.")
    for device in sorted(old_devices - devices):
        notes.append(f"{name}: latency on {device} is not compared, as it is in the baseline alone.")
    yield from sorted(old_devices - shared)


def _same_clips(new: Predictions | None, old: Predictions | None) -> bool:
    """Whether both tables are there and hold the same clips with the same labels."""
    if new is None or old is None:
        return False
    labels, old_labels = (dict(zip(table.filenames, table.labels, strict=True)) for table in (new, old))
    return labels == old_labels


def _chance(folds: Sequence[int], tables: Sequence[tuple[Predictions | None, Predictions | None]]) -> Chance | None:
    """Judge the change by the clips; None unless both tables of every pair hold the same ones.

    None too where classes are independent: mean average precision is no share of clips.
    """
    rows: list[tuple[bool, bool, str]] = []
    for fold, (new, old) in zip(folds, tables, strict=True):
        if new is None or old is None or new.several or not _same_clips(new, old):
            return None
        before = dict(zip(old.filenames, old.predicted, strict=True))
        clips = zip(new.filenames, new.labels, new.predicted, strict=True)
        rows += [(after == label, before[clip] == label, f"{fold} {clip}") for clip, label, after in clips]
    if not rows:
        return None
    correct, correct_before, groups = zip(*rows, strict=True)
    interval = paired_bootstrap(correct, correct_before, groups=groups)
    p_value = mcnemar(correct, correct_before).p_value if len(set(groups)) == len(groups) else None
    return Chance(len(groups), interval.low, interval.high, p_value)
