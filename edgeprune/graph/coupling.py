"""Which filters go together, collected while a network is traced.

Every filter of every layer has a number of its own, and so has every entry of a learned vector that is added to
channels or multiplied with them. Numbers that are united can only be removed together. What is united may be as fine as
one filter of one layer and one of another, so layers that share some of their filters alone are understood too.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from edgeprune.graph.graph import Block, Blocks, FilterGroup
from edgeprune.graph.kinds import unique

Numbers = NDArray[np.int64]
"""What lies on an axis: the number of the filter that each place belongs to, -1 where it belongs to none."""


def fixed_numbers(places: int) -> Numbers:
    return np.full(places, -1, dtype=np.int64)


class Coupling:
    """Filters by number, which of them go together, and which stay."""

    def __init__(self) -> None:
        self._layers: dict[str, tuple[Numbers, bool]] = {}  # by path: its filters, and whether it is dense
        self._count = 0
        self._pairs: list[NDArray[np.int64]] = []  # each [2, n]
        self._frozen: list[tuple[Numbers, str]] = []
        self._group_of: dict[int, tuple[str, int]] = {}  # by number, the name of its group and its place in it
        self._sizes: dict[str, int] = {}  # filters of each group

    def numbers(self, count: int) -> Numbers:
        """So many new numbers."""
        self._count += count
        return np.arange(self._count - count, self._count)

    def layer(self, path: str, filters: int, dense: bool) -> Numbers:
        """The filters of a layer, the same when it runs again."""
        if path not in self._layers:
            self._layers[path] = self.numbers(filters), dense
        return self._layers[path][0]

    def unite(self, one: Numbers, two: Numbers, reason: str) -> None:
        """Let filters at the same places go together; one beside a place without a filter stays, for the reason."""
        both = (one >= 0) & (two >= 0)
        if both.any():
            self._pairs.append(np.stack([one[both], two[both]]))
        self.freeze(np.concatenate([one[~both], two[~both]]), reason)

    def unite_rows(self, table: Numbers, reason: str) -> None:
        """Let all filters in a column of `[rows, columns]` go together."""
        for row in table[1:]:
            self.unite(table[0], row, reason)

    def freeze(self, numbers: Numbers, reason: str) -> None:
        """Keep these filters from being pruned; of several reasons the first stands."""
        if (numbers >= 0).any():
            self._frozen.append((numbers[numbers >= 0], reason))

    def named(self, labels: Mapping[str, str], axes: Iterable[Numbers]) -> dict[str, FilterGroup]:
        """The groups by the label of their first layer, when all layers are added.

        `axes` are all axes on which filters lie; a group is frozen if one of them has some of its filters alone.
        """
        sets = self._sets()
        reasons: dict[int, str] = {}
        for numbers, reason in self._frozen:
            for number in set(sets[numbers].tolist()):
                reasons.setdefault(number, reason)
        members: dict[int, Counter[str]] = defaultdict(Counter)  # by set, the filters it has of each layer
        for path, (numbers, _) in self._layers.items():
            for number in sets[numbers].tolist():
                members[number][path] += 1
        alike: dict[tuple[tuple[str, int], ...], list[int]] = defaultdict(list)
        for number, layers in members.items():
            alike[tuple(layers.items())].append(number)
        groups: dict[str, FilterGroup] = {}
        for layers_of, parts in alike.items():
            paths = tuple(path for path, _ in layers_of)
            name = unique(labels.get(paths[0], paths[0]), groups)
            self._group_of.update({number: (name, place) for place, number in enumerate(parts)})
            self._sizes[name] = len(parts)
            reason = next((reasons[number] for number in parts if number in reasons), "")
            dense = all(self._layers[path][1] for path in paths)
            groups[name] = FilterGroup(name, paths, len(parts), bool(reason), dense, reason)
        self._group_of = {number: self._group_of[part] for number, part in enumerate(sets.tolist()) if part in members}
        return self._without_uneven(groups, axes)

    def blocks(self, numbers: Numbers) -> Blocks:
        """What lies on an axis with the names of the groups, after `named`."""
        blocks: list[Block] = []
        for name, filters in self._runs(numbers):
            if name and _evenly(filters, self._sizes[name]):
                blocks += _blocks(name, filters, self._sizes[name])
            else:
                blocks.append(Block("", len(filters)))
        return tuple(blocks)

    def _sets(self) -> Numbers:
        """By number, the lowest number that it goes together with."""
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        pairs = np.concatenate([*self._pairs, np.zeros((2, 0), np.int64)], axis=1)
        shape = (self._count, self._count)
        _, labels = connected_components(coo_matrix((np.ones(pairs.shape[1]), (pairs[0], pairs[1])), shape), False)
        _, firsts = np.unique(labels, return_index=True)
        return np.asarray(firsts[labels], dtype=np.int64)

    def _without_uneven(self, groups: dict[str, FilterGroup], axes: Iterable[Numbers]) -> dict[str, FilterGroup]:
        """The groups, frozen where an axis does not hold all their filters equally often."""
        reason = "only some of its filters reach another layer, or in an order that is not followed"
        for numbers in {axis.tobytes(): axis for axis in axes}.values():
            for name, filters in self._runs(numbers):
                if name and not groups[name].frozen and not _evenly(filters, self._sizes[name]):
                    groups[name] = replace(groups[name], frozen=True, reason=reason)
        return groups

    def _runs(self, numbers: Numbers) -> Iterator[tuple[str, list[int]]]:
        """Neighbours on an axis that belong to one group, as its name and their places in it."""
        places = (self._group_of.get(number, ("", 0)) for number in numbers.tolist())
        for name, run in groupby(places, key=lambda place: place[0]):
            yield name, [filter for _, filter in run]


def _evenly(filters: list[int], size: int) -> bool:
    """Whether each of `size` filters is there, and equally often."""
    return len(set(np.bincount(filters, minlength=size).tolist())) == 1


def _blocks(name: str, filters: list[int], size: int) -> list[Block]:
    """Blocks of a group in the natural order where they can be, such as those of a channel-last flatten."""
    times = next((place for place, filter in enumerate(filters) if filter != filters[0]), len(filters))
    once = np.repeat(np.arange(size), times).tolist()
    whole, rest = divmod(len(filters), len(once))
    if not rest and filters == once * whole:
        return [Block(name, times)] * whole
    return [Block(name, len(filters) // size, tuple(filters))]
