"""Bare-metal programs for Cortex-M boards that QEMU emulates: built, weighed section by section, run to their end."""

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeprune.devices.tools import last_line, require, run_tool
from edgeprune.errors import CheckFailedError, EdgepruneError, unknown_name
from edgeprune.files import share_folder

BUILD_TIMEOUT_S = 300.0
COMPILER, EMULATOR = "arm-none-eabi-gcc", "qemu-system-arm"
OPTIMISE = "-O2"
"""Optimisation of the compiler that every figure is for."""


@dataclass(frozen=True)
class Board:
    """A board that QEMU emulates.

    Attributes:
        machine: QEMU's name for it.
        cpu_flags: compiler options of its processor and floating-point unit.
        timer: address of the timer that counts instructions.
        timer_irq: interrupt of that timer.
        tick_ns: nanoseconds of emulated time a tick of it takes.
        description: for records.

    Its memories are in `export/cortex_m/<name>.ld`.
    """

    name: str
    machine: str
    cpu_flags: tuple[str, ...]
    timer: int
    timer_irq: int
    tick_ns: int
    description: str

    @property
    def options(self) -> tuple[str, ...]:
        """Compiler options of the processor, and what `board.c` must know of the timer."""
        timer = (f"-DBOARD_TIMER=0x{self.timer:x}u", f"-DBOARD_TIMER_IRQ={self.timer_irq}")
        return (*self.cpu_flags, *timer, f"-DBOARD_TICK_NS={self.tick_ns}")


def _board(
    name: str, machine: str, fpu: str, description: str, timer: int = 0x40000000, timer_irq: int = 8, tick_ns: int = 40
) -> tuple[str, Board]:
    flags = (f"-mcpu={name}", "-mthumb", "-mfloat-abi=hard", f"-mfpu={fpu}")
    return name, Board(name, machine, flags, timer, timer_irq, tick_ns, description)


BOARDS: dict[str, Board] = dict(
    [
        _board("cortex-m4", "mps2-an386", "fpv4-sp-d16", "Arm MPS2 AN386, Cortex-M4F"),
        _board("cortex-m7", "mps2-an500", "fpv5-d16", "Arm MPS2 AN500, Cortex-M7F"),
        _board("cortex-m33", "mps2-an505", "fpv5-sp-d16", "Arm MPS2 AN505, Cortex-M33F", 0x50000000, 3, 50),
    ]
)
"""Boards by their name on the command line."""


