"""The process in which a .tflite is tried; it runs as a program, without the rest of edgeprune.

A line of JSON comes in for each file, `{"path", "kernels"}`, and a line goes out when the file was loaded and run once,
whether the interpreter refused it or not.
"""

import json
import os
import signal
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

MOST_BYTES = 2 << 30
"""What a network may need beside its file."""

REFUSALS = (ValueError, RuntimeError, IndexError)
"""What the interpreter raises for a file that it does not take; IndexError is C++'s `std::out_of_range`."""


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asks decides
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    own = _own_bytes()
    print("ready", file=answers)
    for line in sys.stdin:
        asked = json.loads(line)
        _limit_memory(own + MOST_BYTES + 3 * os.path.getsize(asked["path"]))
        _run(asked["path"], OpResolverType[asked["kernels"]])
        print("done", file=answers)


def _run(path: str, kernels: OpResolverType) -> None:
    """One inference on values at random; what the interpreter refuses, it will refuse again where it is asked to."""
    random = np.random.default_rng(0)
    try:
        interpreter = Interpreter(**model_of(path), num_threads=1, experimental_op_resolver_type=kernels)
        interpreter.allocate_tensors()
        for tensor in interpreter.get_input_details():
            values = random.standard_normal(tuple(tensor["shape"])) * 64
            interpreter.set_tensor(tensor["index"], values.astype(tensor["dtype"]))
        interpreter.invoke()
        for tensor in interpreter.get_output_details():
            interpreter.get_tensor(tensor["index"])
    except (*REFUSALS, TypeError):
        pass


def model_of(path: str) -> dict[str, str | bytes]:
    """What the interpreter is given: a path, or the content of a file whose name is not UTF-8."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        with open(path, "rb") as file:
            return {"model_content": file.read()}
    return {"model_path": path}


def _limit_memory(limit: int) -> None:
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # crashes are expected here
    most = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (limit if most < 0 else min(limit, most), most))


def _own_bytes() -> int:
    """Address space of this process before it opens a file; 0 where the system does not tell."""
    if sys.platform == "win32":
        return 0
    try:
        with open("/proc/self/statm", encoding="ascii") as stream:
            return int(stream.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


if __name__ == "__main__":
    main()
