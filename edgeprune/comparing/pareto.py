"""Which variants no other beats in accuracy and a cost at once."""

from collections.abc import Mapping, Sequence

from edgeprune.comparing.comparison import Variant

QUANTITIES = ("macs", "params", "flash_bytes", "peak_ram_bytes")
"""Costs of a variant that a front is drawn over, each against accuracy."""


def front(points: Mapping[str, tuple[float, float]]) -> set[str]:
    """Names of the points on the front of the highest accuracy and the lowest cost.

    A point is off it if another has at least its accuracy at no more cost, and is better in one of the two; equal
    points are both on it.

    Args:
        points: accuracy and cost by name.
    """
    best, found = float("-inf"), set()
    ordered = sorted(points.items(), key=lambda item: (item[1][1], -item[1][0]))
    place = 0
    while place < len(ordered):
        accuracy, cost = ordered[place][1]
        twins = [name for name, point in ordered[place:] if point == (accuracy, cost)]
        if accuracy > best:
            found.update(twins)
            best = accuracy
        place += len(twins)
    return found


def fronts(variants: Sequence[Variant], format: str) -> dict[str, tuple[str, ...]]:
    """By variant the quantities of `QUANTITIES` on whose front its means lie; without a figure it lies on none."""
    found: dict[str, tuple[str, ...]] = {variant.name: () for variant in variants}
    for quantity in QUANTITIES:
        points = {
            variant.name: (variant.accuracy[format].mean, variant.cost[quantity].mean)
            for variant in variants
            if format in variant.accuracy and quantity in variant.cost
        }
        for name in front(points):
            found[name] += (quantity,)
    return found
