"""The command line: which verb, and its flags."""

import shlex
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from edgeprune.cli.command import parse_command
from edgeprune.errors import EdgepruneError, nearest
from edgeprune.exit_codes import guarded
from edgeprune.version import __version__

if TYPE_CHECKING:
    from edgeprune.recipe import Recipe


_VERBS = Path(__file__).parent / "verbs"


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says.

    Args:
        argv: the arguments without the program's name (default: those of the process).

    Returns:
        The exit code; nothing is raised but by --debug's printing.
    """
    return guarded(_choose, sys.argv[1:] if argv is None else argv, "edgeprune")


def run_recipe(recipe: "Recipe", args: Sequence[str]) -> int:
    """Parse the flags of a recipe script and run the recipe; returns the exit code."""
    from edgeprune.cli.verbs.run import run_with_flags

    return guarded(lambda rest: run_with_flags(recipe, rest), args, f"python {shlex.quote(sys.argv[0])}")


# Which verb: each is a file (or, with verbs of its own, a folder) in `edgeprune/cli/verbs`


def _choose(args: list[str], group: str = "") -> int:
    """Do the verb that the first argument names; `group` is the verb whose own verbs are chosen from."""
    program = f"edgeprune {group}".strip()
    folder = _VERBS / group
    verbs = [path.stem for path in folder.iterdir() if path.stem != "__init__" and _is_verb(path)]
    if not args or args[0] in ("-h", "--help"):
        _print_help(program, folder, verbs)
        return 0
    if args[0] == "--version" and not group:
        print(f"edgeprune {__version__}")
        return 0
    flags = ["--help"] if group else ["--help", "--version"]
    verb, rest = _known(args[0], [*verbs, *flags], program), args[1:]
    if (folder / verb).is_dir():
        return _choose(rest, verb)
    module = import_module(".".join(filter(None, ("edgeprune.cli.verbs", group, verb))))
    if hasattr(module, "main"):  # its flags depend on what it is given
        return int(module.main(rest))
    (command,) = (kind for name, kind in vars(module).items() if name == f"{verb.title()}Command")
    return int(parse_command(command, rest, f"{program} {verb}")())


def _is_verb(path: Path) -> bool:
    return path.suffix == ".py" or (path / "__init__.py").is_file()


def _known(word: str, words: Sequence[str], program: str) -> str:
    """`word` if it is one of the words; raises EdgepruneError with the nearest if not."""
    if word in words:
        return word
    hint = nearest(word, words, f"`{program} --help` lists what there is")
    raise EdgepruneError(f"'{word}' is no {'flag' if word.startswith('-') else 'verb'} of {program}; {hint}.")


def _print_help(program: str, folder: Path, verbs: Sequence[str]) -> None:
    print(f"usage: {program} VERB ...\n\n{_line(folder / '__init__.py')}\n\nverbs:")
    for verb in sorted(verbs):
        path = folder / verb
        line = _line(path / "__init__.py" if path.is_dir() else path.with_suffix(".py"))
        print(f"  {verb:<10}{line.partition(': ')[2]}")
    print(
        f"\nflags of every verb:\n  --quiet   no progress, only results\n  --debug   show tracebacks\n  --help    "
        f"`{program} VERB --help` lists a verb's flags"
    )
    if program == "edgeprune":
        print("  --version the version, without a verb")


def _line(path: Path) -> str:
    """The first line of a module's docstring, read without importing it."""
    text = path.read_text(encoding="utf-8")
    return text.removeprefix('"""').partition("\n")[0].partition('"""')[0].rstrip(".").replace("`", "")
