"""Programs around a network in C for an emulated board: outputs, instructions by layer, sizes, stack, cycles."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.devices import cycles, qemu
from edgeprune.devices.checks import check_exact
from edgeprune.devices.request import BenchRequest
from edgeprune.errors import CheckFailedError
from edgeprune.files import share_folder, write_text
from edgeprune.firmware.c11 import CompiledLayer


@dataclass(frozen=True, eq=False)
class NetworkCode:
    """A network as C, made by one engine.

    Attributes:
        engine: as on the command line; `check_<engine>.c` and `bare_<engine>.c` of `export/boards` call its code.
        tflite: the network whose bytes it must give.
        sources, includes, defines: what the compiler takes.
        marked_sources, marked_defines: the same, but with a mark after each layer's work.
        layers: in the order of their marks.
        in_order: inputs `[n, ...]` as the file stores them, in the order the program takes their values.
        facts: of the record's detail.
    """

    engine: str
    tflite: Path
    sources: tuple[Path, ...]
    includes: tuple[Path, ...]
    defines: tuple[str, ...]
    marked_sources: tuple[Path, ...]
    marked_defines: tuple[str, ...]
    layers: tuple[CompiledLayer, ...]
    in_order: Callable[[NDArray[Any]], NDArray[Any]]
    facts: dict[str, Any]


@dataclass(frozen=True)
class NetworkProgram:
    """The programs around one network; they are built in `folder`."""

    request: BenchRequest
    path: Path
    code: NetworkCode
    folder: Path

    def bare(self) -> tuple[qemu.Image, int]:
        """A program of start-up code and network alone, and its deepest stack in bytes."""
        image = self._build("bare", self.code.sources, self.code.defines)
        request = self.request
        return image, qemu.stack_bytes_of(request.device, image.path, request.timeout_s, self.folder)

    def check(self, stored: NDArray[Any], expected: NDArray[Any]) -> NDArray[np.float64]:
        """Instructions of each clip; inputs `[n, ...]` and outputs `[n, classes]` as the file stores them."""
        printed = self._run_clips(self.code.sources, self.code.defines, stored, expected)
        return np.array(re.findall(r"^clip \d+ (\d+) ", printed, re.MULTILINE), np.float64)

    def layers(self, stored: NDArray[Any], expected: NDArray[Any]) -> NDArray[np.float64]:
        """Median instructions of each layer, counted in a copy of the network that reads the clock after its work."""
        layers = len(self.code.layers)
        printed = self._run_clips(self.code.marked_sources, self.code.marked_defines, stored, expected)
        counts = [int(count) for count in re.findall(r"^layer \d+ \d+ (\d+)$", printed, re.MULTILINE)]
        if len(counts) != len(stored) * layers:
            raise self._cut_short()
        return np.asarray(np.median(np.reshape(counts, (len(stored), layers)), axis=0), np.float64)

    def cycles(self, stored: NDArray[Any]) -> cycles.Counted:
        """What one inference runs, on the first input, for an estimate of its cycles."""
        self._write_clips(stored[:1])
        image = self._build("check", self.code.sources, self.code.defines)
        return cycles.estimate(self.request.device, image.path, self.request.timeout_s)

    def _run_clips(
        self, sources: Sequence[Path], defines: Sequence[str], stored: NDArray[Any], expected: NDArray[Any]
    ) -> str:
        """What the program with the clips prints, whose outputs must be those expected."""
        self._write_clips(stored)
        image = self._build("check", sources, defines)
        printed = qemu.run(self.request.device, image.path, self.request.timeout_s, self.folder)
        answers = re.findall(r"^clip \d+ \d+ ([0-9a-f]*)$", printed, re.MULTILINE)
        if len(answers) != len(expected) or f"all {len(expected)} clips done" not in printed.splitlines():
            raise self._cut_short()
        outputs = np.stack([np.frombuffer(bytes.fromhex(answer), np.int8) for answer in answers])
        check_exact(self.request.device, self.path, expected, outputs)
        return printed

    def _write_clips(self, stored: NDArray[Any]) -> None:
        clips = self.code.in_order(stored).reshape(len(stored), -1)
        rows = ",\n".join("{" + ",".join(str(value) for value in clip) + "}" for clip in clips)
        size = clips.shape[1]
        text = f"#define CLIPS {len(clips)}\nstatic int8_t clips[CLIPS][{size}] BOARD_VECTORS = {{\n{rows}\n}};\n"
        write_text(self.folder / "clips.h", text)

    def _build(self, main: str, sources: Sequence[Path], defines: Sequence[str]) -> qemu.Image:
        return qemu.build(
            self.request.device,
            [share_folder("export") / "boards" / f"{main}_{self.code.engine}.c", *sources],
            [self.folder, *self.code.includes],
            self.folder / f"{main}.elf",
            defines,
            qemu.OPTIMISE,
            timeout_s=self.request.timeout_s,
        )

    def _cut_short(self) -> CheckFailedError:
        return CheckFailedError(
            f"device {self.request.device}: {self.path.name} ended before it had given all outputs; nothing was "
            "measured."
        )
