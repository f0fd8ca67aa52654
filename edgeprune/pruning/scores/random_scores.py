"""Random scores: the control every criterion must beat."""

import torch
from torch import Tensor


def random(weight: Tensor) -> Tensor:
    """Uniform scores `[filters]`, float64, from PyTorch's generator (seed it with `torch.manual_seed`)."""
    return torch.rand(len(weight), dtype=torch.float64)
