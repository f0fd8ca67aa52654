"""A layer as a product of a matrix: its unfolded inputs, its outputs and its weights, row by row.

A convolution, plain, grouped, depthwise, transposed or of one axis, and a dense layer all compute
`y = x @ weight.T + bias` from unfolded inputs: one row for each position of each clip, one column for each weight of a
filter. Each group of a grouped layer is a product of its own; other layers have one group.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def groups_of(layer: nn.Module) -> int:
    """How many products a layer is: the groups of a grouped convolution, or one."""
    return int(getattr(layer, "groups", 1))


def positions_of(layer: nn.Module, y: Tensor) -> int:
    """How many rows an output has: positions of all clips."""
    filters = y.shape[-1] if isinstance(layer, nn.Linear) else y.shape[1]
    return y.numel() // int(filters)


def unfolded(layer: nn.Module, x: Tensor, rows: Tensor) -> Tensor:
    """Unfolded inputs `[groups, rows, columns]` of a layer at some rows of its output.

    `x` is the layer's input with its batch axis; `rows` are places in the output's flattened `[clips, *positions]`. The
    columns are in the order of `weight_of`.
    """
    if isinstance(layer, nn.Linear):
        return x.flatten(0, -2)[rows][None]
    windows = _windows(layer, x)
    dims = x.ndim - 2
    windows = windows.movedim(1, dims + 1)  # [clips, *positions, channels, *kernel]
    places = torch.unravel_index(rows, windows.shape[: dims + 1])
    groups = groups_of(layer)
    return windows[places].reshape(len(rows), groups, -1).transpose(0, 1)


def outputs_at(layer: nn.Module, y: Tensor, rows: Tensor) -> Tensor:
    """Outputs `[rows, filters]` at the same rows."""
    if isinstance(layer, nn.Linear):
        return y.flatten(0, -2)[rows]
    last = y.movedim(1, -1)
    return last[torch.unravel_index(rows, last.shape[:-1])]


def by_group(layer: nn.Module, outputs: Tensor) -> Tensor:
    """Outputs `[rows, filters]` as `[groups, rows, filters of a group]`."""
    return outputs.unflatten(1, (groups_of(layer), -1)).transpose(0, 1)


def weight_of(layer: nn.Module) -> Tensor:
    """A layer's weight as `[groups, filters of a group, columns]`."""
    weight: Tensor = layer.weight.detach()  # type: ignore[operator,assignment,union-attr]
    groups = groups_of(layer)
    if isinstance(layer, _TRANSPOSED):
        channels, filters, *kernel = weight.shape
        by_group = weight.reshape(groups, channels // groups, filters, *kernel).transpose(1, 2)
        return by_group.flip(tuple(range(3, by_group.ndim))).reshape(groups, filters, -1)
    return weight.reshape(groups, weight.shape[0] // groups, -1)


def bias_of(layer: nn.Module) -> Tensor:
    """A layer's bias as `[groups, filters of a group]`; zeros where it has none."""
    groups, filters, _ = weight_of(layer).shape
    held = layer.bias
    if held is None:
        return layer.weight.new_zeros(groups, filters)  # type: ignore[operator,union-attr]
    return held.detach().reshape(groups, filters)  # type: ignore[operator,union-attr,return-value]


@torch.no_grad()
def set_weight(layer: nn.Module, weight: Tensor, bias: Tensor) -> None:
    """Put a weight and a bias, as `weight_of` and `bias_of` give them, into a layer; one without bias stays without."""
    own: Tensor = layer.weight  # type: ignore[assignment]
    if isinstance(layer, _TRANSPOSED):
        groups, filters, _ = weight.shape
        channels, kernel = own.shape[0], own.shape[2:]
        by_group = weight.reshape(groups, filters, channels // groups, *kernel)
        by_group = by_group.flip(tuple(range(3, by_group.ndim))).transpose(1, 2)
        weight = by_group.reshape(own.shape)
    own.copy_(weight.reshape(own.shape))
    if layer.bias is not None:
        layer.bias.copy_(bias.reshape(-1))  # type: ignore[operator]


def _windows(layer: Any, x: Tensor) -> Tensor:
    """A view `[clips, channels, *positions, *kernel]` of the inputs of every position, of the padded input."""
    kernel, dilation = layer.kernel_size, layer.dilation
    if isinstance(layer, _TRANSPOSED):
        x = _spread(x, layer.stride)
        sides = []
        for size, step, pad, extra in zip(kernel, dilation, layer.padding, layer.output_padding, strict=True):
            first = step * (size - 1) - pad
            sides.append((first, first + extra))
        x, stride = F.pad(x, [side for pair in reversed(sides) for side in pair]), (1,) * len(kernel)
    else:
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        x, stride = F.pad(x, layer._reversed_padding_repeated_twice, mode), layer.stride
    for axis, (size, step, stretch) in enumerate(zip(kernel, stride, dilation, strict=True), 2):
        x = x.unfold(axis, stretch * (size - 1) + 1, step)[..., ::stretch]
    return x


def _spread(x: Tensor, stride: Sequence[int]) -> Tensor:
    """An input with zeros between its values, as a transposed convolution reads it."""
    if prod(stride) == 1:
        return x
    sizes = [(size - 1) * step + 1 for size, step in zip(x.shape[2:], stride, strict=True)]
    wide = x.new_zeros(*x.shape[:2], *sizes)
    at: tuple[slice, ...] = tuple(slice(None, None, step) for step in (1, 1, *stride))
    wide[at] = x
    return wide
