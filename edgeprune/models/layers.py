"""Layers the networks share."""

from collections.abc import Sequence
from math import ceil
from typing import TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


class Flatten(nn.Module):
    """Flatten `[n, channels, height, width]` to `[n, features]`, channel-first.

    Filter f owns the contiguous columns `f*P..f*P+P-1` of the next dense layer, P = height x width. TFLite tensors are
    channel-last; the conversion puts the columns of the next dense layer in their order.
    """

    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(x, 1)


class Average(nn.Module):
    """The mean over all places: `[n, channels, height, width]` to `[n, channels]`."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def same_pad(size: Sequence[int], kernel: Sequence[int], stride: int) -> nn.ZeroPad2d:
    """TFLite's SAME padding of a convolution with a stride, on inputs of `size` (height, width).

    The odd place of padding is at the end, where `padding` of PyTorch's layers has as much at both ends.
    """
    missing = [
        max(0, (ceil(length / stride) - 1) * stride + window - length)
        for length, window in zip(size, kernel, strict=True)
    ]
    (top, bottom), (left, right) = [(total // 2, total - total // 2) for total in missing]
    return nn.ZeroPad2d((left, right, top, bottom))


class Scale(nn.Module):
    """What a trained norm does to `[n, channels, height, width]`: a scale and a shift, which broadcast to it."""

    scale: Tensor
    shift: Tensor

    def __init__(self, norm: nn.BatchNorm2d, shape: Sequence[int], repeat: int = 1) -> None:
        """Those of `norm`, each value `repeat` times, in the given shape."""
        super().__init__()
        mean, variance, gain, offset = (
            tensor.detach().double()  # type: ignore[union-attr]
            for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        )
        scale = gain / torch.sqrt(variance + norm.eps)
        for name, values in (("scale", scale), ("shift", offset - mean * scale)):
            self.register_buffer(name, values.float().repeat_interleave(repeat).reshape(shape))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


class MelNorm(nn.Module):
    """Batch norm of each mel bin: input and output `[n, channels, frames, mels]`, statistics `[mels]`."""

    def __init__(self, mels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(mels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.transpose(1, 3)).transpose(1, 3)

    def as_scale(self) -> Scale:
        """What it computes in evaluation mode."""
        return Scale(self.norm, (1, 1, 1, -1))


class SubSpectralNorm(nn.Module):
    """Batch norm of each channel in each of `bands` equal parts of the mel axis of `[n, channels, mels, frames]`.

    Source: Chang et al., "Subspectral normalization for neural audio data processing", ICASSP 2021. The norm's values
    are in the order of the channels, and of the bands within a channel.
    """

    def __init__(self, channels: int, mels: int, bands: int) -> None:
        super().__init__()
        self.mels = mels
        self.bands = bands
        self.norm = nn.BatchNorm2d(channels * bands)

    def forward(self, x: Tensor) -> Tensor:
        count, channels, mels, frames = x.shape
        bands = x.reshape(count, channels * self.bands, mels // self.bands, frames)
        return self.norm(bands).reshape(count, channels, mels, frames)

    def as_scale(self) -> Scale:
        """What it computes in evaluation mode."""
        return Scale(self.norm, (1, -1, self.mels, 1), repeat=self.mels // self.bands)


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
