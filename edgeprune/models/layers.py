"""Layers the networks share."""

import torch
from torch import Tensor, nn


class Flatten(nn.Module):
    """Flatten `[n, channels, height, width]` to `[n, features]`, channel-first or channel-last.

    Training and pruning use PyTorch's channel-first order (filter f owns the contiguous columns `f*P..f*P+P-1` of the
    next dense layer, P = height x width). TFLite tensors are channel-last, so an exported network flattens that way,
    with the columns of the next dense layer permuted to match: then no TRANSPOSE is left in the file.
    """

    def __init__(self, channels_last: bool = False) -> None:
        super().__init__()
        self.channels_last = channels_last

    def forward(self, x: Tensor) -> Tensor:
        if self.channels_last:
            x = x.permute(0, 2, 3, 1)
        return torch.flatten(x, 1)


def channels_last_columns(weight: Tensor, channels: int) -> Tensor:
    """Reorder the columns of a dense weight `[out, channels * P]` from channel-first to channel-last flatten order."""
    out, features = weight.shape
    return weight.reshape(out, channels, features // channels).transpose(1, 2).reshape(out, features).contiguous()


def channels_first_columns(weight: Tensor, channels: int) -> Tensor:
    """Inverse of `channels_last_columns`."""
    out, features = weight.shape
    return weight.reshape(out, features // channels, channels).transpose(1, 2).reshape(out, features).contiguous()


def scaled(filters: int, width: float) -> int:
    """`filters` times `width`, rounded, at least one."""
    return max(1, round(filters * width))