@dataclass(frozen=True)
class Image:
    """A built program.

    Attributes:
        path: the ELF file.
        text_bytes: code and interrupt vectors.
        rodata_bytes: constants.
        data_bytes: variables with a value of their own, which take as much flash as RAM.
        bss_bytes: variables that begin at zero.

    The test around the code and its vectors (sections `.test*`) and the stack are in none of these.
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


def board_of(name: str) -> Board:
    """The board of a device.

    Raises:
        EdgepruneError: there is none of that name.
    """
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
    """Compile and link a program with the board's start-up code; what nothing calls is left out.

    Args:
        board: a key of `BOARDS`.
        sources: C files, one of which has `main`.
        includes: folders of headers; that of `board.h` is always among them.
        out: the ELF file to write.
        defines: macros, as `NAME` or `NAME=VALUE`.
        optimise: options for optimisation, such as `-O3`.
        timeout_s: the compiler is cut off after so long.

    Raises:
        EdgepruneError: the compiler is missing, does not take the sources, or took too long.
    """
    found, folder = board_of(board), share_folder("export") / "cortex_m"
    options = [*found.options, *optimise.split(), "-std=c11", "-Wall", "-ffunction-sections", "-fdata-sections"]
    options += ["-fno-common", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables", "-nostartfiles"]
    command: list[str | Path] = [require(COMPILER, board), *options, *(f"-D{name}" for name in defines)]
    for include in (folder, *includes):
        command += ["-I", include.absolute()]
    command += [source.absolute() for source in (folder / "startup.c", folder / "board.c", *sources)]
    command += ["-T", f"{board}.ld", "-L", folder.absolute(), "-Wl,--gc-sections", "-lm", "-o", out.absolute()]
    done = run_tool(command, board, timeout_s, cwd=out.parent)
    if done.returncode != 0:
        raise EdgepruneError(
            f"device {board}: {COMPILER} failed ({_first_error(done.stderr)}); {_advice(done.stderr)}."
        )
    return image_of(out)


def run(board: str, image_path: Path, timeout_s: float, cwd: Path | None = None) -> str:
    """What a program prints, when it ends with code 0.

    Every instruction takes 64 ns of the emulated time, so that the board's timer counts instructions.

    Args:
        board: the board the program was built for.
        image_path: the ELF file.
        timeout_s: a program that has not ended by then is cut off.
        cwd: working folder of the emulator.

    Raises:
        EdgepruneError: the file is none of `build`, the emulator is missing or does not start, or the program hangs.
        CheckFailedError: the program ended with another code; the sentence has its last line.
    """
    machine = board_of(board).machine
    image_of(image_path)  # the emulator would run any file
    command = [require(EMULATOR, board), "-M", machine, "-nographic", "-monitor", "none", "-serial", "none"]
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
    said = last_line(fatal[1] if fatal else done.stdout or done.stderr)
    raise CheckFailedError(
        f"device {board}: {image_path.name} ended with code {done.returncode} ({said}); nothing was measured."
    )


def versions(board: str) -> dict[str, str]:
    """First lines of what compiler and emulator say of themselves.

    Raises:
        EdgepruneError: one of them is missing.
    """
    found = {}
    for name, program in (("compiler", COMPILER), ("emulator", EMULATOR)):
        done = run_tool([require(program, board), "--version"], board, timeout_s=30)
        found[name] = done.stdout.decode("utf-8", "replace").partition("\n")[0].strip()
    return found


def image_of(path: Path) -> Image:
    """Sizes of an ELF file's sections.

    Raises:
        EdgepruneError: the file cannot be read or is no 32-bit ELF file of ours.
    """
    try:
        sizes = dict(_sections(path.read_bytes()))
        return Image(path, sizes[".text"], sizes.get(".rodata", 0), sizes.get(".data", 0), sizes.get(".bss", 0))
    except OSError as error:
        raise EdgepruneError(f"{path}: cannot be read ({error.strerror}); build it again.") from error
    except (struct.error, ValueError, LookupError) as error:
        raise EdgepruneError(f"{path}: is no program for a board; build it again.") from error


def _sections(elf: bytes) -> Iterator[tuple[str, int]]:
    """Name and bytes of each section (ELF32, little-endian: System V ABI, chapter 4)."""
    if elf[:6] != b"\x7fELF\x01\x01":
        raise ValueError("not ELF32")
    (table,) = struct.unpack_from("<I", elf, 32)
    entry, count, names_at = struct.unpack_from("<3H", elf, 46)
    headers = [struct.unpack_from("<10I", elf, table + number * entry) for number in range(count)]
    names = headers[names_at][4]
    for name, *_, size, _, _, _, _ in headers:
        start = names + name
        yield elf[start : elf.index(b"\0", start)].decode("ascii"), size


def _advice(said: bytes) -> str:
    too_large = b"overflowed" in said or b"will not fit" in said
    return "the program is too large for the board, prune more" if too_large else "check the sources"


def _first_error(said: bytes) -> str:
    """The first line of compiler or linker that tells of an error."""
    lines = said.decode("utf-8", "replace").splitlines()
    marks = ("error:", "undefined reference", "overflowed", "multiple definition", "will not fit")
    wrong = (line for line in lines if any(mark in line for mark in marks))
    return next(wrong, last_line(said)).strip().rstrip(".")
