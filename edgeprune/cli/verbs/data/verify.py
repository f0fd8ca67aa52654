"""`edgeprune data verify`: check every clip of a data set on disk."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tyro.conf import Positional

from edgeprune.cli.output import print_json
from edgeprune.errors import CheckFailedError

SHOWN = 20
"""Clips of a kind that `data verify` prints; --json has all."""


@dataclass(frozen=True)
class VerifyCommand:
    """Check every clip of a data set on disk: exit code 4 if any is missing or corrupt."""

    name: Positional[str]
    """A name from `edgeprune data list` or the path of a card of your own."""
    root: Path
    """Folder of the data set."""
    json: bool = False
    """Print all findings as JSON."""

    def __call__(self) -> int:
        from edgeprune.data.cards import load_card
        from edgeprune.data.verify import verify
        from edgeprune.data.verify_images import verify_images

        card = load_card(self.name)
        report = verify_images(card, self.root) if card.kind == "images" else verify(card, self.root)
        if self.json:
            print_json({"name": card.name, "root": str(self.root), "ok": report.ok, **asdict(report)})
        else:
            corrupt = [f"{clip} {fault}" for clip, fault in report.corrupt]
            for title, clips in (("missing", report.missing), ("extra", report.extra), ("corrupt", corrupt)):
                _print_findings(title, clips)
            print(f"{card.name}: {report.clips:,} {'images' if card.kind == 'images' else 'clips'} are whole")
        return 0 if report.ok else CheckFailedError.exit_code


def _print_findings(title: str, clips: Sequence[str]) -> None:
    print(f"{title}: {len(clips):,}")
    for line in clips[:SHOWN]:
        print(f"  {line}")
    if len(clips) > SHOWN:
        print(f"  and {len(clips) - SHOWN:,} more (--json lists all)")
