"""Costs of many allocations at once: parameters, MACs, flash and RAM as polynomials of the groups' widths.

A layer's weights are the product of two widths, so parameters, MACs and flash are quadratic forms; what an operator
has in memory is linear, and the peak is the largest of those. All coefficients are whole and none is negative, so every
cost grows with every width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgeprune.graph.cost import COUNTERS
from edgeprune.graph.graph import Blocks, Graph

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Forms:
    """`rows` polynomials of the widths w of `names`, each `constant + linear . w + w . quadratic . w / 2`.

    Attributes:
        names: groups in the order of the columns.
        limits: by row, the limit it belongs to; params, macs and flash have one each, `peak_ram` has many linear ones.
        constant: `[rows]`.
        linear: `[rows, groups]`.
        quadratic: `[rows, groups, groups]`, symmetric; being doubled, all of it is whole.
    """

    names: tuple[str, ...]
    limits: tuple[str, ...]
    constant: Ints
    linear: Ints
    quadratic: Ints

    def values(self, widths: NDArray[np.int64]) -> Ints:
        """Of widths `[n, groups]` the polynomials' values `[n, rows]`."""
        # float64 holds whole numbers below 2^53 exactly, and its products run in BLAS
        w = widths.astype(np.float64)
        total = self.constant + w @ self.reals[0].T
        for row in self.bent:
            total[:, row] += ((w @ self.reals[1][row]) * w).sum(axis=1) / 2
        return total.astype(np.int64)

    @cached_property
    def bent(self) -> Ints:
        """Rows that are not linear."""
        return np.flatnonzero(self.quadratic.any(axis=(1, 2)))

    @cached_property
    def reals(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """`linear` and `quadratic` as float64."""
        return self.linear.astype(np.float64), self.quadratic.astype(np.float64)

    def costs(self, widths: NDArray[np.int64]) -> dict[str, Ints]:
        """Of widths `[n, groups]` each limit's cost `[n]`."""
        values = self.values(widths)
        names = list(dict.fromkeys(self.limits))
        return {name: values[:, [limit == name for limit in self.limits]].max(axis=1) for name in names}

    def slopes(self, widths: NDArray[np.int64]) -> Ints:
        """How the polynomials grow with each width, `[n, rows, groups]`."""
        slopes = np.repeat(self.linear[None], len(widths), axis=0)
        for row in self.bent:
            slopes[:, row] += widths @ self.quadratic[row]
        return slopes

    def only(self, limits: Sequence[str]) -> "Forms":
        """The rows of these limits."""
        rows = [index for index, limit in enumerate(self.limits) if limit in limits]
        kept = tuple(self.limits[row] for row in rows)
        return Forms(self.names, kept, self.constant[rows], self.linear[rows], self.quadratic[rows])

    def and_also(self, other: "Forms") -> "Forms":
        """The rows of both, which are of the same groups."""
        return Forms(
            self.names,
            (*self.limits, *other.limits),
            np.concatenate([self.constant, other.constant]),
            np.concatenate([self.linear, other.linear]),
            np.concatenate([self.quadratic, other.quadratic]),
        )


def forms(graph: Graph, names: Sequence[str]) -> Forms:
    """Cost polynomials of a graph in the widths of the groups `names`; other groups keep their filters."""
    index = {name: column for column, name in enumerate(names)}

    def size(blocks: Blocks) -> _Polynomial:
        line = np.zeros(len(index) + 1, np.int64)
        for block in blocks:
            if block.group in index:
                line[1 + index[block.group]] += block.repeat
            else:
                line[0] += block.repeat * (graph.groups[block.group].filters if block.group else 1)
        return _Polynomial(line, np.zeros((len(index), len(index)), np.int64))

    counts = [COUNTERS[operator.kind](operator, size) for operator in graph.operators]
    zero = size(())
    rows = [
        sum((getattr(counted, name) for counted in counts), start=zero) for name in ("params", "macs", "flash_bytes")
    ]
    sizes = [size(blocks).line * positions for blocks, positions in graph.tensors]
    memory = {tuple(sum((sizes[tensor] for tensor in live), start=zero.line)): None for live in graph.live}
    held = _undominated(np.array(list(memory), dtype=np.int64))
    return Forms(
        names=tuple(names),
        limits=("params", "macs", "flash", *("peak_ram",) * len(held)),
        constant=np.array([*(row.line[0] for row in rows), *held[:, 0]], dtype=np.int64),
        linear=np.array([*(row.line[1:] for row in rows), *held[:, 1:]], dtype=np.int64),
        quadratic=np.array([*(row.quadratic for row in rows), *(zero.quadratic for _ in held)], dtype=np.int64),
    )


@dataclass(frozen=True)
class _Polynomial:
    """A polynomial of the widths, with the sums and products that `graph.cost.COUNTERS` needs.

    Attributes:
        line: the constant, then the coefficient of each width, `[1 + groups]`.
        quadratic: twice the coefficients of the products of two widths, `[groups, groups]`.
    """

    line: Ints
    quadratic: Ints

    def __add__(self, other: "int | _Polynomial") -> "_Polynomial":
        if isinstance(other, _Polynomial):
            return _Polynomial(self.line + other.line, self.quadratic + other.quadratic)
        line = self.line.copy()
        line[0] += other
        return _Polynomial(line, self.quadratic)

    __radd__ = __add__

    def __mul__(self, other: "int | _Polynomial") -> "_Polynomial":
        """A multiple, or the product of two linear polynomials."""
        if not isinstance(other, _Polynomial):
            return _Polynomial(self.line * other, self.quadratic * other)
        line = self.line[0] * other.line + other.line[0] * self.line
        line[0] = self.line[0] * other.line[0]
        outer = np.outer(self.line[1:], other.line[1:])
        return _Polynomial(line, outer + outer.T)

    __rmul__ = __mul__


def _undominated(lines: Ints) -> Ints:
    """Lines `[n, 1 + groups]` without those that never exceed another one."""
    below = np.array([(line <= lines).all(axis=1) for line in lines])  # [row, other]
    equal = below & below.T
    earlier = np.tri(len(lines), k=-1, dtype=bool)
    return lines[~(below & (~equal | earlier)).any(axis=1)]
