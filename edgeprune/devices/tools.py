"""Running the programs that devices need: located or named with the package to install, always with a time limit."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from edgeprune.errors import EdgepruneError

PACKAGES = {
    "arm-none-eabi-gcc": "gcc-arm-none-eabi and libnewlib-arm-none-eabi",
    "arm-none-eabi-size": "binutils-arm-none-eabi",
    "arm-none-eabi-objdump": "binutils-arm-none-eabi",
    "riscv64-unknown-elf-gcc": "gcc-riscv64-unknown-elf and picolibc-riscv64-unknown-elf",
    "riscv64-unknown-elf-size": "binutils-riscv64-unknown-elf",
    "qemu-system-riscv32": "qemu-system-misc",
    "ssh": "openssh-client",
}
"""Debian packages of programs, where they have another name."""


_ALTERNATIVES = {"chromium": ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")}
"""Programs that do the same under other names."""
_VARIABLES = {"chromium": "EDGEPRUNE_CHROMIUM"}
"""Environment: names a program that is not on the search path."""


def find_program(program: str) -> str | None:
    """Path of a program, or of one that does the same; None where there is none."""
    named = os.environ.get(_VARIABLES.get(program, ""))
    names = (named,) if named else _ALTERNATIVES.get(program, (program,))
    return next((path for path in map(shutil.which, names) if path), None)


def require(program: str, device: str) -> str:
    """Path of a program on the search path."""
    path = find_program(program)
    if path is None:
        package = PACKAGES.get(program, program)
        raise EdgepruneError(f"device {device}: needs {program}, which is not installed; install {package}.")
    return path


def run_tool(
    command: Sequence[str | Path], device: str, timeout_s: float, cwd: Path | None = None, stdin: bytes | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end, whatever its exit code; no shell sees the arguments."""
    words = [str(word) for word in command]
    try:
        return subprocess.run(
            words,
            cwd=cwd,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        late = f"{Path(words[0]).name} gave no answer in {timeout_s:g} s and was stopped"
        raise EdgepruneError(f"device {device}: {late}; check the device or raise --timeout.") from error
    except OSError as error:
        raise EdgepruneError(f"device {device}: {words[0]} cannot be run ({error.strerror}).") from error


def child_environment() -> dict[str, str]:
    """Environment of a child Python process that finds the same packages, wherever it is started from."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(part or os.getcwd() for part in sys.path)}


def last_line(output: bytes) -> str:
    """The last line a program printed, for a message about its failure."""
    lines = output.decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip().rstrip(".") if lines else "it said nothing"
