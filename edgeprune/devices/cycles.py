"""Cycles of a Cortex-M4 as an estimate: the blocks that ran, times the cycle table of its reference manual.

Source: Arm, Cortex-M4 Technical Reference Manual (DDI 0439B), section 3.3.1 for the table, 3.3.2 for loads and stores
that overlap, and 7.2.3 for floating point. The memory has no wait states.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgeprune.devices import qemu
from edgeprune.devices.blocks import ExecutedBlock, executed_blocks
from edgeprune.devices.boards import board_of
from edgeprune.devices.tools import require, run_tool
from edgeprune.errors import EdgepruneError
from edgeprune.files import share_folder
from edgeprune.scratch import scratch_folder

BOARDS = ("cortex-m4",)
"""Those whose cycle table is here."""
REFILLS = (1, 2, 3)
"""Cycles in which the pipeline fills after a jump; the manual gives this range and no rule."""
DIVISION = 7
"""Cycles of an integer division, which take 2 to 12 by its operands."""
PUBLISHED_DMIPS = 1.25
"""Dhrystone MIPS a MHz of the Cortex-M4, as Arm publishes them (without inlining)."""
PUBLISHED_CYCLES = 1e6 / (PUBLISHED_DMIPS * 1757)
"""Of an iteration of Dhrystone; the unit is the VAX 11/780 with its 1,757 a second."""
ITERATIONS = 1000
"""Of the loop that is like it."""
_AROUND = ("main", "board_start", "reset_handler")
"""Functions in flash that are no part of what is estimated: the program around it."""


@dataclass(frozen=True)
class Instruction:
    """A line of the disassembly; `function` is the symbol it stands under."""

    mnemonic: str
    operands: str
    function: str
    bytes: int


@dataclass(frozen=True)
class Counted:
    """What ran, all runs together: instructions, cycles without the filling of the pipeline, and jumps."""

    instructions: int
    cycles: int
    jumps: int

    def with_refill(self, refill: int) -> int:
        """Cycles where the pipeline fills in `refill` cycles."""
        return self.cycles + refill * self.jumps


@dataclass(frozen=True)
class Calibration:
    """The refill that brings a loop like Dhrystone nearest to the figure Arm publishes.

    Attributes:
        refill: one of `REFILLS`.
        cycles: of an iteration with it.
        error: (estimated - published) / published.
    """

    refill: int
    cycles: float
    error: float


def estimate(board: str, image: Path, timeout_s: float) -> Counted:
    """Run a program and count everything in flash but `main` and start-up code."""
    return count(executed_blocks(board, image, timeout_s), disassemble(board, image))


def calibrate(board: str, timeout_s: float) -> Calibration:
    """Choose the refill by the loop that is like Dhrystone."""
    counted = count_loop(board, timeout_s)
    cycles = {refill: counted.with_refill(refill) / ITERATIONS for refill in REFILLS}
    refill = min(REFILLS, key=lambda each: abs(cycles[each] - PUBLISHED_CYCLES))
    return Calibration(refill, cycles[refill], cycles[refill] / PUBLISHED_CYCLES - 1)


def count_loop(board: str, timeout_s: float) -> Counted:
    """Build and run `ITERATIONS` of the loop of `calibration.c`, with the compiler's options of every figure."""
    with scratch_folder() as folder:
        source = share_folder("export") / "boards" / "calibration.c"
        image = qemu.build(board, [source], [], folder / "loop.elf", (f"ITERATIONS={ITERATIONS}",))
        return estimate(board, image.path, timeout_s)


