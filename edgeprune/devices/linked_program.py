"""What a streaming network takes on a device, read back from the program that is linked for it: RAM, stack, flash."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from edgeprune.audio.layout import Layout
from edgeprune.audio.listen_rules import ListenRules
from edgeprune.data.normalisation import Normalisation
from edgeprune.devices import qemu
from edgeprune.devices.boards import board_of
from edgeprune.devices.request import TIMEOUT_S
from edgeprune.files import share_folder, write_text
from edgeprune.firmware.frontend import write_frontend
from edgeprune.firmware.listening import write_listening
from edgeprune.firmware.stream.compile import plan_stream, write_program
from edgeprune.firmware.stream.plan import Plan
from edgeprune.recipe import LogMel
from edgeprune.scratch import scratch_folder

BOARD = "cortex-m4"
"""The board that budgets are about."""


@dataclass(frozen=True)
class LinkedProgram:
    """The sizes of a linked program.

    Attributes:
        ram_bytes: the network's state, the front-end's where there is one, all other variables, and the deepest stack.
        flash_bytes: code, constants and tables, those of the start-up code and the C library among them.
        stack_bytes: deepest stack of a whole window.
    """

    board: str
    ram_bytes: int
    flash_bytes: int
    stack_bytes: int


def can_link(board: str = BOARD) -> bool:
    """Whether compiler and emulator of the board are installed."""
    tools = board_of(board).tools
    return all(shutil.which(name) for name in (tools.compiler, tools.emulator))


def link_program(
    network: Path | Plan, frontend: LogMel | None = None, layout: Layout = "mels_frames", board: str = BOARD
) -> LinkedProgram:
    """Build a program of a network alone, or with a front-end in one that listens, and run it on one window.

    Args:
        network: an int8 .tflite, or the plan of one.
        layout: of the front-end's patches, as the network takes them.
    """
    plan = plan_stream(network) if isinstance(network, Path) else network
    with scratch_folder() as folder:
        write_program(plan, folder, "net", "network")
        sources, main = [folder / "net.c"], "bare_stream.c"
        if frontend is not None:
            sources, main = [*sources, *_write_listening(plan, frontend, layout, folder)], "bare_listen.c"
        image = qemu.build(board, [share_folder("export") / "boards" / main, *sources], [folder], folder / "bare.elf")
        stack_bytes = qemu.stack_bytes_of(board, image.path, TIMEOUT_S, folder)
    return LinkedProgram(board, image.ram_bytes + stack_bytes, image.flash_bytes, stack_bytes)


def _write_listening(plan: Plan, frontend: LogMel, layout: Layout, folder: Path) -> list[Path]:
    """Write front-end, listening, and the names it calls the network by; returns the .c files."""
    plain = Normalisation.none(frontend.mels)
    takes_frames = plan.network.turned == (layout == "mels_frames")
    ends = [(end.scale, end.zero_point) for end in (plan.network.input, plan.network.output)]
    files = write_frontend(frontend, plain, folder, layout, ends[0], takes_frames)
    labels = [f"class {number}" for number in range(plan.network.output.size)]
    listening = write_listening(ListenRules(), frontend, labels, ends[1], folder)
    names = (share_folder("export") / "c" / "edgeprune_network.h").read_text(encoding="utf-8")
    write_text(folder / "edgeprune_network.h", names.replace("@net@", "net").replace("@NET@", "NET"))
    return [*files.sources, *listening]
