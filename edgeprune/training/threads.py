"""How many threads PyTorch computes with."""

import torch

from edgeprune.cores import cores


def use_threads(threads: int) -> None:
    """Set the number of CPU threads PyTorch uses; 0: one a core that this process may use."""
    torch.set_num_threads(threads or cores())
