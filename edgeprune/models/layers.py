"""Layers the networks share."""

from typing import TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


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


class MelNorm(nn.Module):
    """Batch norm of each mel bin: input and output `[n, channels, frames, mels]`, statistics `[mels]`."""

    def __init__(self, mels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(mels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.transpose(1, 3)).transpose(1, 3)


class MelScale(nn.Module):
    """A scale and a shift for each mel bin of `[n, channels, frames, mels]`: a trained `MelNorm` as one formula."""

    scale: Tensor
    shift: Tensor

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        mean, variance, gain, offset = (
            tensor.detach().double()  # type: ignore[union-attr]
            for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        )
        scale = gain / torch.sqrt(variance + norm.eps)
        self.register_buffer("scale", scale.float().reshape(1, 1, 1, -1))
        self.register_buffer("shift", (offset - mean * scale).float().reshape(1, 1, 1, -1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


def channels_last_columns(weight: Tensor, channels: int) -> Tensor:
    """Reorder the columns of a dense weight `[out, channels * P]` from channel-first to channel-last flatten order."""
    out, features = weight.shape
    return weight.reshape(out, channels, features // channels).transpose(1, 2).reshape(out, features).contiguous()


def channels_first_columns(weight: Tensor, channels: int) -> Tensor:
    """Inverse of `channels_last_columns`."""
    out, features = weight.shape
    return weight.reshape(out, features // channels, channels).transpose(1, 2).reshape(out, features).contiguous()


def he_start(network: Network, output: bool = False) -> Network:
    """Draw hidden weights as He et al. (ICCV 2015) do, biases zero; returns the network.

    The last layer keeps PyTorch's smaller start unless `output`, and with it the first logits stay small.
    """
    for path, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear) and (output or path.rsplit(".", 1)[-1] != "output"):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network
