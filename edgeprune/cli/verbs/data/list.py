"""`edgeprune data list`: the data sets that have a card."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edgeprune.cli.output import print_json
from edgeprune.console import print_table


@dataclass(frozen=True)
class ListCommand:
    """List the data sets that have a card."""

    json: bool = False
    """Print whole cards as JSON."""

    def __call__(self) -> int:
        from edgeprune.data.cards import list_cards

        cards = list_cards()
        if self.json:
            print_json([asdict(card) for card in cards])
            return 0
        rows = [
            (
                card.name,
                card.title,
                len(card.classes) or "yours",
                len(card.folds) or (1 if card.kind == "images" else "yours"),
                "images" if card.kind == "images" else f"{card.sample_rate} Hz" if card.sample_rate else "any",
                _download_size(card.archives),
                card.licence,
            )
            for card in cards
        ]
        print_table("", ("name", "title", "classes", "folds", "sample rate", "download", "licence"), rows)
        return 0


def _download_size(archives: Sequence[Any]) -> str:
    sizes = [archive.bytes for archive in archives]
    if not archives:
        return "none"
    known = f"{sum(size or 0 for size in sizes) / 1e9:.2f} GB"
    return known if all(sizes) else "size unknown" if not any(sizes) else f"over {known}"
