"""Latency of a network as a function of its widths: a lookup table for each layer, measured on a device.

A network is cut into stages, each a weight operator with the pools, sums and other operators behind it. Every stage is
timed as a file of its own at a grid of widths of the groups it depends on; the latency of a network is the sum of its
stages, interpolated between grid points, plus what a call of the interpreter costs (the idea of latency tables: Yang et
al., "NetAdapt", ECCV 2018). `verify` tells how far that is from whole networks.

Kernels work on tiles of channels, so that a width just above a multiple of 8 costs as much as the next multiple. The
grid therefore holds both sides of such a step, 8k and 8k + 1. Some kernels are even faster at a full tile than just
below it. Monotone tables, the default, are off by half the difference there; ask for others where a search can do with
a network that gets faster when it gets wider.
"""

import random
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeprune.console import track
from edgeprune.devices import host
from edgeprune.devices.record import Kind
from edgeprune.errors import EdgepruneError, unknown_name
from edgeprune.files import read_json, sha256_file, write_json
from edgeprune.graph.graph import Graph
from edgeprune.tflite.flatbuffer import describe_tensors, unpack_model
from edgeprune.tflite.metadata import read_metadata
from edgeprune.tflite.rewidth import Stage, Template, empty_file

SCHEMA = 1
TILE = 8
"""Channels that kernels for CPUs work on together, or a multiple of them."""

Measure = Callable[[Sequence[Path]], Sequence[float]]
"""Times .tflite files against each other: the milliseconds of one inference of each."""

_BATCH_FILES = 48
_BATCH_BYTES = 64 << 20
_LAST_LEVEL_CACHE_BYTES = 16 << 20
_SECONDS_A_FILE = 0.5
_FEWEST_RUNS = 3


