"""`edgeprune init`: a recipe of one's own, for a folder of clips."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from edgeprune.cli.output import only_results, print_json
from edgeprune.console import print_line, say


@dataclass(frozen=True)
class InitCommand:
    """Look at a folder of clips and write NAME.py: a recipe with a front-end, network, budget and epochs for them.

    Labels are the names of sub-folders, or those of a table. Where nothing says what is tested, folds are drawn and
    written to a table in the folder.
    """

    name: Positional[str]
    """Of the recipe; NAME.py is written here."""
    root: Path
    """Folder of the clips."""
    table: str = ""
    """Table in the folder, with the columns filename and label (default: clips.csv or meta.csv, if there is one)."""
    json: bool = False
    """Print JSON: files, saw, chose, warnings."""

    def __call__(self) -> int:
        from edgeprune.running.own_recipe import write_own_recipe

        with only_results():
            own = write_own_recipe(self.name, self.root, self.table)
        facts = {"saw": own.saw, "chose": own.chose, "wrote": [str(path) for path in own.files]}
        if self.json:
            print_json({**facts, "warnings": own.warnings})
            return 0
        for word, lines in facts.items():
            for number, line in enumerate(lines):
                print_line(f"{word + ':' if number == 0 else '':<7}{line}")
        for warning in own.warnings:
            say(f"warning: {warning}")
        print_line(f"next:  edgeprune run {shlex.quote(str(own.files[0]))}")
        return 0
