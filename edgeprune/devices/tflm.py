"""The memory a file needs under TensorFlow Lite for Microcontrollers, found by running its own interpreter here."""

import importlib.metadata
import importlib.util
import os
import re
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.console import say
from edgeprune.devices import checks
from edgeprune.devices.record import Measurement
from edgeprune.devices.request import TIMEOUT_S, BenchRequest, Inputs
from edgeprune.devices.tools import child_environment
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.files import sha256_file
from edgeprune.tflite.flatbuffer import operators
from edgeprune.tflite.interpreter import TFLiteModel

UNIT = "arena_bytes"
STEP = 16
"""Bytes between two arenas tried; the planner aligns every tensor to as many."""
POINTERS = "x86-64 build: pointers are 8 bytes, so the tail (persistent part) is smaller on a 32-bit core; "
KERNELS = (
    "the head is the same with the same (reference) kernels; CMSIS-NN and ESP-NN may add scratch memory to the head"
)
_AMPLE = (1 << 24, 1 << 28, 1 << 30)
"""Arenas in which a network is first run, in this order; their pages are not touched before they are used."""
_EXACT = (np.dtype(np.int8), np.dtype(np.uint8))


def measure(request: BenchRequest) -> list[Measurement]:
    """Smallest tensor arena in which TFLite Micro gives the right outputs on every clip.

    Each file is first run in an arena that is far too large, and its outputs are compared with TFLite's. int8 ones are
    the same bytes but for a step of a dense layer now and then: TFLite's dense kernels round otherwise than those of
    microcontrollers (seen on 1 to 3 % of real clips; `detail["checked"]` counts them). Then smaller arenas are tried,
    each of which must give the same bytes as the first, in a process of their own: one that is too small may take its
    process down.

    Returns:
        One record a file, `kind` `measured`. There is no time in it: this computer's says nothing about a
        microcontroller's. `unit` is `arena_bytes`, and `median`, `p5`, `p95` and `peak_ram_bytes` are the smallest
        arena, a multiple of 16 bytes; `detail` splits what is used of it into `head_bytes` (activations and scratch
        memory) and `tail_bytes` (what stays for good).

    Raises:
        EdgepruneError: tflite-micro is not installed, it cannot run a file, or `request.timeout_s` passed.
        CheckFailedError: the outputs are wrong.
    """
    version = _installed(request.device)
    request.check_one_core()
    return [_measure_file(request, path, version) for path in request.paths]


def _installed(device: str) -> str:
    if importlib.util.find_spec("tflite_micro") is None:
        raise EdgepruneError(
            f"device {device}: needs the package tflite-micro, which exists for Linux; pip install 'edgeprune[mcu]'."
        )
    return importlib.metadata.version("tflite-micro")


def _measure_file(request: BenchRequest, path: Path, version: str) -> Measurement:
    inputs = request.inputs(path)
    stored, expected = checks.reference(path, inputs)
    say(f"{request.device}: looking for the smallest arena of {path.name}")
    with _micro(request.device, path, stored, request.timeout_s) as micro:
        found, used = _run_in_ample_arena(micro)
        compared = compare(request.device, path, expected, found, stored.dtype)
        arena = _smallest(micro, found, used)
    return Measurement(
        device=request.device,
        kind="measured",
        unit=UNIT,
        median=arena,
        p5=arena,
        p95=arena,
        runs=1,
        peak_ram_bytes=arena,
        threads=1,
        model=path.name,
        sha256=sha256_file(path),
        detail={
            "head_bytes": used["head"],
            "tail_bytes": used["tail"],
            "operators": dict(Counter(operators(path))),
            "checked": compared,
            "inputs": inputs.source,
            "runtime": f"tflite-micro {version}",
            "note": POINTERS + KERNELS,
        },
    )


def outputs(path: Path, stored: NDArray[Any], device: str = "tflm", timeout_s: float = TIMEOUT_S) -> NDArray[Any]:
    """What TFLite Micro gives, `[n, classes]`, for inputs `[n, ...]` as the file stores them.

    For int8 files these are the bytes of other code for microcontrollers too, CMSIS-NN's among them.

    Raises:
        EdgepruneError: tflite-micro is not installed, it cannot run the file, or `timeout_s` passed.
    """
    _installed(device)
    with _micro(device, path, stored, timeout_s) as micro:
        return _run_in_ample_arena(micro)[0]


