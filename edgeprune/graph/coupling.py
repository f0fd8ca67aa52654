"""Which layers lose the same filters, collected while a network is traced as disjoint sets of layers."""

from collections.abc import Mapping, Sequence

from edgeprune.graph.graph import Block, Blocks, FilterGroup

Numbered = tuple[tuple[int, int], ...]
"""Channels on an axis: pairs of a group's number (-1 for fixed channels) and how often each filter repeats."""


class Groups:
    """Groups by number; united groups share the lowest of their numbers."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._members: list[list[tuple[str, int, bool]]] = []  # by group: path, filters, dense
        self._frozen: set[int] = set()
        self._names: dict[int, str] = {}

    def add(self, path: str, filters: int, dense: bool) -> int:
        """Add a layer with filters of its own; returns the number of its group, the same when the layer runs again."""
        for number, layers in enumerate(self._members):
            if any(path == layer for layer, _, _ in layers):
                return self._root(number)
        self._parent.append(len(self._parent))
        self._members.append([(path, filters, dense)])
        return len(self._parent) - 1

    def join(self, path: str, filters: int, blocks: Numbered) -> None:
        """Add a layer with one filter for each of the channels `blocks` to their group."""
        if len(blocks) > 1 or blocks[0][0] < 0:  # several groups, or fixed channels
            self.freeze(blocks)
            return
        root = self._root(blocks[0][0])
        if all(path != layer for layer, _, _ in self._members[root]):
            self._members[root].append((path, filters, False))

    def unite(self, one: int, two: int) -> None:
        """Make one group of two whose outputs are added; with fixed channels, neither may be pruned."""
        if one < 0 or two < 0:
            self._frozen.update(group for group in (one, two) if group >= 0)
            return
        first, second = sorted((self._root(one), self._root(two)))
        if first != second:
            self._parent[second] = first
            self._members[first] += self._members[second]
            self._members[second] = []

    def freeze(self, blocks: Numbered) -> None:
        """Keep the groups of these channels from being pruned."""
        self._frozen.update(group for group, _ in blocks if group >= 0)

    def named(self, order: Sequence[str], labels: Mapping[str, str]) -> dict[str, FilterGroup]:
        """The groups by the label of their first layer in `order`; call it when all layers are added."""
        frozen = {self._root(group) for group in self._frozen}
        groups = {}
        for number, layers in enumerate(self._members):
            if layers:
                layers.sort(key=lambda layer: order.index(layer[0]))
                paths = tuple(path for path, _, _ in layers)
                name = labels.get(paths[0], paths[0])
                self._names[number] = name
                dense = all(dense for _, _, dense in layers)
                groups[name] = FilterGroup(name, paths, layers[0][1], number in frozen, dense)
        return groups

    def blocks(self, numbered: Numbered) -> Blocks:
        """Channels with the names of their groups, after `named`."""
        return tuple(Block(self._names[self._root(group)] if group >= 0 else "", repeat) for group, repeat in numbered)

    def _root(self, group: int) -> int:
        while self._parent[group] != group:
            group = self._parent[group]
        return group
