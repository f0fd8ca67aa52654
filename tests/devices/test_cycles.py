"""The estimate of cycles: sums of the manual's table, blocks counted in QEMU, and a loop with a published figure."""

import shutil
from pathlib import Path

import pytest

from edgeprune.devices import cycles, qemu
from edgeprune.devices.blocks import ExecutedBlock, executed_blocks
from edgeprune.devices.cycles import Instruction, calibrate, count, cycles_of, disassemble, estimate

needs_board = pytest.mark.skipif(
    not all(map(shutil.which, ("arm-none-eabi-gcc", "qemu-system-arm", "gcc"))),
    reason="needs gcc-arm-none-eabi, libnewlib-arm-none-eabi, qemu-system-arm and gcc",
)


def _code(text: str) -> dict[int, Instruction]:
    lines = [line.strip().partition(" ") for line in text.split(";")]
    return {4 * place: Instruction(name, rest, "f", 4) for place, (name, _, rest) in enumerate(lines)}


def _cycles(text: str) -> int:
    code = _code(text)
    return count([ExecutedBlock(0, len(code), 1, 0)], code).cycles


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # examples of the manual's section 3.3.2
        ("ldr r0, [r1]; ldr r1, [r2]", 3),
        ("ldr r0, [r1, r2]; str r0, [r3, #20]", 3),
        ("ldr r0, [r1, r2]; str r1, [r3, r2]", 3),
        ("ldr r0, [r1, r5]; ldr r1, [r2]; ldr r2, [r3, #4]", 4),
        ("ldmia r0!, {r1, r2, r3}", 4),
        ("stmdb sp!, {r4, r5, r6, r7, r8, r9, sl, lr}", 9),
        ("push {r4-r8, sl, lr}", 8),
        ("ldrd r0, r1, [r2]", 3),
        # a loaded address is waited for, and a computed one a cycle longer
        ("ldr r0, [r1]; ldr r2, [r0]", 4),
        ("add r1, r2; ldr r0, [r1]", 4),
        ("add r1, r2; ldr r0, [r3]", 3),
        ("cmp r1, r2; ldr r0, [r1]", 3),
        # its table, section 3.3.1, and that of floating point, 7.2.3
        ("str r0, [r1, #4]; str r0, [r1, #8]", 2),
        ("strb r0, [r1, r2]", 2),
        ("smlad r0, r1, r2, r0; smlal r0, r1, r2, r3; mla r0, r1, r2, r3; ssat r0, #8, r0", 4),
        ("ldrsb.w r0, [r1], #1; sxtb16 r2, r3", 3),
        ("vmla.f32 s0, s1, s2; vadd.f32 s0, s1, s2", 4),
        ("vldr s0, [r1]; vldr d0, [r1]; vpush {d8-d9}; vdiv.f32 s0, s1, s2", 2 + 3 + 5 + 14),
        ("it eq; moveq r0, r1; b.n 40", 3),
    ],
)
def test_the_table(text, expected) -> None:
    assert _cycles(text) == expected


def test_the_pipeline_fills_after_jumps_alone() -> None:
    code = _code("subs r0, #1; bne.n 0; nop")
    loop, end = ExecutedBlock(0, 2, 10, 9), ExecutedBlock(8, 1, 1, 1)  # the last jump is that of what ran next
    counted = count([loop, end], code)
    assert (counted.instructions, counted.cycles, counted.jumps) == (21, 21, 9)
    assert counted.with_refill(3) == 21 + 27
    assert count([ExecutedBlock(0, 2, 1, 1)], _code("nop; pop {r4, pc}")).jumps == 1
    assert count([ExecutedBlock(0, 2, 1, 1)], _code("nop; pop {r4, r5}")).jumps == 0
    around = {0: Instruction("bl", "f", "main", 4)}
    assert count([ExecutedBlock(0, 1, 5, 5), ExecutedBlock(400, 1, 5, 5)], around) == cycles.Counted(0, 0, 0)


@needs_board
def test_blocks_counted_in_the_emulator(tmp_path: Path) -> None:
    """A loop of four instructions, whose load takes two cycles: 100 turns, 99 jumps back and one to return."""
    source = tmp_path / "main.c"
    source.write_text(
        """#include "board.h"
        __attribute__((naked, noinline)) static void loop(void)
        {
            __asm__ volatile("mov r0, #100\\n 1: ldr r1, [sp]\\n subs r0, #1\\n nop\\n bne 1b\\n bx lr\\n");
        }
        int main(void) { loop(); return 0; }""",
        encoding="utf-8",
    )
    image = qemu.build("cortex-m4", [source], [], tmp_path / "x.elf")
    counted = estimate("cortex-m4", image.path, 60)
    assert counted == cycles.Counted(instructions=402, cycles=502, jumps=100)
    code = disassemble("cortex-m4", image.path)
    (start,) = (
        address for address, each in code.items() if each.mnemonic.startswith("mov") and each.function == "loop"
    )
    runs = {block.start: block.runs for block in executed_blocks("cortex-m4", image.path, 60)}
    assert runs[start] == 1
    assert cycles_of(code[start], None) == 1


@needs_board
def test_a_loop_like_dhrystone_takes_what_arm_publishes() -> None:
    """1.25 DMIPS/MHz are 455 cycles an iteration."""
    calibration = calibrate("cortex-m4", 60)
    assert calibration.refill in cycles.REFILLS
    assert calibration.cycles == pytest.approx(1e6 / 1757 / 1.25, rel=0.15)
    assert calibration.error == pytest.approx(calibration.cycles / 455.3 - 1, abs=1e-3)
