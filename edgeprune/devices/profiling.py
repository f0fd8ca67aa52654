"""Measuring the latency profile of a network: every stage is timed as a file of its own at a grid of widths.

`verify` compares a profile's predictions with the times of whole networks.
"""

import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.console import track
from edgeprune.devices import host
from edgeprune.devices.latency_profile import LatencyProfile, StageTable
from edgeprune.devices.width_grid import grid, made_monotone, tile_of
from edgeprune.errors import EdgepruneError, unknown_name
from edgeprune.files import sha256_file
from edgeprune.graph.graph import Graph
from edgeprune.scratch import scratch_folder
from edgeprune.tflite.flatbuffer import describe_tensors, unpack_model
from edgeprune.tflite.metadata import read_metadata
from edgeprune.tflite.rewidth import Template, empty_file

Measure = Callable[[Sequence[Path]], Sequence[float]]
"""Times .tflite files against each other: the milliseconds of one inference of each."""

_BATCH_FILES = 48
_BATCH_BYTES = 64 << 20
_LAST_LEVEL_CACHE_BYTES = 16 << 20
_SECONDS_A_FILE = 0.5
_FEWEST_RUNS = 3


@dataclass(frozen=True)
class ProfileSettings:
    """How a network is profiled.

    Attributes:
        points: widths a group is measured at, both sides of a step counted once; see `width_grid.grid`.
        runs: timed runs of each file, whose median counts; at least 3 for a file that takes over 0.5 s.
        groups: the groups whose width may change; None: all that are not frozen.
        monotone: smooth the tables so that fewer filters are never slower. Some kernels are faster at a full tile than
            just below it, and smoothed tables are off by half the difference there. False keeps what was measured, and
            measures the width below each step as well.
    """

    threads: int = 1
    points: int = 6
    runs: int = 15
    groups: Collection[str] | None = None
    monotone: bool = True

    def __post_init__(self) -> None:
        if self.points < 2 or self.runs < 1 or self.threads < 1:
            given = f"{self.points} points, {self.runs} runs, {self.threads} threads"
            raise EdgepruneError(f"profile: {given}; give at least 2 points, 1 run and 1 thread.")


_DEFAULTS = ProfileSettings()


def profile(
    path: Path,
    graph: Graph,
    device: str = "host",
    settings: ProfileSettings = _DEFAULTS,
    measure: Measure | None = None,
) -> LatencyProfile:
    """Measure the tables of a network. Nothing else should run meanwhile.

    The files of all stages are shuffled and timed in batches, interleaved within a batch, so that a drift of the
    machine's speed hits all stages alike. Before each timed run the file runs once untimed, so that its code and plans
    are at hand. Then as many bytes are read as the rest of the network holds at this stage's share of filters, because
    they take their place in the caches.

    Args:
        path: the file of the widest network of interest, in the format of interest.
        device: only `host` so far, unless `measure` is given, which times files on another device.
    """
    clock = _clock(device, settings.threads, settings.runs, measure)
    template = Template(path, graph)
    axes = _axes(graph, settings)
    tables, overhead_ms = _measured(template, axes, clock)
    stages = []
    for stage, times in zip(template.stages, tables, strict=True):
        grids = tuple(axes[name] for name in stage.groups)
        tiles = tuple(tile_of(axis, times, place) for place, axis in enumerate(grids))
        table = made_monotone(times) if settings.monotone else times
        stages.append(StageTable(stage.name, stage.groups, grids, tiles, table))
    return LatencyProfile(
        device=device,
        kind="measured",
        machine=host.describe_machine() if device == "host" else {},
        format=_format(path),
        threads=settings.threads,
        model=path.name,
        sha256=sha256_file(path),
        runs=settings.runs,
        monotone=settings.monotone,
        overhead_ms=overhead_ms,
        widths={name: group.filters for name, group in graph.groups.items()},
        stages=tuple(stages),
    )


def verify(
    profile: LatencyProfile,
    path: Path,
    graph: Graph,
    widths_list: Sequence[Mapping[str, int]],
    runs: int = 30,
    measure: Measure | None = None,
) -> list[dict[str, Any]]:
    """Compare a profile's predictions with whole networks, timed against each other on its device.

    Groups that are not named in one of `widths_list` keep their filters; the median of the runs counts.
    `relative_error` is predicted / measured - 1.
    """
    if sha256_file(path) != profile.sha256:
        raise EdgepruneError(f"{path}: is not the file that was profiled ({profile.model}); profile it first.")
    template = Template(path, graph)
    clock = _clock(profile.device, profile.threads, runs, measure)
    with scratch_folder() as folder:
        files = [folder / f"{number}.tflite" for number in range(len(widths_list))]
        for file, widths in zip(files, widths_list, strict=True):
            file.write_bytes(template.file(widths))
        measured = clock([_StageFile(file, 0) for file in files])
    return [
        {
            "widths": dict(widths),
            "predicted_ms": (predicted_ms := profile.predict(widths)),
            "measured_ms": float(measured_ms),
            "relative_error": predicted_ms / measured_ms - 1,
        }
        for widths, measured_ms in zip(widths_list, measured, strict=True)
    ]