def reference_micro(path: Path | str, inputs: Inputs, device: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Inputs and outputs of a file as it stores them, by TFLite Micro's own interpreter.

    Other code for microcontrollers must give these very bytes. TFLite's plain kernels are no oracle for it: their dense
    layers round otherwise, so that an output is a step off on a few of a hundred clips.

    Returns:
        `[n, ...]` inputs in the file's input type, `[n, classes]` outputs in its output type.

    Raises:
        EdgepruneError: tflite-micro is not installed or cannot run the file.
        CheckFailedError: TFLite's outputs differ by more than rounding explains.
    """
    path = Path(path)
    stored, expected = checks.reference(path, inputs)
    micro = outputs(path, stored, device)
    compare(device, path, expected, micro, stored.dtype)
    return stored, micro


def compare(device: str, path: Path, expected: NDArray[Any], found: NDArray[Any], input_dtype: np.dtype[Any]) -> str:
    """How TFLite Micro's outputs were found to be TFLite's.

    Raises:
        CheckFailedError: they are not.
    """
    if expected.dtype not in _EXACT or input_dtype not in _EXACT or found.shape != expected.shape:
        error = checks.check_close(device, path, expected, found)
        return f"within {error:.2g} of TFLite's on {len(expected)} inputs"
    scale = TFLiteModel(path, xnnpack=False).output_quantisation[0]
    steps = np.abs(found.astype(np.int32) - expected).max(axis=1)
    if steps.max() > max(1.0, checks.TOLERANCE / scale):
        checks.check_exact(device, path, expected, found)
    equal = int((steps == 0).sum())
    text = f"bytes equal to TFLite's on {equal} of {len(expected)} inputs"
    return text if equal == len(expected) else f"{text}, the others within {steps.max() * scale:.2g}"


def _run_in_ample_arena(micro: "_Micro") -> tuple[NDArray[Any], dict[str, int]]:
    """Outputs `[n, classes]` in an arena with room to spare, and bytes of its parts: `head` and `tail`."""
    for arena in _AMPLE:
        outputs = micro.run(arena, micro.clips)
        if outputs is not None:
            break
        if "missing:" not in micro.said:  # what an arena that is too small is told
            raise micro.refusal()
    else:
        raise EdgepruneError(
            f"device {micro.device}: {micro.path.name} needs an arena of more than 1 GiB; give a smaller network."
        )
    found = dict(re.findall(r"Arena allocation (head|tail) (\d+) bytes", micro.said))
    if found.keys() != {"head", "tail"}:
        raise EdgepruneError(
            f"device {micro.device}: this version of tflite-micro records no allocations; install another one."
        )
    return outputs, {part: int(size) for part, size in found.items()}


def _smallest(micro: "_Micro", expected: NDArray[Any], used: dict[str, int]) -> int:
    """Smallest arena, in steps of 16 bytes, that gives `expected`; 16 bytes less was tried and does not."""

    def works(arena: int, clips: int) -> bool:
        outputs = micro.run(arena, clips)
        return outputs is not None and np.array_equal(outputs, expected[:clips])

    # Neither part alone is enough, both together nearly are: planning takes memory of its own for a while.
    low = used["head"] // STEP * STEP
    high = _round_up(used["head"] + used["tail"])
    if low and works(low, 1):
        low = 0
    ahead = STEP
    while not works(high, 1):
        low, high, ahead = high, high + ahead, 2 * ahead
        if high > _AMPLE[-1]:
            raise CheckFailedError(
                f"device {micro.device}: {micro.path.name} gives its outputs in no smaller arena; run it again."
            )
    while True:
        while high - low > STEP:  # one clip tells nearly always; what it finds is tried on all
            middle = _round_up((low + high) // 2)
            middle = middle if middle < high else high - STEP
            low, high = (low, middle) if works(middle, 1) else (middle, high)
        if works(high, len(expected)):
            return high
        low, high = high, high + STEP


def _round_up(size: int) -> int:
    return -(-size // STEP) * STEP


class _Micro:
    """TFLite Micro in a process of its own that is started again whenever an arena took it down.

    Attributes:
        clips: how many there are.
        said: what the interpreter printed in the last run.
    """

    def __init__(self, device: str, path: Path, stored: NDArray[Any], folder: Path, timeout_s: float) -> None:
        self.device, self.path, self.clips, self.said = device, path, len(stored), ""
        self._folder, self._timeout_s = folder, timeout_s
        self._deadline = time.monotonic() + timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "network.tflite").write_bytes(path.read_bytes())
        np.save(folder / "inputs.npy", stored)

    def run(self, arena: int, clips: int) -> NDArray[Any] | None:
        """Outputs `[clips, classes]` of the first clips, None where the arena does not do.

        Raises:
            EdgepruneError: the time is up.
        """
        if self._process is None:
            self._process = self._start()
        (self._folder / "said.txt").write_bytes(b"")
        (self._folder / "outputs.npy").unlink(missing_ok=True)
        with suppress(BrokenPipeError):  # it just died: no answer will come
            assert self._process.stdin is not None
            self._process.stdin.write(f"{arena} {clips}\n".encode())
            self._process.stdin.flush()
        answer = self._answer()
        self.said = (self._folder / "said.txt").read_text(encoding="utf-8", errors="replace")
        if not answer:
            self.close()
        if answer != b"done":
            return None
        return np.load(self._folder / "outputs.npy", allow_pickle=False)

    def refusal(self) -> EdgepruneError:
        """Why the network cannot be run, from what the interpreter printed."""
        if missing := re.search(r"Didn't find op for (?:builtin|custom) opcode '(\w+)'", self.said):
            why = f"has the operator {missing[1]}, which TFLite Micro does not have; export the network without it"
        elif "Hybrid models" in self.said:
            why = "has integer weights and float32 activations, which TFLite Micro does not take; export it as int8"
        else:
            lines = self.said.strip().splitlines() or ["it ended without a word"]
            why = f"cannot be run by TFLite Micro ({lines[0].strip().rstrip('.')}); export it as int8"
        return EdgepruneError(f"device {self.device}: {self.path.name} {why}.")

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _start(self) -> subprocess.Popen[bytes]:
        code = "import sys; from edgeprune.devices import tflm; tflm._serve(sys.argv[1])"
        command = [sys.executable, "-c", code, str(self._folder)]
        return subprocess.Popen(command, env=child_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def _answer(self) -> bytes:
        """One line of the process, without its end; empty when the process died."""
        assert self._process is not None
        assert self._process.stdout is not None
        line, stream = b"", self._process.stdout.fileno()
        while not line.endswith(b"\n"):
            left = self._deadline - time.monotonic()
            if left <= 0 or not select.select([stream], [], [], left)[0]:
                self.close()
                raise EdgepruneError(
                    f"device {self.device}: no smallest arena of {self.path.name} in {self._timeout_s:g} s; raise "
                    "--timeout."
                )
            part = os.read(stream, 256)
            if not part:
                return b""
            line += part
        return line.strip()


@contextmanager
def _micro(device: str, path: Path, stored: NDArray[Any], timeout_s: float) -> Iterator[_Micro]:
    with tempfile.TemporaryDirectory(prefix="edgeprune-tflm-") as folder:
        micro = _Micro(device, path, stored, Path(folder), timeout_s)
        try:
            yield micro
        finally:
            micro.close()


def _serve(folder: str) -> None:
    """What the process does: a line `ARENA CLIPS` in, `done` or `failed` out, outputs and prints in files."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # it may crash, as a matter of course
    os.chdir(folder)
    answers = os.dup(1)
    said = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    network, inputs = Path("network.tflite").read_bytes(), np.load("inputs.npy", allow_pickle=False)
    for line in sys.stdin:
        arena, clips = (int(word) for word in line.split())
        outputs = _outputs(network, inputs[:clips], arena)
        if outputs is not None:
            np.save("outputs.npy", outputs)
        os.write(answers, b"failed\n" if outputs is None else b"done\n")


def _outputs(network: bytes, inputs: NDArray[Any], arena: int) -> NDArray[Any] | None:
    """Outputs `[clips, classes]` in an arena of so many bytes; what is allocated is printed to standard error."""
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
