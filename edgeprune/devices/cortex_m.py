"""Instructions and memory of int8 networks on emulated Cortex-M processors: QEMU runs the C code that would ship.

An instruction is not a cycle: loads that wait for flash, branches and multiplications take more than one, and a
Cortex-M7 may start two at once. Counts compare networks on one processor; a time needs the board itself.
"""

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.console import say
from edgeprune.devices import qemu
from edgeprune.devices.boards import board_of
from edgeprune.devices.checks import check_exact
from edgeprune.devices.record import Measurement
from edgeprune.devices.request import BenchRequest
from edgeprune.devices.tflm import reference_micro
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.files import share_folder, write_text
from edgeprune.firmware.c11 import C11, compile_c11
from edgeprune.tflite.cost import cost_of_tflite
from edgeprune.tflite.flatbuffer import operators

LAYER_CLIPS = 3
"""Clips on which the instructions of each layer are counted; the counts hardly depend on the clip."""


def measure(request: BenchRequest) -> list[Measurement]:
    """Count the instructions and memory of each file, whose outputs must be TFLite Micro's, byte for byte.

    Median and percentiles are over the clips.
    """
    if request.device in ("cortex-m55", "cortex-m85"):
        raise EdgepruneError(
            f"device {request.device}: bakenn's code gives wrong outputs on its vector unit (MVE); use cortex-m4, "
            "cortex-m7, cortex-m33, or ethos-u55-128 for the accelerator beside it."
        )
    if not board_of(request.device).has_dsp:
        raise EdgepruneError(
            f"device {request.device}: has no DSP instructions, which the kernels of CMSIS-NN take; use cortex-m4."
        )
    request.check()
    request.check_one_core()
    tools = qemu.versions(request.device)
    return [_measure_file(request, path, tools) for path in request.paths]


def _measure_file(request: BenchRequest, path: Path, tools: dict[str, str]) -> Measurement:
    say(f"{request.device}: compiling {path.name} and running it in QEMU")
    with tempfile.TemporaryDirectory(prefix="edgeprune-") as name:
        folder = Path(name)
        network = compile_c11(path, folder, request.device)
        inputs = request.inputs(path)
        stored, expected = reference_micro(network.tflite, inputs, request.device)
        program = _Program(request, path, network, folder)
        counts = program.check(stored, expected)
        layers = program.layers(stored[:LAYER_CLIPS], expected[:LAYER_CLIPS])
        bare, stack_bytes = program.bare()
    instructions, macs, clock_hz = float(np.median(counts)), cost_of_tflite(path).macs, request.options.clock_hz
    detail: dict[str, Any] = {
        "board": board_of(request.device).description,
        "note": "instructions are not cycles: a time needs the board itself",
        "optimise": qemu.OPTIMISE,
        "macs": macs,
        "instructions_per_mac": round(instructions / macs, 3) if macs else None,
        "flash_bytes": bare.flash_bytes,
        "arena_bytes": network.arena_bytes,
        "stack_bytes": stack_bytes,
        "ram": "start-up code and network alone: input, output, working memory, other variables, deepest stack",
        "computed": "logits; softmax is left to the caller" if network.logits else "the whole network",
    }
    if clock_hz:
        detail["estimated_ms"] = {
            "value": round(instructions / clock_hz * 1e3, 3),
            "assumes": f"one instruction a cycle at {clock_hz / 1e6:g} MHz; a real board takes another time",
        }
    detail |= {
        "by_layer": _name_layers(path, network, layers),
        **tools,
        "inputs": inputs.source,
        "outputs": f"byte for byte those of TFLite Micro on {len(counts)} clips",
    }
    ram_bytes = bare.ram_bytes + stack_bytes
    return Measurement.of_runs(
        request.device, "emulated", "instructions", path, counts, peak_ram_bytes=ram_bytes, detail=detail
    )