@dataclass(frozen=True)
class _StageFile:
    """A file to be timed, and the bytes that the other stages of its network hold."""

    path: Path
    others_bytes: int


def _axes(graph: Graph, settings: ProfileSettings) -> dict[str, tuple[int, ...]]:
    """The widths of each group that are measured; a group that does not change has its own width alone."""
    named = graph.groups if settings.groups is None else settings.groups
    for name in named:
        if name not in graph.groups:
            raise unknown_name("group", name, graph.groups)
    free = {name for name, group in graph.groups.items() if name in named and not group.frozen}
    return {
        name: grid(group.filters, settings.points, below=not settings.monotone) if name in free else (group.filters,)
        for name, group in graph.groups.items()
    }


def _measured(
    template: Template, axes: Mapping[str, tuple[int, ...]], clock: Callable[[Sequence[_StageFile]], Sequence[float]]
) -> tuple[list[NDArray[np.float64]], float]:
    """Milliseconds of the stages at their grids without the overhead of a call, and that overhead."""
    times = [np.zeros([len(axes[name]) for name in stage.groups]) for stage in template.stages]
    points = [(number, index) for number, table in enumerate(times) for index in np.ndindex(table.shape)]
    random.Random(0).shuffle(points)
    overheads = []
    waiting = iter(points)
    with scratch_folder() as folder:
        progress = track(points, f"profiling {template.path.name}", len(points))
        for batch in _batches(_contents(template, axes, points), folder):
            overhead, *batch_times = clock(batch)
            overheads.append(overhead)
            for value, (number, index), _ in zip(batch_times, waiting, progress, strict=False):
                times[number][index] = value
        next(progress, None)
    overhead = float(np.median(overheads))
    return [np.maximum(table - overhead, 0.0) for table in times], overhead


def _contents(
    template: Template, axes: Mapping[str, tuple[int, ...]], points: Sequence[tuple[int, tuple[int, ...]]]
) -> Iterator[tuple[bytes, int]]:
    """The file of each grid point, and the bytes of the other stages if they keep the same share of filters."""
    whole = template.path.stat().st_size
    unpruned = [len(template.stage_file(stage, {})) for stage in template.stages]
    for number, index in points:
        stage = template.stages[number]
        widths = {name: axes[name][place] for name, place in zip(stage.groups, index, strict=True)}
        content = template.stage_file(stage, widths)
        others = (whole - unpruned[number]) * len(content) / unpruned[number]
        yield content, max(0, int(others))


def _batches(contents: Iterator[tuple[bytes, int]], folder: Path) -> Iterator[list[_StageFile]]:
    """Write files a batch at a time, an empty network before them; the next batch takes their place."""
    batch: list[_StageFile] = []
    size = 0
    for content, others_bytes in contents:
        if not batch:
            batch.append(_StageFile(folder / "empty.tflite", 0))
            batch[0].path.write_bytes(empty_file())
        batch.append(_StageFile(folder / f"{len(batch)}.tflite", others_bytes))
        batch[-1].path.write_bytes(content)
        size += len(content)
        if len(batch) > _BATCH_FILES or size > _BATCH_BYTES:
            yield batch
            for file in batch:
                file.path.unlink()
            batch, size = [], 0
    if batch:
        yield batch


def _clock(
    device: str, threads: int, runs: int, measure: Measure | None
) -> Callable[[Sequence[_StageFile]], Sequence[float]]:
    """Times a batch with the caller's `measure`, or on this machine."""
    if measure is not None:
        return lambda batch: measure([file.path for file in batch])
    if device != "host":
        raise EdgepruneError(f"profile: device '{device}' cannot be profiled yet; use host, or give `measure`.")
    return lambda batch: _host_times(batch, threads, runs)


def _host_times(batch: Sequence[_StageFile], threads: int, runs: int) -> list[float]:
    """Median milliseconds of each file on this machine; the order rotates from round to round."""
    files = [(host.LoadedFile.load(file.path, threads), file.others_bytes) for file in batch]
    memory = np.zeros(_LAST_LEVEL_CACHE_BYTES // 8)
    for turn in range(runs):
        first = turn % len(files)
        for loaded, others_bytes in [*files[first:], *files[:first]]:
            if loaded.spent_ns < _SECONDS_A_FILE * 1e9 or turn < _FEWEST_RUNS:
                loaded.run()
                memory[: others_bytes // 8].sum()
                loaded.times_ns.append(loaded.run())
    return [float(np.median(loaded.times_ns)) / 1e6 for loaded, _ in files]


def _format(path: Path) -> str:
    """The number format the export wrote into the file; of a file by others, the type of its input."""
    try:
        return str(read_metadata(path)["format"])
    except (EdgepruneError, KeyError):
        return str(describe_tensors(unpack_model(path))[0][0]["dtype"])
