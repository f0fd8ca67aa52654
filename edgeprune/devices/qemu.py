"""Building bare-metal programs for Cortex-M boards, listing their sections, and running them in QEMU."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeprune.devices.tools import last_line, require, run_tool
from edgeprune.errors import CheckFailedError, EdgepruneError, unknown_name
from edgeprune.files import share_folder

BUILD_TIMEOUT_S = 300.0
COMPILER, SIZE, EMULATOR = "arm-none-eabi-gcc", "arm-none-eabi-size", "qemu-system-arm"
OPTIMISE = "-O2"
"""The compiler's optimisation for every figure."""


@dataclass(frozen=True)
class Board:
    """A board that QEMU emulates; its memories are in `export/cortex_m/<name>.ld`.

    Attributes:
        name: on the command line, and the compiler's name of its processor.
        machine: QEMU's name for it.
        fpu: the compiler's name of its floating-point unit.
        timer: address of the timer that counts instructions.
        timer_irq: interrupt of that timer.
        tick_ns: nanoseconds of emulated time of one tick.
    """

    name: str
    machine: str
    fpu: str
    description: str
    timer: int = 0x40000000
    timer_irq: int = 8
    tick_ns: int = 40

    @property
    def options(self) -> tuple[str, ...]:
        """Compiler options of the processor, and the timer's constants for `board.c`."""
        processor = (f"-mcpu={self.name}", "-mthumb", "-mfloat-abi=hard", f"-mfpu={self.fpu}")
        timer = (f"-DBOARD_TIMER=0x{self.timer:x}u", f"-DBOARD_TIMER_IRQ={self.timer_irq}")
        return (*processor, *timer, f"-DBOARD_TICK_NS={self.tick_ns}")


BOARDS = {
    board.name: board
    for board in (
        Board("cortex-m4", "mps2-an386", "fpv4-sp-d16", "Arm MPS2 AN386, Cortex-M4F"),
        Board("cortex-m7", "mps2-an500", "fpv5-d16", "Arm MPS2 AN500, Cortex-M7F"),
        Board("cortex-m33", "mps2-an505", "fpv5-sp-d16", "Arm MPS2 AN505, Cortex-M33F", 0x50000000, 3, 50),
    )
}
"""Boards by their name on the command line."""


@dataclass(frozen=True)
class Image:
    """A built ELF file and the sizes of its sections, without the test around the code (`.test*`) and the stack.

    Attributes:
        text_bytes: code and interrupt vectors.
        rodata_bytes: constants.
        data_bytes: variables with a value of their own, which take as much flash as RAM.
        bss_bytes: variables that begin at zero.
    """

    path: Path
    text_bytes: int
    rodata_bytes: int
    data_bytes: int
    bss_bytes: int

    @property
    def flash_bytes(self) -> int:
        """Code, constants and initial values of variables."""
        return self.text_bytes + self.rodata_bytes + self.data_bytes

    @property
    def ram_bytes(self) -> int:
        """Variables, without the stack."""
        return self.data_bytes + self.bss_bytes


def board_of(name: str) -> Board:
    if name not in BOARDS:
        raise unknown_name("device", name, BOARDS)
    return BOARDS[name]


def build(
    board: str,
    sources: Sequence[Path],
    includes: Sequence[Path],
    out: Path,
    defines: Sequence[str] = (),
    optimise: str = OPTIMISE,
    timeout_s: float = BUILD_TIMEOUT_S,
) -> Image:
    """Compile and link a program with the board's start-up code; unused functions are left out.

    `defines` are macros, as `NAME` or `NAME=VALUE`. The folder of `board.h` is always among the includes.
    """
    folder = share_folder("export") / "cortex_m"
    options = [*board_of(board).options, *optimise.split(), "-std=c11", "-Wall", "-ffunction-sections"]
    options += ["-fdata-sections", "-fno-common", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables"]
    command: list[str | Path] = [
        require(COMPILER, board),
        *options,
        "-nostartfiles",
        *(f"-D{name}" for name in defines),
    ]
    for include in (folder, *includes):
        command += ["-I", include.absolute()]
    command += [source.absolute() for source in (folder / "startup.c", folder / "board.c", *sources)]
    command += ["-T", f"{board}.ld", "-L", folder.absolute(), "-Wl,--gc-sections", "-lm", "-o", out.absolute()]
    done = run_tool(command, board, timeout_s, cwd=out.parent)
    if done.returncode != 0:
        too_large = b"overflowed" in done.stderr or b"will not fit" in done.stderr
        advice = "the program is too large for the board, prune more" if too_large else "check the sources"
        raise EdgepruneError(f"device {board}: {COMPILER} failed ({_first_error(done.stderr)}); {advice}.")
    return image_of(board, out)


def run(board: str, image_path: Path, timeout_s: float, cwd: Path | None = None) -> str:
    """The output of a program that ends with code 0.

    Every instruction takes 64 ns of emulated time, so the board's timer counts instructions.
    """
    machine = board_of(board).machine
    command = [require(EMULATOR, board), "-M", machine, "-nographic", "-monitor", "none", "-serial", "none"]
    image_of(board, image_path)  # the emulator would run any file
    command += ["-semihosting-config", "enable=on,target=native", "-icount", "shift=6"]
    command += ["-kernel", str(image_path.absolute())]
    done = run_tool(command, board, timeout_s, cwd=cwd)
    if done.returncode == 0:
        return done.stdout.decode("utf-8", "replace")
    reason = last_line(done.stderr)
    if reason.startswith(EMULATOR):
        raise EdgepruneError(f"device {board}: {reason}; install another version of it.")
    # A processor that faults in its fault handler stops QEMU, which then lists registers.
    fatal = re.search(rb"^qemu: fatal: (.*)$", done.stderr, re.MULTILINE)
    reason = last_line(fatal[1] if fatal else done.stdout or done.stderr)
    raise CheckFailedError(
        f"device {board}: {image_path.name} ended with code {done.returncode} ({reason}); nothing was measured."
    )


def versions(board: str) -> dict[str, str]:
    """Versions of compiler and emulator, as they print them."""
    lines = {}
    for name, program in (("compiler", COMPILER), ("emulator", EMULATOR)):
        done = run_tool([require(program, board), "--version"], board, timeout_s=30)
        lines[name] = done.stdout.decode("utf-8", "replace").partition("\n")[0].strip()
    return lines


def image_of(board: str, path: Path) -> Image:
    """Sizes of an ELF file's sections, as `arm-none-eabi-size -A` lists them."""
    if not path.is_file():
        raise EdgepruneError(f"{path}: cannot be read; build it again.")
    done = run_tool([require(SIZE, board), "-A", path.absolute()], board, timeout_s=30)
    listed = done.stdout.decode("utf-8", "replace")
    sizes = {name: int(size) for name, size in re.findall(r"^(\.\w+) +(\d+) +\d+$", listed, re.MULTILINE)}
    if done.returncode or ".text" not in sizes:
        raise EdgepruneError(f"{path}: is no program for a board; build it again.")
    return Image(path, *(sizes.get(name, 0) for name in (".text", ".rodata", ".data", ".bss")))


def _first_error(errors: bytes) -> str:
    """The first line of compiler or linker that is an error."""
    lines = errors.decode("utf-8", "replace").splitlines()
    marks = ("error:", "undefined reference", "overflowed", "multiple definition", "will not fit")
    wrong = (line for line in lines if any(mark in line for mark in marks))
    return next(wrong, last_line(errors)).strip().rstrip(".")