def _name_layers(path: Path, network: C11, layers: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Instructions of each step, with the layer's name from `edgeprune cost`."""
    costs = iter(cost_of_tflite(path).by_layer)  # has no entry for operators that only rename memory
    pairs = [(name, None if name == "RESHAPE" else next(costs, None)) for name in operators(path)]
    described = []
    for step, instructions in zip(network.layers, layers, strict=True):
        operator, entry = ("", None) if step.operator is None else pairs[step.operator]
        name, macs = (entry.name, entry.macs) if entry else ("", 0)
        counted = {"kernel": step.kernel, "macs": macs, "instructions": float(instructions)}
        described.append({"name": name, "operator": operator, **counted})
    return described


@dataclass(frozen=True)
class _Program:
    """The programs around one network."""

    request: BenchRequest
    path: Path
    network: C11
    folder: Path

    def check(self, stored: NDArray[Any], expected: NDArray[Any]) -> NDArray[np.float64]:
        """Instructions of each clip."""
        printed = self._run_clips(self.network.sources, stored, expected)
        return np.array(re.findall(r"^clip \d+ (\d+) ", printed, re.MULTILINE), np.float64)

    def layers(self, stored: NDArray[Any], expected: NDArray[Any]) -> NDArray[np.float64]:
        """Median instructions of each step, counted in a copy of the network that reads the timer between its steps."""
        steps = len(self.network.layers)
        marked = self.folder / "marked" / self.network.source.name
        write_text(marked, mark_steps(self.network.source.read_text(encoding="utf-8"), steps))
        sources = [marked if source == self.network.source else source for source in self.network.sources]
        printed = self._run_clips(sources, stored, expected, (f"BY_LAYER={steps}",))
        counts = [int(count) for count in re.findall(r"^layer \d+ \d+ (\d+)$", printed, re.MULTILINE)]
        if len(counts) != len(stored) * steps:
            raise self._cut_short()
        return np.asarray(np.median(np.reshape(counts, (len(stored), steps)), axis=0), np.float64)

    def bare(self) -> tuple[qemu.Image, int]:
        """A program of start-up code and network alone, and its deepest stack in bytes."""
        image = self._build("bare", self.network.sources)
        line = re.search(r"^stack (\d+)$", self._emulate(image), re.MULTILINE)
        if line is None:
            raise self._cut_short()
        return image, int(line[1])

    def _run_clips(
        self, sources: Sequence[Path], stored: NDArray[Any], expected: NDArray[Any], defines: tuple[str, ...] = ()
    ) -> str:
        """What the program with the clips prints, whose outputs must be those expected."""
        rows = ",\n".join("{" + ",".join(str(value) for value in clip.ravel()) + "}" for clip in stored)
        size = int(np.prod(stored.shape[1:]))
        text = f"#define CLIPS {len(stored)}\nstatic int8_t clips[CLIPS][{size}] BOARD_VECTORS = {{\n{rows}\n}};\n"
        write_text(self.folder / "clips.h", text)
        printed = self._emulate(self._build("check", sources, defines))
        answers = re.findall(r"^clip \d+ \d+ ([0-9a-f]*)$", printed, re.MULTILINE)
        if len(answers) != len(expected) or f"all {len(expected)} clips done" not in printed.splitlines():
            raise self._cut_short()
        outputs = np.stack([np.frombuffer(bytes.fromhex(answer), np.int8) for answer in answers])
        check_exact(self.request.device, self.path, expected, outputs)
        return printed

    def _build(self, main: str, sources: Sequence[Path], defines: tuple[str, ...] = ()) -> qemu.Image:
        return qemu.build(
            self.request.device,
            [share_folder("export") / "boards" / f"{main}_cmsis.c", *sources],
            [self.folder, *self.network.includes],
            self.folder / f"{main}.elf",
            (*self.network.defines, *defines),
            qemu.OPTIMISE,
            timeout_s=self.request.timeout_s,
        )

    def _emulate(self, image: qemu.Image) -> str:
        return qemu.run(self.request.device, image.path, self.request.timeout_s, self.folder)

    def _cut_short(self) -> CheckFailedError:
        return CheckFailedError(
            f"device {self.request.device}: {self.path.name} ended before it had given all outputs; nothing was "
            "measured."
        )


def mark_steps(source: str, steps: int) -> str:
    """Insert calls of `board_mark` into bakenn's network function: two before its first step, one after each step."""
    head, begin, rest = source.partition("    (void)arena;\n")
    body, end, tail = rest.rpartition("\n}\n")
    parts = body.split("\n\n")
    if not begin or not end or tail or len(parts) != steps:
        raise EdgepruneError("bakenn: writes its code in another form than 1.0 does; install the version that fits.")
    mark = "    board_mark();"
    marked = "\n".join([mark, mark, *(f"{part}\n{mark}" for part in parts)])
    include, line, function = head.rpartition("\nvoid ")
    return f"{include}\nvoid board_mark(void);\n{line}{function}{begin}{marked}\n}}\n"
