"""A process that reads hostile inputs one after the other, since native code may crash, hang or ask for all memory."""

import json
import os
import resource
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from hostile import MOST_BYTES, faulty_message, randomness  # noqa: E402

from edgeprune.errors import EdgepruneError  # noqa: E402


def main(module: str, name: str, first: str, stop: str, folder: str) -> None:
    """Print a line of JSON when an input begins and when it ends; all else that is printed goes nowhere."""
    lines = os.fdopen(os.dup(1), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    if "EDGEPRUNE_HOSTILE_TALK" not in os.environ:
        os.dup2(nowhere, 2)
    kind = getattr(import_module(module), name)(Path(folder))
    kind.read(kind.good)  # loads all that is loaded once
    limit = _status_bytes("VmSize") + MOST_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for number in range(int(first), int(stop)):
        made = kind.make(randomness(name, number))
        print(json.dumps({"number": number}), file=lines)
        start = time.process_time()
        refused, fault = _try(kind, made)
        seconds = time.process_time() - start
        print(json.dumps({"number": number, "refused": refused, "fault": fault, "seconds": seconds}), file=lines)


def _try(kind, made) -> tuple[bool, str]:
    try:
        kind.read(made)
        return False, ""
    except EdgepruneError as error:
        return True, faulty_message(str(error))
    except BaseException as error:
        return True, "".join(traceback.format_exception(error, limit=-8))[-2500:]


def _status_bytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main(*sys.argv[1:])
