"""Which variants no other beats in accuracy and a cost at once."""

from collections.abc import Mapping, Sequence

from edgeprune.comparing.comparison import Variant

QUANTITIES = ("macs", "params", "flash_bytes", "peak_ram_bytes")
"""Costs that each have a front against accuracy, in the order `pareto` names them."""
SHIPPED = ("variant", "dense")
"""Roles of what may ship. The other controls show what pruning is worth: they are on no front and keep none off it."""


def front(points: Mapping[str, tuple[float, float]]) -> set[str]:
    """Names of the points on the front of the highest accuracy and the lowest cost.

    A point, `(accuracy, cost)`, is off the front if another has at least its accuracy at no more cost, and is better
    in one of the two. Equal points are both on it.
    """
    best_accuracy, best_cost = float("-inf"), float("inf")
    names = set()
    for name, (accuracy, cost) in sorted(points.items(), key=lambda item: (item[1][1], -item[1][0])):
        if accuracy > best_accuracy or (accuracy, cost) == (best_accuracy, best_cost):
            names.add(name)
            best_accuracy, best_cost = accuracy, cost
    return names


def fronts(variants: Sequence[Variant], format: str) -> dict[str, tuple[str, ...]]:
    """The costs on whose front each variant's means lie, by the variant's name."""
    costs_of: dict[str, tuple[str, ...]] = {variant.name: () for variant in variants}
    for quantity in QUANTITIES:
        points = {
            variant.name: (variant.accuracy[format].mean, variant.cost[quantity].mean)
            for variant in variants
            if variant.role in SHIPPED and format in variant.accuracy and quantity in variant.cost
        }
        for name in front(points):
            costs_of[name] += (quantity,)
    return costs_of
