"""`edgeprune data fetch`: download, check and unpack a data set."""

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from edgeprune.cli.verbs.data.make import MakeCommand
from edgeprune.console import say
from edgeprune.errors import EdgepruneError


@dataclass(frozen=True)
class FetchCommand:
    """Download, check and unpack a data set; called again it goes on where it stopped."""

    name: Positional[str]
    """A name from `edgeprune data list` or the path of a card of your own; `synthetic` is made, not downloaded."""
    root: Path
    """Folder to put the data set in."""
    only: tuple[str, ...] = ()
    """Only the archives whose names contain one of these texts, such as meta."""

    def __call__(self) -> int:
        from edgeprune.data.cards import MIXTURES, SYNTHETIC, load_card
        from edgeprune.data.fetch import fetch

        if self.name in SYNTHETIC:
            if self.only:
                raise EdgepruneError(f"{self.name}: has no archives to choose from; leave out --only.")
            return MakeCommand(self.root, mixtures=self.name == MIXTURES)()
        report = fetch(load_card(self.name), self.root, self.only or None)
        done = f"{len(report.downloaded)} downloaded, {len(report.unpacked)} unpacked"
        say(f"{self.name}: {done}, {len(report.done_before)} done before; check it with `edgeprune data verify`")
        return 0
