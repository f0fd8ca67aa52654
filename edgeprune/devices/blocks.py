"""The blocks of instructions that an emulated program runs, counted by a plugin of QEMU's translator."""

from dataclasses import dataclass
from pathlib import Path

from edgeprune.devices import qemu
from edgeprune.devices.tools import last_line, require, run_tool
from edgeprune.errors import EdgepruneError
from edgeprune.files import share_folder
from edgeprune.scratch import scratch_folder

_BUILD_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class ExecutedBlock:
    """Instructions that follow each other in memory and are left only after the last one.

    Attributes:
        start: address of the first one.
        instructions: their number.
        runs: how often they ran.
        jumps: runs after which the next instruction in memory was not the next to run.
    """

    start: int
    instructions: int
    runs: int
    jumps: int


def executed_blocks(board: str, image: Path, timeout_s: float) -> list[ExecutedBlock]:
    """Run a program in QEMU and count its blocks; a block may be listed in several parts.

    Raises:
        EdgepruneError: this computer has no compiler to build the plugin with, or its QEMU takes none.
    """
    with scratch_folder() as folder:
        plugin, listed = folder / "blocks.so", folder / "blocks.txt"
        source = share_folder("export") / "boards" / "blocks.c"
        command: list[str | Path] = [require("gcc", board), "-std=c11", "-O2", "-shared", "-fPIC", source, "-o", plugin]
        done = run_tool(command, board, _BUILD_TIMEOUT_S)
        if done.returncode != 0:
            reason = last_line(done.stderr)
            raise EdgepruneError(f"device {board}: QEMU's plugin cannot be built here ({reason}); use gcc on Linux.")
        qemu.run(board, image, timeout_s, options=("-plugin", f"{plugin},out={listed}"))
        lines = listed.read_text(encoding="ascii").splitlines()
    return [ExecutedBlock(*(int(word) for word in line.split())) for line in lines]
