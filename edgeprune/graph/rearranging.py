"""Operators that move elements and compute nothing: views, slices, splits, joins, paddings.

Where an element goes is found by running the operator itself on the places of the channels, whatever operator it is.
Afterwards filters may lie on one axis alone: where they come to lie on several, as behind a view that splits the
channels, those along all but one of these axes go together, so that what stays is again a full tensor.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from edgeprune.graph.coupling import Numbers, fixed_numbers
from edgeprune.graph.draft import Constant, Value
from edgeprune.graph.operators import (
    KINDS,
    METHODS,
    argument,
    filler_of,
    kept_axis,
    nodes_in,
    operation,
    permuted_axis,
    shape_of,
)
from edgeprune.graph.same_pads import is_taken_in
from edgeprune.graph.tracer import Tracer


def view(tracer: Tracer, node: fx.Node, inputs: Sequence[Value]) -> None:
    """A reshape or permutation, which a device does in place."""
    tracer.stand_for(node, _viewed(tracer, node, inputs[0]), foldable=False)


def rearrange(tracer: Tracer, node: fx.Node, inputs: Sequence[Value]) -> None:
    """An operator that copies elements to other places, to one tensor or several."""
    x, name = inputs[0], operation(node)
    kind = KINDS[name]
    _take_evenly(tracer, node, x)
    if name == "roll" and x.follows and x.axis in _axes(argument(node, 2), len(x.shape)):
        tracer.coupling.freeze(x.numbers, f"{tracer.describe(node)} moves channels on")
    try:
        moved = _moved(node, x)
    except Exception:  # an operator that does not run on whole numbers, or that needs another tensor's values
        tracer.lose_track(node, kind, inputs, f"{tracer.describe(node)} is not followed")
        return
    parts = [_settled(tracer, node, x, part) for part in moved]
    draft = tracer.operate(node, kind, [x], parts[0].axis, parts[0].numbers, x.awake)
    if isinstance(node.meta["val"], tuple | list):
        tracer.add_parts(node, draft, parts)


def join(tracer: Tracer, node: fx.Node, inputs: Sequence[Value]) -> None:
    """A concatenation, or a stack along a new axis."""
    args = nodes_in(node.args[0])
    stacks, out = operation(node) == "stack", shape_of(node)
    dim = int(argument(node, 1) or 0) % len(out)
    main = next((value for value in inputs if value.follows), inputs[0])
    axis = main.axis + 1 if stacks and dim <= main.axis else main.axis
    reason = f"{tracer.describe(node)} puts it beside channels that stay"
    numbers: list[Numbers] = []
    for arg in args:
        value, constant = tracer.value(arg), tracer.constant(arg)
        own = value.numbers if value is not None and value.axis == main.axis else None
        if own is None:
            if value is not None:
                tracer.coupling.freeze(value.numbers, reason)
            own = _numbers_of(tracer, constant, main, dim == axis and not stacks, reason)
            own = fixed_numbers(shape_of(arg)[main.axis]) if own is None else own
        numbers.append(own)
    if dim == axis and not stacks:
        joined = np.concatenate(numbers)
    else:
        for other in numbers:
            if other is not main.numbers and len(other) > 1:
                tracer.coupling.unite(main.numbers, other, reason)
        joined = main.numbers
    constants = [constant for constant in map(tracer.constant, args) if constant is not None]
    values = sum(constant.size for constant in constants if tracer.once(constant))
    awake = next((value.awake for value in inputs if value.awake), "")
    if any(value.follows and not value.awake for value in inputs):  # those that are silent go on as such
        for value in inputs:
            tracer.read(value)
        awake = ""
    learned = all(constant.tensor in tracer.learned for constant in constants)
    tracer.operate(node, "concat", inputs, axis, joined, awake, values=values, learned=learned)


def pad(tracer: Tracer, node: fx.Node, inputs: Sequence[Value]) -> None:
    """A padding that the convolution after it does not take in; channels that it adds stay."""
    x: Value = inputs[0]
    if is_taken_in(node):
        tracer.stand_for(node, x, foldable=False)
        return
    sizes: Any = node.args[1]  # from the last axis on, in pairs
    place = 2 * (len(x.shape) - 1 - x.axis)
    first, last = (int(size) for size in (*sizes[place : place + 2], 0, 0)[:2])
    filler = filler_of(node)
    awake = x.awake or (tracer.describe(node) if filler else "")
    if min(first, last) < 0 or ((first or last) and filler is None):
        tracer.lose_track(node, "pad", inputs, f"{tracer.describe(node)} changes its channels")
    else:
        numbers = np.concatenate([fixed_numbers(first), x.numbers, fixed_numbers(last)])
        tracer.operate(node, "pad", inputs, x.axis, numbers, awake)


def constant(tracer: Tracer, node: fx.Node) -> Constant:
    """What a node makes that reads no tensor that depends on the input."""
    shape = shape_of(node)
    sources = [tracer.constants[arg.name] for arg in nodes_in(list(node.args)) if arg.name in tracer.constants]
    if len(sources) != 1 or not sources[0].tensor:
        return Constant(shape, root=node.name)
    source, name = sources[0], operation(node)
    if METHODS.get(name) in ("view", "free") or name in ("expand", "expand_as"):
        axes = _axes_after(node, source)
        if axes is None:
            return Constant(shape, root=source.root)
        return Constant(shape, source.tensor, axes, source.exact, source.root)
    if shape == source.shape and torch.Tag.pointwise in getattr(node.target, "tags", ()):
        return Constant(shape, source.tensor, source.axes, exact=False, root=source.root)
    return Constant(shape, root=node.name)


def _axes_after(node: fx.Node, source: Constant) -> tuple[int | None, ...] | None:
    """For each axis behind a view of a constant, the axis of its parameter; None where axes are merged or split."""
    axes: list[int | None] = []
    shape = shape_of(node)
    for place, size in enumerate(source.shape):
        if size > 1:
            try:
                moved = _moved(node, Value(source.shape, place, fixed_numbers(size), 0))[0]
            except Exception:
                return None
            varying = _varying(moved)
            if len(varying) != 1 or moved.shape[varying[0]] != size:
                return None
            axes.append(varying[0])
        else:
            axes.append(None)
    return tuple(
        next((source.axes[old] for old, new in enumerate(axes) if new == place), None) for place in range(len(shape))
    )


def _viewed(tracer: Tracer, node: fx.Node, x: Value) -> Value:
    out, name = shape_of(node), operation(node)
    axis = permuted_axis(node, name, x.axis, len(x.shape))
    if axis is not None:
        return Value(out, axis, x.numbers, x.memory, x.awake)
    axis, repeat = kept_axis(x.shape, x.axis, out) if name != "movedim" else (None, 1)
    if axis is not None:
        return Value(out, axis, np.repeat(x.numbers, repeat), x.memory, x.awake)
    moved = _settled(tracer, node, x, _moved(node, x)[0])
    return Value(out, moved.axis, moved.numbers, x.memory, x.awake)


def _moved(node: fx.Node, x: Value) -> list[Tensor]:
    """For each element of each output, the place on the input's channel axis that it comes from."""
    places = torch.arange(len(x.numbers)).view([-1 if axis == x.axis else 1 for axis in range(len(x.shape))])
    places = places.expand(x.shape).contiguous() if x.shape else places.view(())
    first = nodes_in(list(node.args))[0]
    with torch.device("cpu"):
        args = fx.map_arg(node.args, lambda arg: places if arg is first else torch.empty(shape_of(arg)))
        moved = node.target(*args, **node.kwargs)  # type: ignore[operator]
    return list(moved) if isinstance(moved, tuple | list) else [moved]


