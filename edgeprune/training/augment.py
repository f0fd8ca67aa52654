"""Augmentation of batches, on the batch's device: log-mel patches `[n, 1, mels, frames]` or images."""

import torch
from torch import Tensor


def time_roll(x: Tensor) -> Tensor:
    """Roll every patch in time by its own random number of frames."""
    n, _, _, frames = x.shape
    shift = torch.randint(frames, (n, 1), device=x.device)
    index = (torch.arange(frames, device=x.device) + shift) % frames
    return x.gather(3, index[:, None, None, :].expand_as(x))


def mask(x: Tensor, axis: int, widest: int) -> Tensor:
    """SpecAugment (Park et al., Interspeech 2019): silence one random stretch of at most `widest` along `axis`.

    The patches are normalised, so 0 is the training mean.
    """
    size = x.shape[axis]
    length = torch.randint(widest + 1, (len(x), 1), device=x.device)
    start = (torch.rand(len(x), 1, device=x.device) * (size - length + 1)).long()
    place = torch.arange(size, device=x.device)
    hidden = (place >= start) & (place < start + length)
    shape = [len(x), 1, 1, 1]
    shape[axis] = size
    return x.masked_fill(hidden.view(shape), 0.0)


def flip(x: Tensor) -> Tensor:
    """Mirror every image of `[n, channels, height, width]` left for right with probability one half."""
    chosen = torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5
    return torch.where(chosen, x.flip(3), x)


def shift(x: Tensor, most: int) -> Tensor:
    """Move every image of `[n, channels, height, width]` by its own random number of pixels, -most to most each way.

    Pixels from outside are 0, the training mean of normalised images.
    """
    for axis in (2, 3):
        size = x.shape[axis]
        offset = torch.randint(-most, most + 1, (len(x), 1), device=x.device)
        source = torch.arange(size, device=x.device) - offset
        shape = [len(x), 1, 1, 1]
        shape[axis] = size
        index = source.clamp(0, size - 1).view(shape).expand_as(x)
        x = x.gather(axis, index).masked_fill(((source < 0) | (source >= size)).view(shape), 0.0)
    return x


def freq_mixstyle(x: Tensor, alpha: float) -> Tensor:
    """Freq-MixStyle (Schmid et al., DCASE 2022): mix the per-band mean and deviation of pairs of patches."""
    mean = x.mean(dim=(1, 3), keepdim=True)
    std = x.std(dim=(1, 3), keepdim=True) + 1e-6
    share = torch.distributions.Beta(alpha, alpha).sample((len(x), 1, 1, 1)).to(x)  # type: ignore[arg-type]
    other = torch.randperm(len(x), device=x.device)
    mixed_mean = share * mean + (1 - share) * mean[other]
    mixed_std = share * std + (1 - share) * std[other]
    return (x - mean) / std * mixed_std + mixed_mean


def mixup(x: Tensor, targets: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """mixup (Zhang et al., ICLR 2018) of patches and of soft targets `[n, classes]`, one weight a pair."""
    share = torch.distributions.Beta(alpha, alpha).sample((len(x),)).to(x)  # type: ignore[arg-type]
    other = torch.randperm(len(x), device=x.device)
    wide = share[:, None, None, None]
    return wide * x + (1 - wide) * x[other], share[:, None] * targets + (1 - share[:, None]) * targets[other]
