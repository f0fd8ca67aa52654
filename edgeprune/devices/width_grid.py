"""The widths at which a layer is timed, and interpolation between them.

Kernels work on tiles of channels, so that a width just above a multiple of 8 costs as much as the next multiple. The
grid therefore holds both sides of such a step, 8k and 8k + 1.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

TILE = 8
"""Channels that kernels for CPUs work on together, or a multiple of them."""


def grid(filters: int, points: int, below: bool = False) -> tuple[int, ...]:
    """Widths at which a group of `filters` is measured: 1, 2, `filters`, and both sides of steps between them.

    The steps are all multiples of `TILE` where `points` allows, otherwise about `points` - 2 of them, spaced
    geometrically. `below` adds the width before each of them. (A single filter often has a kernel of its own.)
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
    """Make a table non-decreasing along every axis; a monotone table stays as it is.

    Running maxima from the lowest widths on give the least monotone table above it, running minima from the highest
    widths down the greatest one below it. Their mean follows the noise of neither side.
    """
    above, below = times, times
    for axis in range(times.ndim):
        above = np.maximum.accumulate(above, axis=axis)
        below = np.flip(np.minimum.accumulate(np.flip(below, axis), axis=axis), axis)
    result: NDArray[np.float64] = (above + below) / 2
    return result


def tile_of(axis: tuple[int, ...], times: NDArray[np.float64], place: int) -> int:
    """`TILE` if the time jumps from a multiple of it to the next width, 1 if it goes up evenly.

    `axis` has the widths of the table's axis number `place`.
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


def between(axis: tuple[int, ...], values: NDArray[np.float64], tile: int) -> tuple[Any, Any, NDArray[np.float64]]:
    """Grid points below and above each value, and its place between them from 0 to 1, counted in whole tiles."""
    points = np.asarray(axis, dtype=np.float64)
    low = np.clip(np.searchsorted(points, values, side="right") - 1, 0, max(len(axis) - 2, 0))
    high = np.minimum(low + 1, len(axis) - 1)
    above = values >= points[high]  # at the last grid point, whose tile the one below may share
    start, end, at = (np.ceil(widths / tile) if tile > 1 else widths for widths in (points[low], points[high], values))
    span = np.where(end > start, end - start, 1.0)
    return low, high, np.where(above, 1.0, (at - start) / span)
