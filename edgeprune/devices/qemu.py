"""Building bare-metal programs for boards, listing their sections, and running them in QEMU."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeprune.devices.boards import Board, board_of
from edgeprune.devices.tools import last_line, require, run_tool
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.files import share_folder

BUILD_TIMEOUT_S = 300.0
OPTIMISE = "-O2"
"""The compiler's optimisation for every figure."""
NS_OF_INSTRUCTION = 64
"""Emulated time of an instruction, by `-icount shift=6`."""


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
    target = board_of(board)
    folder = share_folder("export") / "boards"
    options = [*target.options, *optimise.split(), "-std=c11", "-Wall", "-ffunction-sections"]
    options += ["-fdata-sections", "-fno-common", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables"]
    command: list[str | Path] = [
        require(target.tools.compiler, board),
        *options,
        "-nostartfiles",
        *(f"-D{name}" for name in defines),
    ]
    for include in (folder, *includes):
        command += ["-I", include.absolute()]
    command += [folder.absolute() / name for name in target.tools.sources]
    command += [source.absolute() for source in sources]
    command += ["-T", f"{board}.ld", "-L", folder.absolute(), "-Wl,--gc-sections", "-lm", "-o", out.absolute()]
    done = run_tool(command, board, timeout_s, cwd=out.parent)
    if done.returncode != 0:
        raise _build_failed(target, done.stderr)
    return image_of(board, out)


def _build_failed(board: Board, errors: bytes) -> EdgepruneError:
    """The error of a compiler or linker in one sentence."""
    text = errors.decode("utf-8", "replace")
    if over := re.search(r"region `(FLASH|RAM)' overflowed by (\d+) bytes", text):
        memory = "flash" if over[1] == "FLASH" else "RAM"
        lacking = f"the program needs {int(over[2]):,} B more {memory} than there is ({board.description})"
        return EdgepruneError(f"device {board.name}: {lacking}; prune more, or use a larger board.")
    return EdgepruneError(
        f"device {board.name}: {board.tools.compiler} failed ({_first_error(text)}); check the sources."
    )


def run(board: str, image_path: Path, timeout_s: float, cwd: Path | None = None, options: Sequence[str] = ()) -> str:
    """The output of a program that ends with code 0; `options` are more of QEMU's.

    Every instruction takes 64 ns of emulated time, so the board's clock counts instructions.
    """
    target = board_of(board)
    emulator = target.tools.emulator
    program = require(emulator, board)
    image_of(board, image_path)  # the emulator would run any file
    command = [program, *target.machine, "-nographic", "-monitor", "none", "-serial", "none"]
    command += ["-semihosting-config", "enable=on,target=native", "-icount", "shift=6", *options]
    command += [word.replace("{}", _quoted(target, image_path)) for word in target.load]
    done = run_tool(command, board, timeout_s, cwd=cwd)
    if done.returncode == 0:
        return done.stdout.decode("utf-8", "replace")
    reason = last_line(done.stderr)
    if reason.startswith(emulator):
        raise EdgepruneError(f"device {board}: {reason}; install another version of it.")
    # A processor that faults in its fault handler stops QEMU, which then lists registers.
    fatal = re.search(rb"^qemu: fatal: (.*)$", done.stderr, re.MULTILINE)
    reason = last_line(fatal[1] if fatal else done.stdout or done.stderr)
    if target.fixed_memory and (stack := re.search(r"the stack of (\d+) bytes overflowed", reason)):
        left = f"the variables leave {int(stack[1]):,} B of RAM for the stack, which needs more ({target.description})"
        raise EdgepruneError(f"device {board}: {left}; prune more, or use a larger board.")
    raise CheckFailedError(
        f"device {board}: {image_path.name} ended with code {done.returncode} ({reason}); nothing was measured."
    )


def stack_bytes_of(board: str, image_path: Path, timeout_s: float, cwd: Path | None = None) -> int:
    """The deepest stack of a program that ends with `board_print_stack`."""
    line = re.search(r"^stack (\d+)$", run(board, image_path, timeout_s, cwd), re.MULTILINE)
    if line is None:
        ended = f"{image_path.name} ended before it had given its stack"
        raise CheckFailedError(f"device {board}: {ended}; nothing was measured.")
    return int(line[1])


def _quoted(board: Board, image: Path) -> str:
    """The path of a program as QEMU's option takes it: a comma in a list of settings is doubled."""
    path = str(image.absolute())
    return path if board.load[1] == "{}" else path.replace(",", ",,")


def versions(board: str) -> dict[str, str]:
    """Versions of compiler and emulator, as they print them."""
    tools = board_of(board).tools
    lines = {}
    for name, program in (("compiler", tools.compiler), ("emulator", tools.emulator)):
        done = run_tool([require(program, board), "--version"], board, timeout_s=30)
        lines[name] = done.stdout.decode("utf-8", "replace").partition("\n")[0].strip()
    return lines


def image_of(board: str, path: Path) -> Image:
    """Sizes of an ELF file's sections, as the toolchain's `size -A` lists them."""
    if not path.is_file():
        raise EdgepruneError(f"{path}: cannot be read; build it again.")
    size = board_of(board).tools.tool("size")
    done = run_tool([require(size, board), "-A", path.absolute()], board, timeout_s=30)
    listed = done.stdout.decode("utf-8", "replace")
    sizes = {name: int(size) for name, size in re.findall(r"^(\.\w+) +(\d+) +\d+$", listed, re.MULTILINE)}
    if done.returncode or ".text" not in sizes:
        raise EdgepruneError(f"{path}: is no program for a board; build it again.")
    return Image(path, *(sizes.get(name, 0) for name in (".text", ".rodata", ".data", ".bss")))


def _first_error(errors: str) -> str:
    """The first line of compiler or linker that is an error."""
    marks = ("error:", "undefined reference", "multiple definition", "incompatible")
    lines = (line for line in errors.splitlines() if not line.startswith("collect2"))
    wrong = (line for line in lines if any(mark in line for mark in marks))
    return next(wrong, last_line(errors.encode())).strip().rstrip(".")
