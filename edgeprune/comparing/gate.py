"""Whether new runs keep what earlier ones promised: accuracy, latency, size of the file."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf, isfinite
from pathlib import Path
from typing import Any

import numpy as np

from edgeprune.comparing import measures
from edgeprune.comparing.compare import choose_format
from edgeprune.comparing.comparison import RunRecord
from edgeprune.comparing.load import FoundRun, load_runs, predictions_of, split_of
from edgeprune.comparing.notes import some
from edgeprune.comparing.table import signed
from edgeprune.comparing.variants import Group, differing, group_runs, name_groups
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.evaluation.predictions import Predictions
from edgeprune.evaluation.statistics import mcnemar, paired_bootstrap
from edgeprune.reporting.numbers import format_percent, format_significant
from edgeprune.reporting.tables import Table

MAX_DROP = 0.01
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Limits:
    """How much worse the new runs may be.

    Attributes:
        drop: in accuracy, a fraction: 0.01 is one point.
        latency: new by old, on each device that both were measured on; None: not checked.
        bytes: new by old size of the file; None: not checked.
    """

    drop: float = MAX_DROP
    latency: float | None = None
    bytes: float | None = None

    def check(self) -> "Limits":
        """Raise EdgepruneError if a limit is none; return self."""
        if not 0 <= self.drop <= 1:
            raise EdgepruneError(f"--max-drop {self.drop:g}: give a fraction of 0 to 1; 0.01 is one point of accuracy.")
        for name, value in (("latency", self.latency), ("bytes", self.bytes)):
            if value is not None and not (value > 0 and isfinite(value)):
                raise EdgepruneError(f"--max-{name} {value:g}: give a ratio above 0; 1.05 allows 5 % more.")
        return self


@dataclass(frozen=True)
class Ratio:
    """A latency, new by old, on a device that was the same both times."""

    device: str
    kind: str
    unit: str
    old: float
    new: float

    @property
    def ratio(self) -> float:
        return self.new / self.old if self.old else (1.0 if self.new == self.old else inf)


@dataclass(frozen=True)
class Chance:
    """Whether a change of accuracy is more than chance, judged clip by clip.

    Attributes:
        clips: decisions that were compared.
        low, high: 95 % interval of new minus old, by drawing clips again (bootstrap), a clip with all its runs.
        p_value: McNemar's exact one; None where a clip was decided by several runs.
    """

    clips: int
    low: float
    high: float
    p_value: float | None


@dataclass(frozen=True)
class Match:
    """A variant that is in the new runs and in the old ones.

    Attributes:
        name: of the variant among the new runs.
        pairs: how many runs have a counterpart; 0: means over different seeds and folds were compared.
        old, new: accuracy.
        bytes_old, bytes_new: size of the file; None where it is not told.
        latency: on the devices that were the same.
        chance: None where the predictions are not at hand.
        breaches: limits it breaks, each as a clause.
    """

    name: str
    pairs: int
    old: float
    new: float
    bytes_old: float | None
    bytes_new: float | None
    latency: tuple[Ratio, ...]
    chance: Chance | None
    breaches: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gate:
    """What was compared with the baseline, and what broke a limit.

    Attributes:
        new, old: folders, as they were given.
        lost: variants that the baseline has a result of, and the new runs have not although they were begun.
    """

    new: str
    old: str
    format: str
    limits: Limits
    matches: tuple[Match, ...]
    notes: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    @property
    def breaches(self) -> list[str]:
        several = len(self.matches) > 1
        found = [f"{match.name}: {text}" if several else text for match in self.matches for text in match.breaches]
        return found + [f"{name}: has no result any more" for name in self.lost]

    def require(self) -> None:
        """Raise CheckFailedError with every breach, if there is one."""
        if self.breaches:
            raise CheckFailedError(
                f"{self.new}: is worse than {self.old} ({self.format}): {'; '.join(self.breaches)}; find out what "
                "changed, or raise the limit on purpose."
            )

    def summary(self) -> str:
        """One line that says what was compared."""
        pairs = sum(match.pairs for match in self.matches)
        change = signed(100 * min(match.new - match.old for match in self.matches))
        devices = dict.fromkeys(ratio.device for match in self.matches for ratio in match.latency)
        worst = "" if len(self.matches) == 1 else "at worst "
        told = [f"accuracy ({worst}{change} points, a drop of {100 * self.limits.drop:.2f} is allowed)"]
        if self.limits.latency is not None:
            told.append(f"latency on {', '.join(devices)}" if devices else "no latency")
        if self.limits.bytes is not None:
            told.append("size of the file")
        count = f"{len(self.matches)} variant{'' if len(self.matches) == 1 else 's'}"
        of = f"{pairs} pair{'' if pairs == 1 else 's'} of runs"
        return f"{self.new} against {self.old}, {self.format}, {count}, {of}: {', '.join(told)}."

    def table(self) -> Table:
        """A row a variant: accuracies, change with what clips tell of chance, latency, size."""
        devices = list(dict.fromkeys(r.device for match in self.matches for r in match.latency))
        columns = ("variant", "pairs", "old", "new", "change, points [95 %], p", "file", *devices, "")
        rows = []
        for match in self.matches:
            ratios = {ratio.device: _times(ratio.new, ratio.old) for ratio in match.latency}
            row = (match.name, str(match.pairs), format_percent(match.old), format_percent(match.new))
            size = _times(match.bytes_new, match.bytes_old)
            verdict = "too much" if match.breaches else "within the limits"
            rows.append((*row, _change(match), size, *(ratios.get(name, "") for name in devices), verdict))
        return Table(columns, tuple(rows))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        found = asdict(self)
        for row, match in zip(found["matches"], self.matches, strict=True):
            row["drop"] = match.old - match.new
            row["latency"] = [{**asdict(r), "ratio": r.ratio if isfinite(r.ratio) else None} for r in match.latency]
        return {**found, "passed": not self.breaches}


def judge(new: Sequence[Path], old: Sequence[Path], limits: Limits, format: str | None = None) -> Gate:
    """Compare new runs with earlier ones.

    A variant of the new runs is matched with the one of the old runs that has the same values in the fields that differ
    within either; so one run is matched with one run whatever their settings, and a sweep with an earlier sweep point
    by point.

    Args:
        new, old: run folders, or folders that hold run folders.
        format: number format; None: int8 where all have it.

    Raises:
        EdgepruneError: nothing can be matched, the evaluation clips differ, or a limit is none.
    """
    limits.check()
    sides, notes = [], []
    for folders in (new, old):
        runs, told = load_runs(folders)
        groups, more = group_runs(runs)
        sides.append(groups)
        notes += [*told, *more, *_unfinished(runs)]
    format = choose_format([*sides[0], *sides[1]], format)
    names = [", ".join(map(str, folders)) for folders in (new, old)]
    matches, lost = [], []
    for name, fresh, earlier in _matched(sides[0], sides[1], notes):
        after, before = (_with_accuracy(group, format) for group in (fresh, earlier))
        if after and before:
            matches.append(_compare(name, after, before, format, limits, notes))
        elif before:
            lost.append(name)
        else:
            notes.append(f"Not compared: {name} has no accuracy in {format} in the baseline.")
    if not matches:
        reasons = f" ({some(note.rstrip('.') for note in notes)})" if notes else ""
        raise EdgepruneError(
            f"{names[0]}: no variant with an accuracy in {format} is both there and in {names[1]}{reasons}; give a "
            "baseline of the same variants."
        )
    return Gate(names[0], names[1], format, limits, tuple(matches), tuple(dict.fromkeys(notes)), tuple(lost))


def _with_accuracy(group: Group, format: str) -> list[FoundRun]:
    return [run for run in group.runs if measures.score(run, "accuracy", format) is not None]


def _unfinished(runs: Sequence[FoundRun]) -> list[str]:
    without = [f"{run.folder} {run.reason}" for run in runs if run.result is None]
    return [f"Not compared, as there is no result: {some(without)}."] if without else []


def _matched(new: list[Group], old: list[Group], notes: list[str]) -> Iterator[tuple[str, Group, Group]]:
    """Name, new and old group of every variant that both have."""
    axes = sorted({name for side in (new, old) for name in differing([group.settings for group in side])})

    def place(group: Group) -> tuple[Any, ...]:
        return (group.role if axes else "", *(group.settings.get(name) for name in axes))

    earlier = {place(group): group for group in old}
    names = name_groups(new)
    alone = [name for name, group in zip(names, new, strict=True) if place(group) not in earlier]
    if alone:
        notes.append(f"Not in the baseline: {some(alone)}.")
    now = {place(group) for group in new}
    gone = [name for name, group in zip(name_groups(old), old, strict=True) if place(group) not in now]
    if gone:
        notes.append(f"In the baseline alone: {some(gone)}.")
    for name, group in zip(names, new, strict=True):
        if place(group) in earlier:
            yield name, group, earlier[place(group)]


def _compare(
    name: str,
    fresh: Sequence[FoundRun],
    earlier: Sequence[FoundRun],
    format: str,
    limits: Limits,
    notes: list[str],
) -> Match:
    """One variant: over the seeds and folds that both have, else over all runs of each."""
    pairs = _pairs(name, fresh, earlier, notes)
    tables = [(_predictions(run, format), _predictions(other, format)) for run, other in pairs]
    for (run, other), (mine, theirs) in zip(pairs, tables, strict=True):
        _same_clips(run, other, mine, theirs)
    if not pairs and {split_of(run) for run in fresh} != {split_of(run) for run in earlier}:
        raise _other_clips(fresh[0], earlier[0])
    used = ([run for run, _ in pairs], [run for _, run in pairs]) if pairs else (fresh, earlier)
    after, before = (_accuracy(runs, format) for runs in used)
    sizes = [_mean_bytes(runs, format) for runs in used]
    latency = tuple(_ratios(used[0], used[1], format, name, notes))
    found = Match(name, len(pairs), before, after, sizes[1], sizes[0], latency, _chance(pairs, tables))
    return replace(found, breaches=tuple(_breaches(found, limits)))


def _pairs(
    name: str, fresh: Sequence[FoundRun], earlier: Sequence[FoundRun], notes: list[str]
) -> list[tuple[FoundRun, FoundRun]]:
    """Runs of the same seed and fold; one run and one run of the same fold whatever their seeds."""
    if len(fresh) == len(earlier) == 1 and fresh[0].fold == earlier[0].fold:
        if fresh[0].seed != earlier[0].seed:
            notes.append(f"{name}: the seeds differ, {earlier[0].seed} and now {fresh[0].seed}.")
        return [(fresh[0], earlier[0])]
    partners = {(run.seed, run.fold): run for run in earlier}
    pairs = [(run, partners[run.seed, run.fold]) for run in fresh if (run.seed, run.fold) in partners]
    if not pairs:
        notes.append(f"{name}: no seed and fold is in both, so the means over all runs are compared.")
    elif len(pairs) < max(len(fresh), len(earlier)):
        notes.append(f"{name}: compared over the seeds and folds that both have ({len(pairs)}).")
    return pairs


def _accuracy(runs: Sequence[FoundRun], format: str) -> float:
    return measures.scores(runs, "accuracy")[format].mean


def _mean_bytes(runs: Sequence[FoundRun], format: str) -> float | None:
    found = measures.file_bytes(runs).get(format)
    return None if found is None else found.mean


def _breaches(match: Match, limits: Limits) -> Iterator[str]:
    drop = match.old - match.new
    if drop > limits.drop + _ROUNDING:
        yield (
            f"accuracy fell by {100 * drop:.2f} points of {100 * limits.drop:.2f} allowed, from "
            f"{format_percent(match.old)} to {format_percent(match.new)}{_told_of_chance(match.chance)}"
        )
    if limits.latency is not None:
        for ratio in match.latency:
            if ratio.ratio > limits.latency + _ROUNDING:
                yield (
                    f"{ratio.device} took {format_significant(ratio.old)} and takes {format_significant(ratio.new)} "
                    f"{ratio.unit} ({ratio.kind}), {_times(ratio.new, ratio.old)} of {limits.latency:g} allowed"
                )
    old, new = match.bytes_old, match.bytes_new
    if limits.bytes is not None and old and new is not None and new / old > limits.bytes + _ROUNDING:
        yield f"the file grew from {old:,.0f} to {new:,.0f} B, {_times(new, old)} of {limits.bytes:g} allowed"


def _told_of_chance(chance: Chance | None) -> str:
    if chance is None:
        return ""
    p = "" if chance.p_value is None else f", McNemar p {chance.p_value:.3f}"
    more = "more than" if chance.high < 0 or chance.low > 0 else "no more than"
    return f" ({more} chance on {chance.clips} clips{p})"


def _change(match: Match) -> str:
    text = signed(100 * (match.new - match.old))
    if match.chance is None:
        return text
    chance = match.chance
    text += f" [{signed(100 * chance.low)}, {signed(100 * chance.high)}]"
    return text if chance.p_value is None else f"{text}, {chance.p_value:.3f}"


def _times(new: float | None, old: float | None) -> str:
    return "" if not old or new is None else f"x{new / old:.3f}"


# Latency, of the same device alone


def _ratios(
    new: Sequence[FoundRun], old: Sequence[FoundRun], format: str, name: str, notes: list[str]
) -> Iterator[Ratio]:
    fresh, earlier = _medians(new, format), _medians(old, format)
    for key in sorted(fresh.keys() & earlier.keys()):
        yield Ratio(measures.device_name(key, False), key[1], key[2], earlier[key], fresh[key])
    for device in sorted({key[0] for key in fresh} & {key[0] for key in earlier}):
        if not any(key[0] == device for key in fresh.keys() & earlier.keys()):
            told = " and now ".join(
                some(_machine(key) for key in side if key[0] == device) for side in (earlier, fresh)
            )
            notes.append(f"{name}: latency on {device} is not compared, as it was measured otherwise: {told}.")
    for device in sorted({key[0] for key in earlier} - {key[0] for key in fresh}):
        notes.append(f"{name}: latency on {device} is not compared, as it is in the baseline alone.")


def _medians(runs: Sequence[FoundRun], format: str) -> dict[measures.DeviceKey, float]:
    found: dict[measures.DeviceKey, list[float]] = {}
    for run in runs:
        for key, median in measures.latencies(run, format).items():
            found.setdefault(key, []).append(median)
    return {key: float(np.median(medians)) for key, medians in found.items()}


def _machine(key: measures.DeviceKey) -> str:
    _, kind, unit, cpu, threads = key
    return f"{cpu or 'processor not told'}, {kind}, {unit}, {threads} thread{'' if threads == 1 else 's'}"


# Clips


def _predictions(run: FoundRun, format: str) -> Predictions | None:
    record = RunRecord(run.folder, "", run.seed, run.fold, run.result, stage=run.stage)
    return predictions_of(record, format)


def _same_clips(new: FoundRun, old: FoundRun, mine: Predictions | None, theirs: Predictions | None) -> None:
    """Raise EdgepruneError if two runs were evaluated on different clips."""
    if split_of(new) == split_of(old):
        return
    if mine is None or theirs is None or _truth(mine) != _truth(theirs):
        raise _other_clips(new, old)


def _other_clips(new: FoundRun, old: FoundRun) -> EdgepruneError:
    return EdgepruneError(
        f"{new.folder}: was evaluated on another split of the data than {old.folder}, so their accuracies do not "
        "compare; give a baseline on the same split."
    )


def _truth(predictions: Predictions) -> Mapping[str, str]:
    return dict(zip(predictions.filenames, predictions.labels, strict=True))


def _chance(
    pairs: Sequence[tuple[FoundRun, FoundRun]], tables: Sequence[tuple[Predictions | None, Predictions | None]]
) -> Chance | None:
    """Judge the change by the clips, where every pair's predictions are of the same ones."""
    after: list[bool] = []
    before: list[bool] = []
    clips: list[str] = []
    for (run, _), (mine, theirs) in zip(pairs, tables, strict=True):
        if mine is None or theirs is None or _truth(mine) != _truth(theirs):
            return None
        earlier = dict(zip(theirs.filenames, theirs.predicted, strict=True))
        for filename, label, predicted in zip(mine.filenames, mine.labels, mine.predicted, strict=True):
            after.append(predicted == label)
            before.append(earlier[filename] == label)
            clips.append(f"{run.fold} {filename}")
    if not clips:
        return None
    interval = paired_bootstrap(after, before, groups=clips)
    once = len(set(clips)) == len(clips)
    return Chance(len(clips), interval.low, interval.high, mcnemar(after, before).p_value if once else None)
