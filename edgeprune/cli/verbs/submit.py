"""`edgeprune submit`: the package a DCASE challenge asks for, checked against its rules."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tyro.conf import Positional

from edgeprune.cli.output import only_results, print_json
from edgeprune.console import print_table, say
from edgeprune.reporting.numbers import format_exact


@dataclass(frozen=True)
class SubmitCommand:
    """Write the package of DCASE Task 1 for a finished run: system output, meta file, zip; and a model card.

    For dcase2025 the Python package that runs the system comes along.
    """

    runs: Positional[tuple[Path, ...]]
    """Run folder; for dcase2024 one a training subset (5, 10, 25, 50, 100 %)."""
    rules: Literal["dcase2021", "dcase2022", "dcase2024", "dcase2025"]
    """Which year's challenge."""
    out: Path
    """Folder to write to; a second system under another label goes into the same."""
    audio: Path | None = None
    """Recordings without labels, the challenge's evaluation set: a folder, or a list of files (default: the run's
    evaluation part)."""
    info: Path | None = None
    """TOML with what only the authors know: label, name, authors, source code (docs/submit.md)."""
    author: tuple[str, ...] = ()
    """Authors instead of the file's, each "Surname, First name, mail, Institute"; the first is the corresponding."""
    label: str | None = None
    """Label, as Surname_INST_task1_1."""
    name: str | None = None
    """Name of the system."""
    abbreviation: str | None = None
    """The same in at most 10 characters."""
    source_code: str | None = None
    """Address of the code."""
    report: Path | None = None
    """Technical report, PDF, for the zip."""
    format: Literal["int8", "float32", "float16", "dynamic"] | None = None
    """Which file is submitted (default: int8, else the run's first)."""
    draft: bool = False
    """Write even if required fields are missing, with TODO in their place."""
    json: bool = False
    """Print JSON."""

    def __call__(self) -> int:
        from edgeprune.submitting.package import Authors, submit

        named = (self.label, self.name, self.abbreviation)
        authors = Authors(self.info, self.author, *named, self.source_code, self.report)
        with only_results():
            done = submit(self.runs, self.rules, self.out, authors, self.audio, self.format, self.draft)
        if self.json:
            print_json(done)
        else:
            _print(done, self.out)
        return 0


def _print(done: Mapping[str, Any], out: Path) -> None:
    rows = [
        (run, each["rule"], *map(format_exact, (each["counted"], each["limit"])), each["word"])
        for run, verdicts in done["verdicts"].items()
        for each in verdicts
    ]
    print_table(done["rules"], ("run", "rule", "counted", "at most", ""), rows)
    for name in done["files"]:
        print(out / name)
    print(done["zip"])
    for what in ("open", "notes"):
        for line in done[what]:
            say(f"{'open' if what == 'open' else 'note'}: {line}")
    if not done["ready"]:
        say("this package is not ready to be submitted")
