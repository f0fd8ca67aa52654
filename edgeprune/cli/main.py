"""The command line: which verb, its flags, and how errors become one sentence and an exit code.

Exit codes: 0 done, 1 a bug of edgeprune, 2 wrong input, 3 budget infeasible, 4 a check failed, 130 interrupted.
"""

import errno
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any

from edgeprune.errors import EdgepruneError
from edgeprune.version import __version__

if TYPE_CHECKING:
    from edgeprune.cli.verbs import Evaluate
    from edgeprune.recipe import Recipe


DATA: dict[str, tuple[str, str]] = {
    "list": ("DataList", "the data sets that have a card"),
    "fetch": ("DataFetch", "download, check and unpack a data set"),
    "make": ("DataMake", "write the synthetic scenes, which need no download"),
    "verify": ("DataVerify", "check every clip of a data set on disk"),
}
VERBS: dict[str, tuple[str, str]] = {
    "run": ("", "train, prune, fine-tune, export, evaluate and measure what a recipe says, or go on with it"),
    "data": ("", "list, fetch, make and verify data sets"),
    "cost": ("Cost", "parameters, MACs, flash and RAM of a network, layer by layer"),
    "score": ("Score", "how a criterion judges the filters of a network"),
    "budget": ("Budget", "the filters each layer may keep within a budget; nothing is trained"),
    "profile": ("Profile", "how long each layer takes by its width, for a limit on latency"),
    "export": ("Export", "TFLite files of a finished run"),
    "evaluate": ("Evaluate", "accuracy of an exported file or a run on a data set"),
    "bench": ("Bench", "latency, instructions and memory of TFLite files on a device"),
    "sweep": ("", "a grid of budgets, criteria and seeds as runs, with controls; goes on where it stopped"),
    "compare": ("Compare", "runs side by side, and held to a baseline"),
    "submit": ("Submit", "the package a DCASE challenge asks for, checked against its rules"),
    "deploy": ("Deploy", "a bundle that builds into firmware or an app"),
    "listen": ("Listen", "name the scene a microphone or a file hears, live"),
    "doctor": ("Doctor", "what is installed here"),
}
"""Name on the command line: its class, and one line for the help."""
MODULES = {
    "Cost": "network_verbs",
    "Score": "network_verbs",
    "Budget": "budget_verb",
    "Profile": "budget_verb",
    "Compare": "compare_verb",
    "Submit": "submit_verb",
    "Deploy": "deploy_verb",
    "Listen": "listen_verb",
}
"""Where classes are that are not in `edgeprune.cli.verbs`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says.

    Args:
        argv: the arguments without the program's name (default: those of the process).

    Returns:
        The exit code; nothing is raised but by --debug's printing.
    """
    return _guarded(_choose, sys.argv[1:] if argv is None else argv, "edgeprune")


def run_recipe(recipe: "Recipe", args: Sequence[str]) -> int:
    """Parse the flags of a recipe script and run the recipe; returns the exit code."""
    return _guarded(lambda rest: _run(recipe, rest), args, f"python {shlex.quote(sys.argv[0])}")


# Which verb


def _choose(args: list[str]) -> int:
    """Do the verb that the first argument names."""
    if not args or args[0] in ("-h", "--help"):
        _print_help("edgeprune", "train, prune, export and measure audio networks that must fit a device", VERBS)
        return 0
    if args[0] == "--version":
        print(f"edgeprune {__version__}")
        return 0
    verb, rest = _known(args[0], [*VERBS, "--help", "--version"], "edgeprune"), args[1:]
    special = {"run": _run_target, "data": _choose_data, "evaluate": _evaluate, "sweep": _sweep}
    return special[verb](rest) if verb in special else _parse(VERBS[verb][0], rest, f"edgeprune {verb}")()


