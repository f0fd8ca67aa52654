"""The two ways in which networks take a patch of log-mel."""

from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    Patch = TypeVar("Patch", np.ndarray[Any, Any], Tensor)

Layout = Literal["mels_frames", "frames_mels"]
"""The axes of a patch after the channel: `[1, mels, frames]`, or `[1, frames, mels]` (VGGish, CNN14)."""


def arrange(patches: "Patch", layout: Layout) -> "Patch":
    """Patches `[..., mels, frames]` with their axes as a network of this layout takes them; a view."""
    return patches.swapaxes(-1, -2) if layout == "frames_mels" else patches
