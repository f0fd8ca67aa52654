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
    """Do what the arguments say (default: those of the process); returns the exit code and raises nothing."""
    return guarded(_choose, sys.argv[1:] if argv is None else argv, "edgeprune")


def run_recipe(recipe: "Recipe", args: Sequence[str]) -> int:
    """Parse the flags of a recipe script and run the recipe; returns the exit code."""
    from edgeprune.cli.verbs.run import run_with_flags

    program = f"python {shlex.quote(sys.argv[0])}"
    return guarded(lambda rest: run_with_flags(recipe, rest, program), args, program)


def _choose(args: list[str], group: str = "") -> int:
    """Do the verb that the first argument names.

    A verb is a file of `edgeprune/cli/verbs`, or a folder of verbs of its own, which is then the `group`.
    """
    program = f"edgeprune {group}".strip()
    folder = _VERBS / group
    files = [path for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()]
    verbs = [path.stem for path in files if path.stem != "__init__"]
    if not args or args[0] in ("-h", "--help"):
        _print_help(program, folder, verbs)
        return 0
    if args[0] == "--version" and not group:
        print(f"edgeprune {__version__}")
        return 0
    flags = ["--help"] if group else ["--help", "--version"]
    verb, *rest = args
    if verb not in [*verbs, *flags]:
        hint = nearest(verb, [*verbs, *flags], f"`{program} --help` lists what there is")
        raise EdgepruneError(f"'{verb}' is no {'flag' if verb.startswith('-') else 'verb'} of {program}; {hint}.")
    if (folder / verb).is_dir():
        return _choose(rest, verb)
    module = import_module(".".join(filter(None, ("edgeprune.cli.verbs", group, verb))))
    if hasattr(module, "main"):  # its flags depend on what it is given
        return int(module.main(rest))
    (command,) = (kind for name, kind in vars(module).items() if name == f"{verb.title()}Command")
    return int(parse_command(command, rest, f"{program} {verb}")())


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
