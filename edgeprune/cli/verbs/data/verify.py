"""`edgeprune data verify`: check every clip of a data set on disk."""

from dataclasses import asdict, dataclass
from pathlib import Path

from tyro.conf import Positional

from edgeprune.cli.output import print_json
from edgeprune.console import print_line
from edgeprune.errors import CheckFailedError, printable
from edgeprune.reporting.numbers import format_exact

SHOWN = 20
"""Clips of a kind that `data verify` prints; --json has all."""


@dataclass(frozen=True)
class VerifyCommand:
    """Check every clip of a data set on disk: exit code 4 if any is missing or corrupt."""

    name: Positional[str]
    """A name from `edgeprune data list` or the path of a card of your own."""
    root: Path
    """Folder of the data set."""
    cache: Path | None = None
    """Folder of cached features to compare with the clips (default: the user's)."""
    json: bool = False
    """Print all findings as JSON."""

    def __call__(self) -> int:
        from edgeprune.data.cards import load_card
        from edgeprune.data.verify import verify
        from edgeprune.data.verify_images import verify_images

        card = load_card(self.name)
        report = verify_images(card, self.root) if card.kind == "images" else verify(card, self.root, self.cache)
        if self.json:
            print_json({"name": card.name, "root": str(self.root), "ok": report.ok, **asdict(report)})
        else:
            corrupt = [f"{clip} {fault}" for clip, fault in report.corrupt]
            for title, clips in (("missing", report.missing), ("extra", report.extra), ("corrupt", corrupt)):
                print_line("\n  ".join([f"{title}: {format_exact(len(clips))}", *map(printable, clips[:SHOWN])]))
                if len(clips) > SHOWN:
                    print(f"  and {format_exact(len(clips) - SHOWN)} more (--json lists all)")
            noun = "images" if card.kind == "images" else "clips"
            print(f"{card.name}: {format_exact(report.clips)} {noun} are whole")
            for folder in report.outdated:
                print(f"{folder}: these cached features are older than the clips; they are not used, delete them")
        return 0 if report.ok else CheckFailedError.exit_code
