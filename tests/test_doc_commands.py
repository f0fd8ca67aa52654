"""The commands that the documents tell to type exist, with the flags they are given; `make docs` runs those it can."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from edgeprune.cli import command, main
from edgeprune.cli.verbs import run, sweep
from edgeprune.cli.verbs.data import show
from edgeprune.cli.verbs.evaluate import EvaluateCommand
from edgeprune.recipe import Data, LogMel, Recipe
from edgeprune.recipe_files import load_recipe

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import doc_commands  # noqa: E402

BLOCKS = [block for page in doc_commands.PAGES for block in doc_commands.blocks(page)]


def words(block: doc_commands.Block, line: str) -> list[str]:
    """The words of a line's first command, in which the block's own `NAME=value` are filled in."""
    values = (re.match(r"([A-Z_]+)=(.*)", command) for command in block.commands)
    for name, value in (found.groups() for found in values if found):
        line = line.replace(f"${name}", value.strip('"'))
    return shlex.split(line.split(" && ")[0], comments=True)


COMMANDS = [
    pytest.param(words(block, line), id=f"{block}-{number}")
    for block in BLOCKS
    for number, line in enumerate(block.commands)
]


@pytest.fixture
def only_parsed(monkeypatch) -> None:
    """Verbs take their flags and do nothing; a recipe that is not there has the flags of any."""

    def parse(kind, args, program, **options):
        parsed = command.parse_command(kind, args, program, **options)
        return parsed if options else lambda: 0

    def recipe(name: str) -> Recipe:
        return load_recipe(name) if Path(name).suffix == "" and "/" not in name else Recipe(name="own")

    monkeypatch.setattr(main, "parse_command", parse)
    monkeypatch.setattr(EvaluateCommand, "default_data", lambda _: Data())
    monkeypatch.setattr(EvaluateCommand, "__call__", lambda _: 0)
    monkeypatch.setattr(show.ShowCommand, "show", lambda *_: 0)
    monkeypatch.setattr(show, "_settings_of", lambda _: (Data(), LogMel(), ""))
    monkeypatch.setattr(sweep, "parse_command", parse)
    monkeypatch.setattr(sweep, "_sweep", lambda *_: 0)
    monkeypatch.setattr(run, "load_recipe", recipe)
    monkeypatch.setattr(run, "run_with_flags", lambda recipe, args, _: bool(run.parse_flags(recipe, args)) - 1)


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_exists_with_its_flags(words, only_parsed, capsys) -> None:
    if words[:1] == ["edgeprune"]:
        assert main.main(words[1:]) == 0, capsys.readouterr().err
    elif words[:1] == ["python"] and words[1].endswith(".py"):
        assert (ROOT / words[1]).is_file()
        if words[1].startswith("recipes/"):
            assert main.main(["run", *words[1:]]) == 0, capsys.readouterr().err
    elif words[:1] == ["make"] and "-C" not in words:
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert {word for word in words[1:] if "=" not in word and not word.startswith("-")} <= set(targets)