def _settled(tracer: Tracer, node: fx.Node, x: Value, moved: Tensor) -> Value:
    """The output whose elements come from the places `moved`; filters on several of its axes go together."""
    shape = tuple(moved.shape)
    varying = _varying(moved)
    if not varying:
        value = tracer.fixed(shape)
        if len(x.numbers) > 1 and moved.numel():
            number = x.numbers[int(moved.flatten()[0])]
            tracer.coupling.freeze(np.array([number]), f"{tracer.describe(node)} takes a channel by its number")
        return value
    rows = {axis: torch.unique(moved.movedim(axis, -1).reshape(-1, shape[axis]), dim=0).numpy() for axis in varying}
    if len(varying) > 1 and not x.follows:
        return tracer.fixed(shape)
    axis = max(varying, key=lambda axis: (*_apart(rows[axis]), axis))
    table = x.numbers[rows[axis]]
    if len(varying) == 1:
        return Value(shape, axis, table[0], 0)
    tracer.coupling.unite_rows(table, f"{tracer.describe(node)} puts it beside channels that stay")
    return Value(shape, axis, table[0], 0)


def _apart(rows: NDArray[np.int64]) -> tuple[bool, bool, int]:
    """How well the columns of `[rows, columns]` can stay apart: no place is in two columns that differ; no two columns
    have the same places; how many columns differ."""
    columns = {frozenset(column) for column in rows.T.tolist()}
    return sum(map(len, columns)) == len(np.unique(rows)), len(columns) == rows.shape[1], len(columns)


