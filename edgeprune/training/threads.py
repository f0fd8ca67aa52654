"""How many threads PyTorch computes with."""

import os

import torch


def use_threads(threads: int) -> None:
    """Set the number of CPU threads PyTorch uses; 0: one a core."""
    torch.set_num_threads(threads or os.cpu_count() or 1)
