"""TFLite Micro's interpreter in a process of its own, because an arena that is too small may take its process down."""

import importlib.metadata
import importlib.util
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.devices.tools import child_environment
from edgeprune.errors import EdgepruneError
from edgeprune.scratch import scratch_folder


def require_tflite_micro(device: str) -> str:
    """The version of tflite-micro; refused where it is not installed."""
    if importlib.util.find_spec("tflite_micro") is None:
        raise EdgepruneError(
            f"device {device}: needs the package tflite-micro, which exists for Linux; pip install 'edgeprune[mcu]'."
        )
    return importlib.metadata.version("tflite-micro")


class MicroInterpreter:
    """TFLite Micro in a process that is started again whenever an arena took it down.

    `clips` is the number of inputs, and `printed` what the interpreter printed in the last run.
    """

    def __init__(self, device: str, path: Path, stored: NDArray[Any], folder: Path, timeout_s: float) -> None:
        self.device, self.path, self.clips, self.printed = device, path, len(stored), ""
        self._folder, self._timeout_s = folder, timeout_s
        self._deadline = time.monotonic() + timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "network.tflite").write_bytes(path.read_bytes())
        np.save(folder / "inputs.npy", stored)

    def run(self, arena: int, clips: int) -> NDArray[Any] | None:
        """Outputs `[clips, classes]` of the first clips, None where the arena of so many bytes is too small."""
        if self._process is None:
            self._process = self._start()
        (self._folder / "printed.txt").write_bytes(b"")
        (self._folder / "outputs.npy").unlink(missing_ok=True)
        with suppress(BrokenPipeError):  # it just died: no answer will come
            assert self._process.stdin is not None
            self._process.stdin.write(f"{arena} {clips}\n".encode())
            self._process.stdin.flush()
        answer = self._answer()
        self.printed = (self._folder / "printed.txt").read_text(encoding="utf-8", errors="replace")
        if not answer:
            self.close()
        return np.load(self._folder / "outputs.npy", allow_pickle=False) if answer == b"done" else None

    def refusal(self) -> EdgepruneError:
        """The reason why the network cannot be run, from the text the interpreter printed."""
        if missing := re.search(r"Didn't find op for (?:builtin|custom) opcode '(\w+)'", self.printed):
            reason = f"has the operator {missing[1]}, which TFLite Micro does not have; export the network without it"
        elif "Hybrid models" in self.printed:
            reason = "has integer weights and float32 activations, which TFLite Micro does not take; export it as int8"
        else:
            lines = self.printed.strip().splitlines() or ["it ended without a word"]
            reason = f"cannot be run by TFLite Micro ({lines[0].strip().rstrip('.')}); export it as int8"
        return EdgepruneError(f"device {self.device}: {self.path.name} {reason}.")

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _start(self) -> subprocess.Popen[bytes]:
        code = "import sys; from edgeprune.devices import micro_interpreter; micro_interpreter._serve(sys.argv[1])"
        command = [sys.executable, "-c", code, str(self._folder)]
        return subprocess.Popen(command, env=child_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def _answer(self) -> bytes:
        """One line of the process, without its end; empty when the process died."""
        assert self._process is not None
        assert self._process.stdout is not None
        line, stream = b"", self._process.stdout.fileno()
        while not line.endswith(b"\n"):
            left_s = self._deadline - time.monotonic()
            if left_s <= 0 or not select.select([stream], [], [], left_s)[0]:
                self.close()
                late = f"no smallest arena of {self.path.name} in {self._timeout_s:g} s"
                raise EdgepruneError(f"device {self.device}: {late}; raise --timeout.")
            part = os.read(stream, 256)
            if not part:
                return b""
            line += part
        return line.strip()


@contextmanager
def micro_interpreter(device: str, path: Path, stored: NDArray[Any], timeout_s: float) -> Iterator[MicroInterpreter]:
    """An interpreter for a file and its inputs `[n, ...]` as the file stores them."""
    with scratch_folder() as folder:
        interpreter = MicroInterpreter(device, path, stored, folder, timeout_s)
        try:
            yield interpreter
        finally:
            interpreter.close()


def _serve(folder: str) -> None:
    """The work of the process: a line `ARENA CLIPS` in, `done` or `failed` out, outputs and printed text in files."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # crashes are expected here
    os.chdir(folder)
    answers = os.dup(1)
    printed = os.open("printed.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    network, inputs = Path("network.tflite").read_bytes(), np.load("inputs.npy", allow_pickle=False)
    for line in sys.stdin:
        arena, clips = (int(word) for word in line.split())
        outputs = _outputs(network, inputs[:clips], arena)
        if outputs is not None:
            np.save("outputs.npy", outputs)
        os.write(answers, b"failed\n" if outputs is None else b"done\n")


def _outputs(network: bytes, inputs: NDArray[Any], arena: int) -> NDArray[Any] | None:
    """Outputs `[n, classes]` in an arena of so many bytes; its allocations are printed to standard error."""
    from tflite_micro import runtime

    try:
        interpreter = runtime.Interpreter.from_bytes(network, arena_size=arena)
        outputs = []
        for values in inputs:
            interpreter.set_input(values[np.newaxis], 0)
            interpreter.invoke()
            outputs.append(np.array(interpreter.get_output(0)).reshape(-1))
        interpreter.print_allocations()
    except (RuntimeError, ValueError, MemoryError) as error:
        print(error, file=sys.stderr, flush=True)
        return None
    return np.stack(outputs)