def _varying(moved: Tensor) -> list[int]:
    """The axes along which the elements differ."""
    return [
        axis for axis, size in enumerate(moved.shape) if size > 1 and bool((moved != moved.narrow(axis, 0, 1)).any())
    ]


def _take_evenly(tracer: Tracer, node: fx.Node, x: Value) -> None:
    """Before channels are split: as many filters must stay in each part, so those at the same place go together."""
    name = operation(node)
    if not x.follows or name not in ("slice", "narrow", "chunk", "split", "split_with_sizes", "tensor_split"):
        return
    dim = argument(node, 1 if name in ("slice", "narrow") else 2) or 0
    val = node.meta["val"]
    sizes = {int(part.shape[x.axis]) for part in (val if isinstance(val, tuple | list) else [val])}
    if int(dim) % len(x.shape) != x.axis or sizes == {len(x.numbers)}:
        return
    start = argument(node, 2) or 0 if name in ("slice", "narrow") else 0
    size = min(sizes)
    if len(sizes) > 1 or size < 2 or len(x.numbers) % size or int(start) % size:
        tracer.coupling.freeze(x.numbers, f"{tracer.describe(node)} takes channels by their numbers")
        return
    paired(tracer, x.numbers, len(x.numbers) // size)


def paired(tracer: Tracer, numbers: Numbers, parts: int = 2) -> Numbers:
    """The first of equal parts of an axis, when the filters at the same place of all parts go together."""
    table = numbers.reshape(parts, -1)
    tracer.coupling.unite_rows(table, "it is split beside channels that stay")
    first: Numbers = table[0]
    return first


def _numbers_of(tracer: Tracer, constant: Constant | None, main: Value, joined: bool, reason: str) -> Numbers | None:
    """What lies on the channel axis of a constant that is joined: on other axes a parameter goes with the channels."""
    if constant is None or joined or len(constant.shape) != len(main.shape) or constant.shape[main.axis] == 1:
        return None
    if not tracer.cut_constant(constant, main.axis, main.numbers, True, reason):
        tracer.coupling.freeze(main.numbers, reason)
    return main.numbers


def _axes(named: Any, rank: int) -> set[int]:
    """The axes that an argument names; all where it names none."""
    listed = named if isinstance(named, list | tuple) else [] if named is None else [named]
    return {int(axis) % rank for axis in listed} or set(range(rank))
