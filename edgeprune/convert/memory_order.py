"""Which order a tensor's values have in memory, apart from the axes that the network sees.

PyTorch and ONNX put channels first, TFLite puts them last. Here an axis of the network is a product of pieces, and a
tensor in memory lists the same pieces in another order. Reshape, transpose, squeeze and flatten then only rename axes;
values move where an operator demands an order that its input does not have. An axis of one value has no piece.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Piece:
    """A piece of an axis: its values in memory are those of the axis at `places`, in order where that is None."""

    size: int
    places: NDArray[np.int64] | None = None


Pieces = tuple[Piece, ...]
Axes = tuple[Pieces, ...]


@dataclass(frozen=True, eq=False)
class OrderedTensor:
    """A tensor of TensorFlow that stands for one of the network.

    Attributes:
        tensor: has an axis for each entry of `memory`.
        axes: the network's axes.
        memory: the tensor's axes, of the same pieces.
    """

    tensor: Any
    axes: Axes
    memory: Axes

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the network's axes."""
        return sizes(self.axes)

    @property
    def order(self) -> Pieces:
        return tuple(piece for axis in self.memory for piece in axis)

    def with_tensor(self, tensor: Any) -> "OrderedTensor":
        return replace(self, tensor=tensor)


def sizes(axes: Iterable[Pieces]) -> tuple[int, ...]:
    return tuple(prod(piece.size for piece in axis) for axis in axes)


def new_axes(shape: Iterable[int]) -> Axes:
    return tuple((Piece(size),) if size > 1 else () for size in shape)


def channels_last(axes: Axes) -> Axes:
    """How convolutions of TFLite take axes `[n, channels, ...]`: a one-dimensional tensor has height 1."""
    if len(axes) < 3:
        return axes
    return (axes[0], *([()] if len(axes) == 3 else []), *axes[2:], axes[1])


def substitute(value: OrderedTensor, pieces: dict[Piece, Pieces]) -> OrderedTensor:
    """Replace pieces by products of pieces of the same size; the tensor stays."""

    def new(axes: Axes) -> Axes:
        return tuple(tuple(part for piece in axis for part in pieces.get(piece, (piece,))) for axis in axes)

    return replace(value, axes=new(value.axes), memory=new(value.memory))


def common_pieces(one: Pieces, other: Pieces) -> tuple[dict[Piece, Pieces], dict[Piece, Pieces]] | None:
    """Substitutions that make two axes of the same size the same pieces; None where their pieces do not fit."""
    left, right = list(one), list(other)
    of_one: dict[Piece, Pieces] = {}
    of_other: dict[Piece, Pieces] = {}
    while left and right:
        mine, its = left.pop(0), right.pop(0)
        if mine is its:
            continue
        if mine.size == its.size:
            if not same_places(mine, its):
                return None
            of_other[its] = (mine,)
            continue
        if mine.places is not None or its.places is not None:
            return None
        large, small, rest, where = (mine, its, left, of_one) if mine.size > its.size else (its, mine, right, of_other)
        if large.size % small.size:
            return None
        parts = Piece(small.size), Piece(large.size // small.size)
        where[large] = parts
        if large is mine:
            of_other[its] = (parts[0],)
        else:
            of_one[mine] = (parts[0],)
        rest.insert(0, parts[1])
    return _closed(of_one), _closed(of_other)


def _closed(pieces: dict[Piece, Pieces]) -> dict[Piece, Pieces]:
    """Substitutions whose results are not substituted again."""

    def full(piece: Piece) -> Pieces:
        return tuple(part for step in pieces[piece] for part in full(step)) if piece in pieces else (piece,)

    return {piece: full(piece) for piece in pieces}


def same_places(one: Piece, other: Piece) -> bool:
    if one.places is None or other.places is None:
        return one.places is other.places
    return np.array_equal(one.places, other.places)


def cut(pieces: Sequence[Piece], shape: Sequence[int]) -> tuple[dict[Piece, Pieces], Axes] | None:
    """Divide pieces over the axes of a new shape: which are split, and the axes; None where they cannot be."""
    left, axes = list(pieces), []
    splits: dict[Piece, Pieces] = {}
    for size in shape:
        axis: list[Piece] = []
        while size > 1:
            piece = left.pop(0)
            if size % piece.size == 0:
                axis.append(piece)
                size //= piece.size
                continue
            if piece.size % size or piece.places is not None:
                return None
            parts = Piece(size), Piece(piece.size // size)
            splits[piece] = parts
            axis.append(parts[0])
            left.insert(0, parts[1])
            size = 1
        axes.append(tuple(axis))
    return _closed(splits), tuple(axes)


def places_of(axis: Pieces, order: Pieces) -> NDArray[np.int64]:
    """For each value of an axis as memory has it, in the order of its pieces there, its place on the axis."""
    places = np.zeros((), np.int64)
    for piece in axis:
        own = np.arange(piece.size) if piece.places is None else piece.places
        places = places[..., np.newaxis] * piece.size + own
    inside = [piece for piece in order if piece in axis]
    return places.transpose([axis.index(piece) for piece in inside]).ravel()


def isolate(memory: Axes, pieces: Pieces) -> tuple[Axes, int | None]:
    """Axes in memory with all of `pieces` on one of their own, and which; None where others lie between them."""
    runs: list[tuple[bool, Pieces]] = []
    for axis in memory:
        first = True
        for piece in axis or (None,):
            inside = piece in pieces
            if runs and runs[-1][0] == inside and (inside or not first):
                runs[-1] = inside, (*runs[-1][1], *((piece,) if piece else ()))
            else:
                runs.append((inside, (piece,) if piece else ()))
            first = False
    where = [number for number, (inside, _) in enumerate(runs) if inside]
    return tuple(axis for _, axis in runs), where[0] if len(where) == 1 else None
