"""The latency of a network as a function of its widths: a table for each layer, and their file.

A network is cut into stages, each a weight operator with the pools, sums and other operators behind it. The latency of
a network is the sum of its stages, interpolated between measured widths, plus the cost of a call of the interpreter
(the idea of latency tables: Yang et al., "NetAdapt", ECCV 2018). `profiling` measures the tables.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeprune.devices.record import Kind
from edgeprune.devices.width_grid import between
from edgeprune.errors import EdgepruneError, unknown_name
from edgeprune.files import read_json, write_json
from edgeprune.graph.graph import Graph

SCHEMA = 1


@dataclass(frozen=True, eq=False)
class StageTable:
    """The time of a stage as a function of the widths of its groups, one axis of the table each.

    Attributes:
        name: label of its weight operator.
        grid: the measured widths of each axis, ascending.
        tiles: for each axis, the channels whose time goes up at once: `TILE` or 1 (see `tile_of`).
        times_ms: without the cost of a call of the interpreter.
    """

    name: str
    groups: tuple[str, ...]
    grid: tuple[tuple[int, ...], ...]
    tiles: tuple[int, ...]
    times_ms: NDArray[np.float64]

    @staticmethod
    def of(content: Mapping[str, Any]) -> "StageTable":
        """The table in a profile's file."""
        grid = tuple(tuple(map(int, axis)) for axis in content["grid"])
        times_ms = np.asarray(content["times_ms"], dtype=np.float64)
        return StageTable(content["name"], tuple(content["groups"]), grid, tuple(map(int, content["tiles"])), times_ms)

    def at(self, widths: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Milliseconds `[n]` at `widths`, an array `[n]` for each group; multilinear interpolation over whole tiles."""
        places = [between(*axis) for axis in zip(self.grid, widths, self.tiles, strict=True)]
        total: Any = 0.0
        for corner in product(*(((low, 1 - fraction), (high, fraction)) for low, high, fraction in places)):
            index = tuple(point for point, _ in corner)
            total = total + math.prod((weight for _, weight in corner), start=1.0) * self.times_ms[index]
        return np.asarray(total, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class LatencyProfile:
    """Tables of a network's stages on a device, in order of execution.

    Attributes:
        format: number format of the file.
        model: name of the file that was profiled.
        runs: the most timed runs of each file.
        monotone: whether the tables were smoothed so that a wider stage is never faster (see `made_monotone`).
        overhead_ms: cost of a call of the interpreter, on top of the stages.
        widths: filters of each group in the file, the largest widths of the tables.
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
        """Predicted milliseconds `[n]` of networks with `widths` `[n, groups]`, whole numbers or not.

        `names` are the groups of the columns; other groups keep the widths of the file.
        """
        table = np.asarray(widths, dtype=np.float64)
        if table.ndim != 2 or table.shape[1] != len(names):
            given = f"widths of shape {list(table.shape)} for {len(names)} names"
            raise EdgepruneError(f"latency: {given}; give an array [n, groups].")
        columns = dict(zip(names, table.T, strict=True))
        self._check(columns)
        total = np.full(len(table), self.overhead_ms)
        for stage in self.stages:
            total += stage.at([columns.get(name, self._full(name)) for name in stage.groups])
        return total

    def on(self, device: str, path: Path) -> "LatencyProfile":
        """This profile, read from `path`, after a check of its device."""
        if self.device != device:
            raise EdgepruneError(f"{path}: is a profile of {self.device}, not of {device}; profile that device.")
        return self

    def of(self, device: str, graph: Graph, path: Path) -> "LatencyProfile":
        """This profile, read from `path`, after a check of its device and network."""
        self.on(device, path)
        filters = {name: group.filters for name, group in graph.groups.items() if not group.frozen}
        if any(self.widths.get(name) != count for name, count in filters.items()):
            raise EdgepruneError(f"{path}: is a profile of another network ({self.model}); profile this one.")
        return self

    def predict(self, widths: Mapping[str, int]) -> float:
        """Predicted latency of one network in milliseconds."""
        return float(self.latency_ms([list(widths.values())], list(widths))[0])

    def stage_tables(
        self, candidates: Mapping[str, Sequence[int]]
    ) -> list[tuple[tuple[str, ...], NDArray[np.float64]]]:
        """The groups and milliseconds of each stage at all candidate widths; without `overhead_ms`.

        An axis of the milliseconds is as long as its group's candidates. Groups without candidates keep the width of
        the file.
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
        write_json(path, {"schema": SCHEMA, **vars(self), "stages": [vars(stage) for stage in self.stages]})

    @staticmethod
    def load(path: Path) -> "LatencyProfile":
        content = read_json(path)
        if not isinstance(content, dict) or content.get("schema") != SCHEMA:
            raise EdgepruneError(f"{path}: is not a latency profile of this version of edgeprune; profile again.")
        try:
            fields = {name: content[name] for name in LatencyProfile.__dataclass_fields__}
            fields["stages"] = tuple(StageTable.of(stage) for stage in fields["stages"])
            fields["overhead_ms"] = float(fields["overhead_ms"])
            profile = LatencyProfile(**fields)
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
            for axis in (stage.grid[stage.groups.index(name)] for stage in self.stages if name in stage.groups):
                if not np.all((values >= axis[0]) & (values <= axis[-1])):
                    raise EdgepruneError(
                        f"group '{name}': widths from {values.min():g} to {values.max():g} where the profile has "
                        f"{axis[0]} to {axis[-1]}; profile a wider network or stay inside."
                    )


def _is_sound(profile: LatencyProfile) -> bool:
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