def disassemble(board: str, image: Path) -> dict[int, Instruction]:
    """The instructions in flash by address, as `objdump` lists them."""
    objdump = require(board_of(board).tools.tool("objdump"), board)
    done = run_tool([objdump, "-d", "-j", ".text", image.absolute()], board, timeout_s=60)
    if done.returncode != 0:
        raise EdgepruneError(f"{image}: cannot be disassembled; build it again.")
    function = ""
    code: dict[int, Instruction] = {}
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        if label := re.match(r"[0-9a-f]+ <(.+)>:$", line):
            function = label[1]
        elif listed := re.match(r" *([0-9a-f]+):\t([0-9a-f ]+)\t(\S+)\t?([^;@]*)", line):
            digits = listed[2].replace(" ", "")
            code[int(listed[1], 16)] = Instruction(listed[3], listed[4].strip(), function, len(digits) // 2)
    return code


def count(blocks: Iterable[ExecutedBlock], code: dict[int, Instruction]) -> Counted:
    """Sum the table over the blocks, each as it lies in memory; what ran before a block is not known."""
    instructions = cycles = jumps = 0
    for block in blocks:
        before, address = None, block.start
        for _ in range(block.instructions):
            instruction = code.get(address)
            if instruction is None or instruction.function in _AROUND:
                break
            instructions += block.runs
            cycles += block.runs * cycles_of(instruction, before)
            before, address = instruction, address + instruction.bytes
        else:
            if before is not None and may_jump(before):
                jumps += block.jumps
    return Counted(instructions, cycles, jumps)


_CONDITION = "(eq|ne|cs|hs|cc|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)?"
_LOAD = re.compile(f"ldr(b|h|sb|sh)?{_CONDITION}")
_STORE = re.compile(f"str(b|h)?{_CONDITION}")
_BRANCH = re.compile(f"(b|bl|bx|blx){_CONDITION}|cbn?z|tb[bh]")
_TABLE = (
    (rf"(ldrd|strd){_CONDITION}", 3),
    (rf"[su]div{_CONDITION}", DIVISION),
    (rf"v(div|sqrt){_CONDITION}", 14),
    (rf"v(f?n?ml[as]|fn?m[as]){_CONDITION}", 3),
    (r"tb[bh]", 2),
)
"""Cycles of mnemonics that take more than one, beside loads and stores."""
_REGISTER = re.compile(r"\b(r\d+|sl|fp|ip|sp|lr|pc)\b")


def cycles_of(instruction: Instruction, before: Instruction | None) -> int:
    """Cycles by the manual's table, without the filling of the pipeline; `before` ran just before it."""
    name = instruction.mnemonic.partition(".")[0]
    if re.match(r"(v?push|v?pop|v?ldm|v?stm)", name):
        return 1 + _listed_words(instruction.operands)
    if name.startswith(("vldr", "vstr")):
        return 3 if instruction.operands.startswith("d") else 2
    if _LOAD.fullmatch(name) or _STORE.fullmatch(name):
        return _single_access(instruction, before)
    return next((cycles for pattern, cycles in _TABLE if re.fullmatch(pattern, name)), 1)


def may_jump(instruction: Instruction) -> bool:
    """Whether the instruction can write the program counter."""
    name = instruction.mnemonic.partition(".")[0]
    if _BRANCH.fullmatch(name):
        return True
    if name.startswith(("pop", "ldm")):
        return "pc" in instruction.operands
    return instruction.operands.startswith("pc,")


def _single_access(instruction: Instruction, before: Instruction | None) -> int:
    """A load takes two cycles, one of which overlaps with a load before it, unless that one loads the address.

    A store with an immediate offset takes one. An address that the instruction before has computed takes one more.
    """
    address = instruction.operands.partition("[")[2].partition("]")[0]
    registers = set(_REGISTER.findall(address))
    store = instruction.mnemonic.startswith("str")
    cycles = 1 if store and len(registers) == 1 else 2
    if before is None:
        return cycles
    written = _REGISTER.match(before.operands)
    feeds = written is not None and written[0] in registers
    if _LOAD.fullmatch(before.mnemonic.partition(".")[0]):
        return cycles if feeds else 1
    return cycles + (feeds and _computes(before))


def _computes(instruction: Instruction) -> bool:
    """Whether an instruction is data processing, which writes its first operand."""
    return not re.match(r"(v|str|ldr|ldm|stm|push|pop|cmp|cmn|tst|teq|cb|it|b\w{0,3}$)", instruction.mnemonic)


def _listed_words(operands: str) -> int:
    """Words of a register list such as `{r4, r6-r8, lr}` or `{d8-d9}`."""
    names = {"sl": "r10", "fp": "r11", "ip": "r12", "sp": "r13", "lr": "r14", "pc": "r15"}
    words = 0
    for part in operands.partition("{")[2].partition("}")[0].split(","):
        first, _, last = (names.get(end.strip(), end.strip()) for end in part.partition("-"))
        registers = int(last[1:]) - int(first[1:]) + 1 if last else 1
        words += registers * (2 if first.startswith("d") else 1)
    return words