@dataclass(frozen=True, eq=False)
class StageTable:
    """Time of a stage by the widths of its groups.

    Attributes:
        name: label of its weight operator.
        groups: what it depends on, an axis of the table each; none for a stage of fixed width.
        grid: by axis, the widths that were measured, ascending.
        tiles: by axis, the channels whose time goes up at once: `TILE` or 1 (see `tile_of`).
        times_ms: float64, an axis a group; what a call of the interpreter costs is taken off.
    """

    name: str
    groups: tuple[str, ...]
    grid: tuple[tuple[int, ...], ...]
    tiles: tuple[int, ...]
    times_ms: NDArray[np.float64]

    def at(self, widths: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Milliseconds `[n]` at `widths`, an array `[n]` for each group: multilinear interpolation over whole tiles."""
        places = [_between(*axis) for axis in zip(self.grid, widths, self.tiles, strict=True)]
        total: Any = 0.0
        for corner in product((0, 1), repeat=len(places)):
            weight: Any = 1.0
            index = []
            for upper, (low, high, fraction) in zip(corner, places, strict=True):
                weight = weight * (fraction if upper else 1 - fraction)
                index.append(high if upper else low)
            total = total + weight * self.times_ms[tuple(index)]
        result: NDArray[np.float64] = np.asarray(total, dtype=np.float64)
        return result


@dataclass(frozen=True, eq=False)
class Profile:
    """Tables of a network's stages on a device.

    Attributes:
        device: as on the command line.
        kind: how the times came about.
        machine: what describes the device (processor, cores, runtime ...).
        format: number format of the file.
        threads: threads an inference could use.
        model: name of the file that was profiled.
        sha256: of that file.
        runs: at most, of each file.
        monotone: whether in the tables a stage is never faster for being wider (see `made_monotone`).
        overhead_ms: what a call of the interpreter costs on top of the stages.
        widths: filters of each group in the file; the tables end there.
        stages: the tables in order of execution.
    """

    device: str
    kind: Kind
    machine: dict[str, Any]
    format: str
    threads: int
    model: str
    sha256: str
    runs: int
    monotone: bool
    overhead_ms: float
    widths: dict[str, int]
    stages: tuple[StageTable, ...]

    def latency_ms(self, widths: ArrayLike, names: Sequence[str]) -> NDArray[np.float64]:
        """Predicted latency of many networks, milliseconds `[n]`.

        Args:
            widths: `[n, groups]`, whole numbers or not.
            names: the groups of the columns; groups that are not among them keep the widths of the file.

        Raises:
            EdgepruneError: a name is unknown, or a width lies outside the table.
        """
        table = np.asarray(widths, dtype=np.float64)
        if table.ndim != 2 or table.shape[1] != len(names):
            raise EdgepruneError(
                f"latency: widths of shape {list(table.shape)} for {len(names)} names; give an array [n, groups]."
            )
        columns = {name: table[:, place] for place, name in enumerate(names)}
        self._check(columns)
        total = np.full(len(table), self.overhead_ms)
        for stage in self.stages:
            total += stage.at([columns.get(name, self._full(name)) for name in stage.groups])
        return total

    def of(self, device: str, graph: Graph, path: Path) -> "Profile":
        """This profile, read from `path`, if it is of that device and of the network of the graph.

        Raises:
            EdgepruneError: it is not.
        """
        if self.device != device:
            raise EdgepruneError(f"{path}: is a profile of {self.device}, not of {device}; profile that device.")
        filters = {name: group.filters for name, group in graph.groups.items() if not group.frozen}
        if any(self.widths.get(name) != count for name, count in filters.items()):
            raise EdgepruneError(f"{path}: is a profile of another network ({self.model}); profile this one.")
        return self

    def predict(self, widths: Mapping[str, int]) -> float:
        """Predicted latency of one network in milliseconds; as `latency_ms`."""
        return float(self.latency_ms([list(widths.values())], list(widths))[0])

    def stage_tables(
        self, candidates: Mapping[str, Sequence[int]]
    ) -> list[tuple[tuple[str, ...], NDArray[np.float64]]]:
        """What a search over widths needs: of each stage the groups it depends on, and its time at every choice.

        Args:
            candidates: by group, the widths to choose from; other groups keep the widths of the file.

        Returns:
            in order of execution, groups and milliseconds; an axis for each of the groups, as long as its candidates,
            or 1. The sum over the stages plus `overhead_ms` is the latency.

        Raises:
            EdgepruneError: as `latency_ms`.
        """
        choices = {name: np.asarray(values, dtype=np.float64) for name, values in candidates.items()}
        self._check(choices)
        tables = []
        for stage in self.stages:
            axes = [choices.get(name, self._full(name)) for name in stage.groups]
            points = np.meshgrid(*axes, indexing="ij")
            times = stage.at([axis.ravel() for axis in points]).reshape([len(axis) for axis in axes])
            tables.append((stage.groups, times))
        return tables

    def save(self, path: Path) -> None:
        """Write the profile as JSON."""
        stages = [vars(stage) for stage in self.stages]
        write_json(path, {"schema": SCHEMA, **vars(self), "stages": stages})

    @staticmethod
    def load(path: Path) -> "Profile":
        """Read what `save` wrote.

        Raises:
            EdgepruneError: the file is missing, damaged or no profile of this version.
        """
        content = read_json(path)
        if not isinstance(content, dict) or content.get("schema") != SCHEMA:
            raise EdgepruneError(f"{path}: is not a latency profile of this version of edgeprune; profile again.")
        try:
            fields = {name: content[name] for name in Profile.__dataclass_fields__}
            fields["stages"] = tuple(_stage_table(stage) for stage in fields["stages"])
            profile = Profile(**fields)
            if not _is_sound(profile):
                raise ValueError
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise EdgepruneError(f"{path}: is a damaged latency profile; profile again.") from error
        return profile

    def _full(self, name: str) -> NDArray[np.float64]:
        return np.array([self.widths[name]], dtype=np.float64)

    def _check(self, columns: Mapping[str, NDArray[np.float64]]) -> None:
        for name, values in columns.items():
            if name not in self.widths:
                raise unknown_name("group", name, self.widths)
            axes = [axis for stage in self.stages for group, axis in zip(stage.groups, stage.grid, strict=True)]
            names = [group for stage in self.stages for group in stage.groups]
            for axis in (axis for group, axis in zip(names, axes, strict=True) if group == name):
                if not np.all((values >= axis[0]) & (values <= axis[-1])):
                    raise EdgepruneError(
                        f"group '{name}': widths from {values.min():g} to {values.max():g} where the profile has "
                        f"{axis[0]} to {axis[-1]}; profile a wider network or stay inside."
                    )


def profile(
    path: Path,
    graph: Graph,
    device: str = "host",
    threads: int = 1,
    points: int = 6,
    runs: int = 15,
    seed: int = 0,
    groups: Collection[str] | None = None,
    monotone: bool = True,
    measure: Measure | None = None,
) -> Profile:
    """Measure the tables of a network. Nothing else should run meanwhile.

    The files of all stages are shuffled and timed in batches, interleaved within a batch, so that a drift of the
    machine's speed hits all stages alike. Before each timed run the file runs once, so that its code and plans are at
    hand, and then as many bytes are read as the rest of the network holds, if it is pruned as far as this stage, for
    they take their place in the caches.

    Args:
        path: the file of the widest network of interest, in the format of interest.
        graph: of the network in the file.
        device: only `host` so far, unless `measure` is given.
        threads: threads an inference may use.
        points: widths a group is measured at, steps of `TILE` counted once; see `grid`.
        runs: timed runs of each file, whose median counts; fewer, but at least 3, for one that takes over 0.5 s.
        seed: of the order and of the inputs.
        groups: those whose width may change; None: all that are not frozen.
        monotone: smooth the tables so that fewer filters are never slower; False keeps what was measured, and measures
            the width below each step as well.
        measure: times files on another device.

    Raises:
        EdgepruneError: a number out of range, a group unknown, no way to measure on the device, or as
            `edgeprune.tflite.rewidth.rewidth`.
    """
    if points < 2 or runs < 1 or threads < 1:
        raise EdgepruneError(
            f"profile: {points} points, {runs} runs, {threads} threads; give at least 2 points, 1 run and 1 thread."
        )
    path = Path(path)
    template = Template(path, graph)
    vary = {name for name, group in graph.groups.items() if not group.frozen} if groups is None else set(groups)
    for name in vary - set(graph.groups):
        raise unknown_name("group", name, graph.groups)
    axes = {
        name: grid(group.filters, points, below=not monotone) if name in vary and not group.frozen else (group.filters,)
        for name, group in graph.groups.items()
    }
    times, overhead = _measured(template, axes, _clock(device, threads, runs, seed, measure), seed)
    return Profile(
        device=device,
        kind="measured",
        machine=host.describe_machine() if device == "host" else {},
        format=_format(path),
        threads=threads,
        model=path.name,
        sha256=sha256_file(path),
        runs=runs,
        monotone=monotone,
        overhead_ms=overhead,
        widths={name: group.filters for name, group in graph.groups.items()},
        stages=tuple(
            _table_of(stage, tuple(axes[name] for name in stage.groups), table, monotone)
            for stage, table in zip(template.stages, times, strict=True)
        ),
    )


def verify(
    profile: Profile,
    path: Path,
    graph: Graph,
    widths_list: Sequence[Mapping[str, int]],
    runs: int = 30,
    seed: int = 0,
    measure: Measure | None = None,
) -> list[dict[str, Any]]:
    """How well a profile predicts whole networks, timed against each other on its device.

    Args:
        profile: of the file.
        path: the file.
        graph: of the network in the file.
        widths_list: filters by group; groups that are not named keep theirs.
        runs: timed runs of each network, whose median counts.
        seed: of the inputs.
        measure: as for `profile`.

    Returns:
        for each of `widths_list`: `widths`, `predicted_ms`, `measured_ms` and `relative_error`, which is
        predicted / measured - 1.

    Raises:
        EdgepruneError: the profile is of another file, or as `profile`.
    """
    path = Path(path)
    if sha256_file(path) != profile.sha256:
        raise EdgepruneError(f"{path}: is not the file that was profiled ({profile.model}); profile it first.")
    template = Template(path, graph)
    clock = _clock(profile.device, profile.threads, runs, seed, measure)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.tflite" for number in range(len(widths_list))]
        for file, widths in zip(files, widths_list, strict=True):
            file.write_bytes(template.file(widths))
        measured = clock([_Timed(file, 0) for file in files])
    predicted = [profile.predict(widths) for widths in widths_list]
    return [
        {"widths": dict(widths), "predicted_ms": guess, "measured_ms": float(true), "relative_error": guess / true - 1}
        for widths, guess, true in zip(widths_list, predicted, measured, strict=True)
    ]


def grid(filters: int, points: int, below: bool = False) -> tuple[int, ...]:
    """Widths at which a group of `filters` is measured: 1, 2, `filters`, and both sides of steps between them.

    The steps are all multiples of `TILE` where `points` allows, otherwise about `points` - 2 of them, spaced
    geometrically. With `below`, the width before each of them too. (A single filter often has a kernel of its own.)
    """
    steps: Sequence[int] = range(TILE, filters, TILE)
    if len(steps) > points - 2:
        anchors = np.geomspace(TILE, filters, points - 1)[:-1]
        steps = [TILE * round(anchor / TILE) for anchor in anchors]
    sides = (-1, 0, 1) if below else (0, 1)
    widths = {1, 2, filters, *(step + side for step in steps for side in sides)}
    if below and filters % TILE == 0:
        widths.add(filters - 1)
    return tuple(sorted(width for width in widths if width <= filters))


def made_monotone(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """The table made non-decreasing along every axis; one that is so already stays as it is.

    Running maxima from the lowest widths on give the least such table above it, running minima from the highest widths
    down the greatest one below it; what is halfway between them follows the noise of neither side.
    """
    above, below = times, times
    for axis in range(times.ndim):
        above = np.maximum.accumulate(above, axis=axis)
        below = np.flip(np.minimum.accumulate(np.flip(below, axis), axis=axis), axis)
    result: NDArray[np.float64] = (above + below) / 2
    return result


def tile_of(axis: tuple[int, ...], times: NDArray[np.float64], place: int) -> int:
    """`TILE` if time goes up at once from a multiple of it to the next width, 1 if it goes up evenly.

    Args:
        axis: the widths of a table's axis, as from `grid`.
        times: the table.
        place: which of its axes it is.
    """
    along = np.moveaxis(times, place, 0).reshape(len(axis), -1).sum(axis=1)
    shares = []
    for low, (width, above) in enumerate(pairwise(axis)):
        if width % TILE == 0 and above == width + 1 and low + 2 < len(axis):
            ends = (later for later in range(low + 2, len(axis)) if axis[later] % TILE == 0)
            end = next(ends, len(axis) - 1)
            tiles = -(-axis[end] // TILE) - width // TILE
            if along[end] > along[low]:
                shares.append((along[low + 1] - along[low]) * tiles / (along[end] - along[low]))
    return TILE if shares and np.median(shares) > 0.5 else 1


def _table_of(
    stage: Stage, axes: tuple[tuple[int, ...], ...], times: NDArray[np.float64], monotone: bool
) -> StageTable:
    tiles = tuple(tile_of(axis, times, place) for place, axis in enumerate(axes))
    return StageTable(stage.name, stage.groups, axes, tiles, made_monotone(times) if monotone else times)


@dataclass(frozen=True)
class _Timed:
    """A file to be timed, and the bytes that the other stages of its network hold."""

    path: Path
    others_bytes: int


def _measured(
    template: Template,
    axes: Mapping[str, tuple[int, ...]],
    clock: Callable[[Sequence[_Timed]], Sequence[float]],
    seed: int,
) -> tuple[list[NDArray[np.float64]], float]:
    """Times of the stages at their grids without the overhead of a call, and that overhead."""
    times = [np.zeros([len(axes[name]) for name in stage.groups]) for stage in template.stages]
    jobs = [(number, index) for number, table in enumerate(times) for index in np.ndindex(table.shape)]
    random.Random(seed).shuffle(jobs)
    idle = []
    waiting = iter(jobs)
    with tempfile.TemporaryDirectory() as folder:
        marks = track(jobs, f"profiling {template.path.name}", len(jobs))
        for files in _batches(_contents(template, axes, jobs), Path(folder)):
            empty, *found = clock(files)
            idle.append(empty)
            for value, (number, index), _ in zip(found, waiting, marks, strict=False):
                times[number][index] = value
        next(marks, None)
    overhead = float(np.median(idle))
    return [np.maximum(table - overhead, 0.0) for table in times], overhead


def _contents(
    template: Template, axes: Mapping[str, tuple[int, ...]], jobs: Sequence[tuple[int, tuple[int, ...]]]
) -> Iterator[tuple[bytes, int]]:
    """The file of each grid point, and the bytes of the other stages if they are pruned as far as this one."""
    whole = template.path.stat().st_size
    unpruned = [len(template.stage_file(stage, {})) for stage in template.stages]
    for number, index in jobs:
        stage = template.stages[number]
        widths = {name: axes[name][place] for name, place in zip(stage.groups, index, strict=True)}
        content = template.stage_file(stage, widths)
        others = (whole - unpruned[number]) * len(content) / unpruned[number]
        yield content, max(0, int(others))


def _batches(contents: Iterator[tuple[bytes, int]], folder: Path) -> Iterator[list[_Timed]]:
    """Write files a batch at a time, an empty network before them; they are gone when the next batch is asked for."""
    batch: list[_Timed] = []
    size = 0
    for content, others_bytes in contents:
        if not batch:
            batch.append(_Timed(folder / "empty.tflite", 0))
            batch[0].path.write_bytes(empty_file())
        batch.append(_Timed(folder / f"{len(batch)}.tflite", others_bytes))
        batch[-1].path.write_bytes(content)
        size += len(content)
        if len(batch) > _BATCH_FILES or size > _BATCH_BYTES:
            yield batch
            for timed in batch:
                timed.path.unlink()
            batch, size = [], 0
    if batch:
        yield batch


def _clock(
    device: str, threads: int, runs: int, seed: int, measure: Measure | None
) -> Callable[[Sequence[_Timed]], Sequence[float]]:
    """What times a batch: the caller's `measure`, or this machine."""
    if measure is not None:
        return lambda batch: measure([timed.path for timed in batch])
    if device != "host":
        raise EdgepruneError(f"profile: device '{device}' cannot be profiled yet; use host, or give `measure`.")
    return lambda batch: _host_times(batch, threads, runs, seed)


def _host_times(batch: Sequence[_Timed], threads: int, runs: int, seed: int) -> list[float]:
    """Median milliseconds of each file on this machine; the order rotates from round to round."""
    files = [(host._Candidate.load(timed.path, threads, True, seed), timed.others_bytes) for timed in batch]
    memory = np.zeros(_LAST_LEVEL_CACHE_BYTES // 8)
    for turn in range(runs):
        first = turn % len(files)
        for candidate, others_bytes in [*files[first:], *files[:first]]:
            if candidate.spent_ns < _SECONDS_A_FILE * 1e9 or turn < _FEWEST_RUNS:
                candidate.run()
                memory[: others_bytes // 8].sum()
                candidate.times_ns.append(candidate.run())
    return [float(np.median(candidate.times_ns)) / 1e6 for candidate, _ in files]


def _between(axis: tuple[int, ...], values: NDArray[np.float64], tile: int) -> tuple[Any, Any, NDArray[np.float64]]:
    """Grid points below and above each value, and how far it is, in whole tiles, from the one to the other."""
    points = np.asarray(axis, dtype=np.float64)
    low = np.clip(np.searchsorted(points, values, side="right") - 1, 0, max(len(axis) - 2, 0))
    high = np.minimum(low + 1, len(axis) - 1)
    above = values >= points[high]  # at the last grid point, whose tile the one below may share
    start, end, at = (np.ceil(widths / tile) if tile > 1 else widths for widths in (points[low], points[high], values))
    span = np.where(end > start, end - start, 1.0)
    return low, high, np.where(above, 1.0, (at - start) / span)


def _format(path: Path) -> str:
    """What the export wrote into the file; of a file by others, the type of its input."""
    try:
        return str(read_metadata(path)["format"])
    except (EdgepruneError, KeyError):
        return str(describe_tensors(unpack_model(path))[0][0]["dtype"])


def _stage_table(content: Mapping[str, Any]) -> StageTable:
    return StageTable(
        content["name"],
        tuple(content["groups"]),
        tuple(tuple(int(width) for width in axis) for axis in content["grid"]),
        tuple(int(tile) for tile in content["tiles"]),
        np.asarray(content["times_ms"], dtype=np.float64),
    )


def _is_sound(profile: Profile) -> bool:
    tables = profile.stages
    return (
        profile.kind in get_args(Kind)
        and profile.overhead_ms >= 0
        and all(width >= 1 for width in profile.widths.values())
        and all(set(table.groups) <= set(profile.widths) for table in tables)
        and all(table.times_ms.shape == tuple(len(axis) for axis in table.grid) for table in tables)
        and all(len(table.groups) == len(table.grid) == len(table.tiles) for table in tables)
        and all(min(table.tiles, default=1) >= 1 for table in tables)
        and all(list(axis) == sorted(set(axis)) and axis for table in tables for axis in table.grid)
        and all(bool(np.isfinite(table.times_ms).all()) and bool((table.times_ms >= 0).all()) for table in tables)
    )