def _choose_data(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help"):
        _print_help("edgeprune data", "list, fetch, make and verify data sets", DATA)
        return 0
    verb = _known(args[0], [*DATA, "--help"], "edgeprune data")
    return _parse(DATA[verb][0], args[1:], f"edgeprune data {verb}")()


def _known(word: str, words: Sequence[str], program: str) -> str:
    """`word` if it is one of the words; raises EdgepruneError with the nearest if not."""
    if word in words:
        return word
    near = get_close_matches(word, words, n=1)
    hint = f"perhaps you meant '{near[0]}'" if near else f"`{program} --help` lists what there is"
    raise EdgepruneError(f"'{word}' is no {'flag' if word.startswith('-') else 'verb'} of {program}; {hint}.")


def _print_help(program: str, what: str, verbs: Mapping[str, tuple[str, str]]) -> None:
    print(f"usage: {program} VERB ...\n\n{program}: {what}\n\nverbs:")
    for name, (_, line) in verbs.items():
        print(f"  {name:<10}{line}")
    print(
        f"\nflags of every verb:\n  --quiet   no progress, only results\n  --debug   show tracebacks\n  --help    "
        f"`{program} VERB --help` lists a verb's flags"
    )
    if program == "edgeprune":
        print("  --version the version, without a verb")


def _parse(name: str, args: Sequence[str], program: str, default: Any = None) -> Any:
    """A verb's class with its flags; ends the program with 2 if one is wrong, with 0 after --help."""
    import tyro

    kind = getattr(import_module(f"edgeprune.cli.{MODULES.get(name, 'verbs')}"), name)
    about = f"{kind.__doc__}\n\nBeside these flags: --quiet (only results), --debug (show tracebacks)."
    given = {} if default is None else {"default": default}
    config = (tyro.conf.FlagCreatePairsOff, tyro.conf.PositionalMetavarFromFieldName)
    return tyro.cli(kind, args=args, prog=program, description=about, config=config, **given)


# Verbs whose flags depend on what they are given


def _run_target(args: list[str]) -> int:
    """`run TARGET [flags of its recipe]`."""
    from edgeprune.flags import parse_flags
    from edgeprune.recipe import Recipe

    if args and args[0] in ("-h", "--help"):
        print("usage: edgeprune run NAME|PATH.py|RUN|RUN/recipe.json [OPTIONS]\n")
        parse_flags(Recipe(name="NAME"), ["--help"])
    if not args or args[0].startswith("-"):
        raise EdgepruneError(
            "run: name the recipe first: edgeprune run NAME|PATH.py|RUN/recipe.json [--field VALUE ...]."
        )
    from edgeprune.recipe_files import load_recipe

    return _run(load_recipe(args[0]), args[1:])


def _run(recipe: "Recipe", args: list[str]) -> int:
    """Run a recipe with flags, and print its result."""
    from edgeprune.flags import parse_flags

    wants_json, args = _take("--json", args)
    recipe = parse_flags(recipe, args)
    from edgeprune.cli.verbs import only_results, print_json
    from edgeprune.reporting.tables import print_summary
    from edgeprune.run.run import run

    with only_results():
        result = run(recipe)
    if wants_json:
        print_json(result)
        return 0
    print_summary(result)
    report = recipe.folder() / "report.html"
    print(f"report: {report}" if report.is_file() else f"run folder: {recipe.folder()}")
    return 0


def _sweep(args: list[str]) -> int:
    """`sweep RECIPE [flags of the sweep and of the recipe]`."""
    from edgeprune.cli.sweep_verb import run_sweep

    return run_sweep(args)


def _evaluate(args: list[str]) -> int:
    """`evaluate TARGET`: flags left out are those of the run that the target is or lies in."""
    program = "edgeprune evaluate"
    verb: Evaluate = _parse("Evaluate", args, program)
    data = verb.default_data()
    if data is not None:
        within: Evaluate = _parse("Evaluate", args, program, replace(verb, data=data, json=False))
        # Another data set than the run's has another root and other folds: nothing of the run's fits it.
        verb = within if within.data.name == data.name else verb
    return verb()


# Flags of every verb, and errors


def _take(flag: str, args: Sequence[str]) -> tuple[bool, list[str]]:
    """Whether `flag` is among the arguments, and the others."""
    return flag in args, [arg for arg in args if arg != flag]


def _guarded(action: Callable[[list[str]], int], args: Sequence[str], program: str) -> int:
    """Do the action; every way it may fail becomes a sentence on standard error and an exit code."""
    from edgeprune.console import set_quiet

    quiet, rest = _take("--quiet", args)
    debug, rest = _take("--debug", rest)
    set_quiet(quiet)
    try:
        code = action(rest)
        sys.stdout.flush()
        return code
    except SystemExit as stop:  # tyro's, after --help or a wrong flag
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except KeyboardInterrupt:
        print(f"edgeprune: interrupted; to continue: {program} {shlex.join(args)}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # such as `| head`; Python would complain again when it closes standard output
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if debug:
            traceback.print_exc()
        sentence, code = _explain(error)
        print(f"edgeprune: error: {sentence}", file=sys.stderr)
        return code


def _explain(error: Exception) -> tuple[str, int]:
    """What to tell the user, and the exit code."""
    if isinstance(error, EdgepruneError):
        return str(error), error.exit_code
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"{where}the disk is full; free some space or choose another folder.", EdgepruneError.exit_code
        reason = error.strerror or str(error)
        return f"{where}{reason}; check the path and your permissions.", EdgepruneError.exit_code
    if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("edgeprune"):
        return f"package '{error.name}' is not installed; `edgeprune doctor` lists what is.", EdgepruneError.exit_code
    if isinstance(error, MemoryError):
        return "out of memory; close other programs, or choose a smaller batch or model.", EdgepruneError.exit_code
    kind = type(error).__name__
    return f"{kind}: {error}; this is a bug in edgeprune, --debug shows where.", 1
