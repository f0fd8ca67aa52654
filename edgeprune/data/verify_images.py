"""Checking a data set of images on disk: its files are there, whole, and belong together."""

from pathlib import Path

from edgeprune.data.cards import Card
from edgeprune.data.image_files import read_part
from edgeprune.data.verify import VerifyReport
from edgeprune.errors import EdgepruneError


def verify_images(card: Card, root: Path | str) -> VerifyReport:
    """Read both parts of a card of kind `images`; a part that cannot be used is reported as corrupt."""
    images = 0
    corrupt = []
    for part in ("train", "test"):
        try:
            images += len(read_part(card, Path(root), part)[1])
        except EdgepruneError as error:
            corrupt.append((part, str(error)))
    return VerifyReport((), (), tuple(corrupt), images)
