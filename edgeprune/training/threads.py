"""How many threads PyTorch computes with."""

import torch

from edgeprune.cores import cores


def thread_count(threads: int) -> int:
    """The number that a recipe's `threads` stands for; 0: one a core that this process may use."""
    return threads or cores()


def use_threads(threads: int) -> None:
    """Set the number of CPU threads PyTorch uses, as `thread_count` gives it."""
    torch.set_num_threads(thread_count(threads))
