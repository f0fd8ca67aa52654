"""Instructions, flash and RAM of the log-mel front-end on an emulated Cortex-M, where QEMU runs its C code."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeprune.data.normalisation import Normalisation
from edgeprune.devices import qemu
from edgeprune.devices.record import Kind
from edgeprune.devices.request import TIMEOUT_S
from edgeprune.errors import CheckFailedError
from edgeprune.files import share_folder, write_text
from edgeprune.firmware.frontend import FrontendFiles, write_frontend
from edgeprune.recipe import LogMel
from edgeprune.scratch import scratch_folder

HOPS = 20
"""Hops of noise on which instructions are counted; the counts hardly depend on the signal."""
_PROGRAMS = share_folder("export") / "c" / "board"


@dataclass(frozen=True)
class FrontendInstructions:
    """The cost of a front-end on an emulated processor.

    Attributes:
        instructions_per_hop: median over the hops; from 16-bit samples to the ring of frames. Not cycles.
        least, most: over the hops.
        instructions_per_patch: of copying the network's input out of the ring.
        hops: number of hops counted.
        flash_bytes: code and tables of a bare program, without start-up code.
        ram_bytes: its variables, which are the state alone.
        stack_bytes: its deepest stack.
    """

    board: str
    kind: Kind
    instructions_per_hop: float
    least: int
    most: int
    instructions_per_patch: int
    hops: int
    flash_bytes: int
    ram_bytes: int
    stack_bytes: int


@dataclass(frozen=True, eq=False)
class FrontendRun:
    """The output of the front-end for a signal, and its instructions.

    Attributes:
        instructions: `[hops]`, of the pushes that completed a frame.
        log_mels: `[frames, mels]`, before normalisation.
        patch: the last frames of the clip as the network takes them, flat: `[mels, frames]` or `[frames, mels]`.
        patch_instructions: of copying it out.
    """

    instructions: NDArray[np.int64]
    log_mels: NDArray[np.float32]
    patch: NDArray[np.int8] | NDArray[np.float32]
    patch_instructions: int


def instructions_per_hop(
    frontend: LogMel | FrontendFiles, board: str = "cortex-m4", timeout_s: float = TIMEOUT_S
) -> FrontendInstructions:
    """Build the front-end for a board, run it on noise in the emulator, and count.

    Settings are counted as for an int8 network that takes `[mels, frames]`. Flash and RAM are those of a bare program
    beyond the same program without the front-end.
    """
    with scratch_folder() as folder:
        if isinstance(frontend, LogMel):
            plain = Normalisation.none(frontend.mels)
            files = write_frontend(frontend, plain, folder / "frontend", layout="mels_frames", quantisation=(0.1, 0))
        else:
            files = frontend
        samples = files.spec.window_samples + HOPS * files.spec.hop_samples
        noise = np.random.default_rng(0).integers(-8192, 8192, samples).astype(np.int16)
        run = run_frontend(files, noise, board, timeout_s)
        sources = [*files.sources, _PROGRAMS / "frontend_bare.c"]
        bare = qemu.build(board, sources, [files.folder], folder / "bare.elf")
        empty = qemu.build(board, sources, [files.folder], folder / "empty.elf", defines=("EMPTY",))
        stack_bytes = qemu.stack_bytes_of(board, bare.path, timeout_s, folder)
    return FrontendInstructions(
        board=board,
        kind="emulated",
        instructions_per_hop=float(np.median(run.instructions)),
        least=int(run.instructions.min()),
        most=int(run.instructions.max()),
        instructions_per_patch=run.patch_instructions,
        hops=len(run.instructions),
        flash_bytes=bare.flash_bytes - empty.flash_bytes,
        ram_bytes=bare.ram_bytes - empty.ram_bytes,
        stack_bytes=stack_bytes,
    )


def run_frontend(files: FrontendFiles, signal: NDArray[np.int16], board: str, timeout_s: float) -> FrontendRun:
    """Run the front-end in the emulator on a whole clip `[samples]`."""
    rows = (signal[start : start + 16] for start in range(0, len(signal), 16))
    values = "\n".join(" ".join(f"{value}," for value in row) for row in rows)
    header = f"#define SAMPLES {len(signal)}\nstatic int16_t signal[SAMPLES] BOARD_VECTORS = {{\n{values}\n}};\n"
    with scratch_folder() as folder:
        write_text(folder / "signal.h", header)
        sources = [*files.sources, _PROGRAMS / "frontend_run.c"]
        image = qemu.build(board, sources, [folder, files.folder], folder / "run.elf")
        lines = [line.split() for line in qemu.run(board, image.path, timeout_s, cwd=folder).splitlines()]
    if not lines or lines[-1] != ["end"]:
        raise CheckFailedError(f"device {board}: the front-end's program ended before its end; nothing was measured.")
    frames = [np.frombuffer(bytes.fromhex(words[1]), "<f4") for words in lines if words[0] == "frame"]
    _, _, patch_instructions, patch = lines[-2]
    return FrontendRun(
        instructions=np.asarray([int(words[2]) for words in lines if words[0] == "push" and words[1] == "1"]),
        log_mels=np.stack(frames),
        patch=np.frombuffer(bytes.fromhex(patch), "int8" if files.quantised else "<f4"),
        patch_instructions=int(patch_instructions),
    )
