"""How a command ends: errors become one sentence and an exit code.

0 done, 1 a bug of edgeprune, 2 wrong input, 3 budget infeasible, 4 a check failed, 130 interrupted, 141 its output is
not read on.
"""

import errno
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import TextIO

from edgeprune.console import set_quiet
from edgeprune.errors import EdgepruneError, readable
from edgeprune.plain_output import encodable

LEAST_ADDRESS_SPACE = 1 << 30
_NO_MEMORY = ("can't allocate memory", "failed to map segment", "std::bad_alloc", "Cannot allocate memory")
"""What PyTorch and the system's loader say where memory is short."""


def take_flag(flag: str, args: Sequence[str]) -> tuple[bool, list[str]]:
    """Whether `flag` is among the arguments, and the others."""
    return flag in args, [arg for arg in args if arg != flag]


def guarded(action: Callable[[list[str]], int], args: Sequence[str], program: str) -> int:
    """Do the action; every way it may fail becomes a sentence on standard error and an exit code.

    The action takes the arguments without `--quiet` and `--debug`, and gives the exit code. `program` is the command
    the arguments belong to, for the line that says how to continue.
    """
    quiet, rest = take_flag("--quiet", args)
    debug, rest = take_flag("--debug", rest)
    set_quiet(quiet)
    _open_closed_streams()
    try:
        with encodable():
            if not {"-h", "--help"} & {*rest}:
                _check_address_space()
            code = action(rest)
            sys.stdout.flush()
        return code
    except SystemExit as stop:  # tyro's, after --help or a wrong flag
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except KeyboardInterrupt:
        print(f"edgeprune: interrupted; to continue: {program} {shlex.join(args)}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # such as `| head`
        _discard(sys.stdout)
        return 141
    except Exception as error:
        sentence, code = _explain(error)
        try:
            if debug:
                traceback.print_exc()
            print(f"edgeprune: error: {readable(sentence)}", file=sys.stderr, flush=True)
        except OSError:  # nobody reads it
            _discard(sys.stderr)
        return code


def _open_closed_streams() -> None:
    """Put the null device where a standard stream is closed: else the next file that is opened is taken for it."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, that of the stream
            os.set_inheritable(descriptor, True)
            setattr(sys, name, open(descriptor, mode, encoding="utf-8"))  # noqa: SIM115


def _check_address_space() -> None:
    """Refuse a limit under which PyTorch's libraries end the process as they are loaded, with nothing said."""
    if sys.platform != "win32":
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY and limit < LEAST_ADDRESS_SPACE:
            raise EdgepruneError(
                f"this shell limits a process to {limit >> 20:,} MiB of addresses, too few for PyTorch; allow 4 GiB or "
                "more (`ulimit -v unlimited`)."
            )


def _discard(stream: TextIO) -> None:
    """Let what is left to write vanish; else Python complains of it when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _explain(error: Exception) -> tuple[str, int]:
    """The sentence for the user, and the exit code."""
    code = EdgepruneError.exit_code
    if isinstance(error, EdgepruneError):
        return str(error), error.exit_code
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"{where}the disk is full; free some space or choose another folder.", code
        return f"{where}{error.strerror or error}; check the path and your permissions.", code
    if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("edgeprune"):
        return f"package '{error.name}' is not installed; `edgeprune doctor` lists what is.", code
    if isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY):
        return "out of memory; close other programs, or choose a smaller batch or model.", code
    return f"{type(error).__name__}: {error}; this is a bug in edgeprune, --debug shows where.", 1
