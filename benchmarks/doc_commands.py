"""Run the command blocks of README.md and docs/*.md that need nothing but the demo's run.

    python benchmarks/doc_commands.py runs/quickstart-fold1-seed0 [PAGE.md ...]

All blocks of a page run in one scratch folder, which holds a copy of the run. A block that needs more, or takes long,
says so in an HTML comment before it: `<!-- not run: needs data -->`.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAMS = ("edgeprune", "python", "python3", "py", "make", "pip", "npm", "git", "sudo", "source", "pytest")
ASSIGNMENT = re.compile(r"[A-Z_]+=")
MARK = re.compile(r"<!-- not run: (.+) -->")


@dataclass(frozen=True)
class Block:
    """A block of code whose lines are commands, or commands after `$ ` and what they print.

    Attributes:
        commands: whole ones, their continued lines joined.
        refused: those of them that end with the error shown.
        mark: why it is not run; "" if it is.
    """

    page: Path
    line: int
    commands: tuple[str, ...]
    refused: tuple[str, ...]
    mark: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """The command blocks of a page, in order."""
    mark = None
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        commands = commands_of(token.content) if token.type in ("code_block", "fence") and not token.info else ()
        if commands and token.map:
            refused = re.findall(r"^\$ (.+)\nedgeprune: error:", joined(token.content), re.MULTILINE)
            yield Block(page, token.map[0] + 1, commands, tuple(refused), mark[1] if mark else "")
        mark = MARK.match(token.content) if token.type == "html_block" else None


def joined(text: str) -> str:
    """With each command on one line."""
    return text.replace("\\\n", " ")


def commands_of(text: str) -> tuple[str, ...]:
    """The commands of a block; none where it is something else, such as a file."""
    lines = joined(text).splitlines()
    if any(line.startswith("$ ") for line in lines):
        return tuple(line[2:] for line in lines if line.startswith("$ "))
    lines = [line for line in lines if line and not line.startswith("#")]
    first = lines[0].split()[0] if lines else ""
    return tuple(lines) if first in PROGRAMS or ASSIGNMENT.match(first) else ()


def run_page(page: Path, demo: Path) -> int:
    """Run a page's blocks one after the other; returns how many failed."""
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copytree(demo, Path(scratch) / "runs" / "quickstart-fold1-seed0")
        environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        for block in blocks(page):
            if block.mark:
                print(f"{block}: not run: {block.mark}")
                continue
            script = "\n".join(
                f"if {command}; then exit 99; fi" if command in block.refused else command for command in block.commands
            )
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", script], cwd=scratch, env=environment, capture_output=True, text=True
            )
            print(f"{block}: {'ran' if done.returncode == 0 else f'exit code {done.returncode}'}", flush=True)
            if done.returncode:
                failed += 1
                print(f"{script}\n{done.stdout}{done.stderr}")
    return failed


def main(demo: Path, pages: list[Path]) -> int:
    failed = sum(run_page(page.resolve(), demo) for page in pages)
    print(f"{failed} blocks failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]] or PAGES))
