import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edgeprune.devices import qemu
from edgeprune.devices.boards import BOARDS
from edgeprune.errors import CheckFailedError, EdgepruneError

needs_compiler = pytest.mark.skipif(
    not shutil.which("arm-none-eabi-gcc"), reason="needs gcc-arm-none-eabi and libnewlib-arm-none-eabi"
)
needs_board = pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
    reason="needs gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm",
)
needs_riscv = pytest.mark.skipif(
    not (shutil.which("riscv64-unknown-elf-gcc") and shutil.which("qemu-system-riscv32")),
    reason="needs gcc-riscv64-unknown-elf, picolibc-riscv64-unknown-elf and qemu-system-misc",
)
on_all_boards = pytest.mark.parametrize(
    "board", [pytest.param(board, marks=needs_riscv if board == "riscv32" else needs_board) for board in BOARDS]
)

# Three instructions a turn, whatever the compiler thinks of it.
LOOP = """
__attribute__((naked, noinline)) static void loop(uint32_t turns)
{
#ifdef __arm__
    __asm__ volatile(".syntax unified\\n 1: subs r0, #1\\n nop\\n bne 1b\\n bx lr\\n");
#else
    __asm__ volatile("1: addi a0, a0, -1\\n nop\\n bnez a0, 1b\\n ret\\n");
#endif
}
static uint64_t count(uint32_t turns)
{
    const uint64_t start = board_ticks();
    loop(turns);
    return board_ticks() - start;
}
"""


def _build(folder: Path, code: str, board: str = "cortex-m4", **options) -> qemu.Image:
    source = folder / "main.c"
    source.write_text(f'#include "board.h"\n{code}', encoding="utf-8")
    return qemu.build(board, [source], [], folder / "program.elf", **options)


def _run(folder: Path, code: str, board: str = "cortex-m4", timeout_s: float = 60, **options) -> str:
    return qemu.run(board, _build(folder, code, board, **options).path, timeout_s, folder)


@on_all_boards
def test_a_loop_written_in_assembly_takes_the_instructions_counted_by_hand(tmp_path, board) -> None:
    code = f"""{LOOP}
    int main(void)
    {{
        board_print("%U %U", board_instructions(count(1000)), board_instructions(count(1001000)));
        return 0;
    }}"""
    said = _run(tmp_path, code, board)
    short, long = map(int, said.split())
    tick = BOARDS[board].half_ns / 2 / qemu.NS_OF_INSTRUCTION  # in instructions
    assert abs((long - short) - 3_000_000) <= 1 + tick
    assert 3000 <= short < 3100
    assert qemu.run(board, tmp_path / "program.elf", 60) == said  # to the instruction


@on_all_boards
def test_the_count_goes_on_where_the_timer_begins_anew(tmp_path, board) -> None:
    """SysTick has 24 bits: it begins anew every ten million instructions or so, with an interrupt of a few."""
    code = f"""{LOOP}
    int main(void)
    {{
        board_print("%U ", board_instructions(count(15000000)));
        uint64_t last = board_ticks(), furthest = 0;
        for (int i = 0; i < 500000; ++i) {{
            const uint64_t now = board_ticks();
            if (now - last > furthest)
                furthest = now - last;
            last = now;
        }}
        board_print("%U", board_instructions(furthest));
        return 0;
    }}"""
    total, furthest = map(int, _run(tmp_path, code, board).split())
    assert 45_000_000 <= total < 45_000_200
    assert 0 < furthest < 200  # no reading is ahead of the next


@needs_board
@pytest.mark.parametrize("board", [board for board in BOARDS if BOARDS[board].has_dsp])
def test_floating_point_unit_and_dsp_instructions_are_there(tmp_path, board) -> None:
    code = """
    #include <arm_acle.h>
    #include <math.h>
    #if !defined(__ARM_FP) || !defined(__ARM_FEATURE_DSP)
    #error
    #endif
    volatile float x = 2.0f;
    volatile double y = 1.5;
    volatile int32_t a = 0x00030002, b = 0x00050004;
    int main(void)
    {
        board_print("%d %d %d", (int)(sqrtf(x) * 1000), (int)(y * y * 100), __smlad(a, b, 1));
        return 0;
    }"""
    assert _run(tmp_path, code, board) == "1414 225 24"


@on_all_boards
def test_what_is_printed(tmp_path, board) -> None:
    code = r"""
    static const uint8_t bytes[100] = {0, 1, 0x7f, 0x80, 0xff};
    int main(void)
    {
        board_print("%s|%d|%d|%u|%x|%U|%D|%%|", "", -2147483647 - 1, 0, 4294967295u, 0xbeefu, ~0ull, (int64_t)1 << 63);
        board_print_hex(bytes, sizeof bytes);
        board_print("\n100%");
        return 0;
    }"""
    expected = f"|-2147483648|0|4294967295|beef|{2**64 - 1}|{-(2**63)}|%|00017f80ff{'00' * 95}\n100"
    assert _run(tmp_path, code, board) == expected


@on_all_boards
def test_variables_begin_with_their_values(tmp_path, board) -> None:
    code = """
    static int many[50] = {1, 2, 3}, none[1000];
    int main(void)
    {
        int sum = 0;
        for (int i = 0; i < 1000; ++i)
            sum += none[i] != 0;
        board_print("%d %d %d", many[0] + many[1] + many[2], many[49], sum);
        many[0] = none[0] = 1;
        return 0;
    }"""
    assert _run(tmp_path, code, board) == "6 0 0"


@pytest.mark.parametrize(
    "board",
    [pytest.param(name, marks=needs_board) for name in ("cortex-m4", "cortex-m33")]
    + [pytest.param("riscv32", marks=needs_riscv)],
)
def test_faults_end_the_program_with_a_sentence(tmp_path, board) -> None:
    faults = {
        "(void)*(volatile int *)0x90909090;": r"fault: exception [35], .*0x90909090",
        'volatile char much[70000]; much[0] = 1; board_print("%d", much[0]);': r"the stack of 65536 bytes overflowed",
        'board_print("bye\\nwrong 7 of 9\\n"); board_exit(3);': r"ended with code 3 \(wrong 7 of 9\)",
    }
    for statement, said in faults.items():
        with pytest.raises(CheckFailedError, match=said):
            _run(tmp_path, f"int main(void) {{ {statement} return 0; }}", board)


@needs_board
def test_a_processor_that_locks_up_is_an_error(tmp_path) -> None:
    code = """
    int main(void)
    {
        *(volatile uint32_t *)0xE000ED08 = 0x20000000; /* the vector table, where there is none */
        __asm__ volatile("dsb\\n isb\\n udf #0");
        return 0;
    }"""
    with pytest.raises(CheckFailedError, match=r"Lockup|ended with code"):
        _run(tmp_path, code)


@needs_board
def test_a_hang_is_cut_off(tmp_path) -> None:
    with pytest.raises(EdgepruneError, match=r"cortex-m4: qemu-system-arm gave no answer in 1 s"):
        _run(tmp_path, "int main(void) { for (;;) { } }", timeout_s=1)


@needs_board
def test_paths_may_hold_anything(tmp_path) -> None:
    folder = tmp_path / 'it\'s a "b", $(c) é;'
    (folder / "inc, 1").mkdir(parents=True)
    (folder / "inc, 1" / "word.h").write_text('#define WORD "hey"\n', encoding="utf-8")
    (folder / "m, ain.c").write_text(
        '#include "board.h"\n#include "word.h"\nint main(void) { board_print(WORD); return 0; }\n', encoding="utf-8"
    )
    image = qemu.build("cortex-m4", [folder / "m, ain.c"], [folder / "inc, 1"], folder / "x, y.elf")
    assert qemu.run("cortex-m4", image.path, 60, folder) == "hey"


@needs_board
@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "volatile int i; const char big[262144] = {1}; int main(void) { return big[i]; }",
            r"B more flash than .* 256 kB",
        ),
        (
            "volatile char big[16384]; int main(void) { return big[0]; }",
            r"needs 2\d\d B more RAM than there is .* 16 kB",
        ),
        (
            "volatile char big[15000]; int main(void) { volatile char much[2000]; much[0] = big[0]; return much[0]; }",
            r"variables leave 1,368 B of RAM for the stack, which needs more .*; prune more, or use a larger board",
        ),
    ],
)
def test_a_real_memory_is_not_exceeded(tmp_path, code, said) -> None:
    with pytest.raises(EdgepruneError, match=said) as caught:
        _run(tmp_path, code, "cortex-m0")
    assert "\n" not in str(caught.value)


@on_all_boards
def test_the_test_adds_nothing_to_flash(tmp_path, board) -> None:
    """Printing and measuring call nothing that lies in flash, as a 64-bit division would be on a small processor."""
    code = "int main(void) { board_print(0); board_instructions(board_ticks()); return (int)board_stack_bytes(); }"
    image = _build(tmp_path, code, board)
    objdump = BOARDS[board].tools.tool("objdump")
    listed = subprocess.run([objdump, "-t", image.path], capture_output=True, text=True, check=True).stdout
    in_flash = set(re.findall(r" F \.text\s+\w+ (\w+)$", listed, re.MULTILINE))
    started = {"main", "reset_handler", "board_start", "fault_handler", "trap_handler"}
    assert {"main", "board_start"} <= in_flash <= started
    assert (image.data_bytes, image.bss_bytes) == (0, 0)
    assert image.flash_bytes < 300


@needs_compiler
def test_sizes_are_those_of_the_sections(tmp_path) -> None:
    code = """
    static volatile int set[100] = {1}, zero[200];
    static const int constant[300] = {1};
    static int clips[4000] BOARD_VECTORS = {1};
    int unused(int x) { return x * 77; }
    const char also_unused[10000] = "x";
    int main(void) { return set[0] + zero[0] + constant[set[1]] + clips[set[1]]; }
    """
    image = _build(tmp_path, code)
    listed = subprocess.run(["arm-none-eabi-size", "-A", image.path], capture_output=True, text=True, check=True).stdout
    sections = {name: int(size) for name, size in re.findall(r"^(\.\w+)\s+(\d+)", listed, re.MULTILINE)}
    assert image.text_bytes == sections[".text"]
    assert image.rodata_bytes == sections[".rodata"] == 1200
    assert (image.data_bytes, image.bss_bytes) == (sections[".data"], sections[".bss"]) == (400, 800)
    assert image.flash_bytes == image.text_bytes + 1200 + 400
    assert image.text_bytes < 600  # vectors, start-up and main; neither the test's code nor what nothing calls
    assert sections[".test"] > 16000


@on_all_boards
@pytest.mark.parametrize("frame", [1000, 5000])
def test_depth_of_the_stack(tmp_path, board, frame) -> None:
    code = f"""
    __attribute__((noinline)) static void deep(void) {{ volatile char frame[{frame}]; frame[0] = 1; (void)frame[0]; }}
    int main(void) {{ deep(); board_print("%u", (unsigned)board_stack_bytes()); return 0; }}"""
    assert frame <= int(_run(tmp_path, code, board)) < frame + 300


@needs_compiler
def test_what_the_compiler_says_is_one_sentence(tmp_path) -> None:
    with pytest.raises(EdgepruneError, match=r"main.c:2:\d+: error: 'x' undeclared .*; check the sources\.$") as caught:
        _build(tmp_path, "int main(void) { return x + y; }")
    assert "\n" not in str(caught.value)
    with pytest.raises(EdgepruneError, match=r"undefined reference to .nowhere"):
        _build(tmp_path, "void nowhere(void); int main(void) { nowhere(); return 0; }")
    with pytest.raises(EdgepruneError, match=r"needs \d+,\d+ B more flash than there is .*; prune more"):
        _build(tmp_path, "volatile int i; const char big[5000000] = {1}; int main(void) { return big[i]; }")


@needs_compiler
def test_a_compiler_that_hangs_is_cut_off(tmp_path, monkeypatch) -> None:
    (tmp_path / "arm-none-eabi-gcc").write_text("#!/bin/sh\nexec sleep 60\n", encoding="ascii")
    (tmp_path / "arm-none-eabi-gcc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(EdgepruneError, match=r"arm-none-eabi-gcc gave no answer in 0.5 s"):
        _build(tmp_path, "int main(void) { return 0; }", timeout_s=0.5)


def test_missing_programs_are_named_with_their_package(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EdgepruneError, match=r"needs arm-none-eabi-gcc.* install gcc-arm-none-eabi and libnewlib"):
        _build(tmp_path, "int main(void) { return 0; }")
    with pytest.raises(EdgepruneError, match=r"cortex-m4: needs "):
        qemu.versions("cortex-m4")


@needs_compiler
def test_a_missing_emulator_is_named(tmp_path, monkeypatch) -> None:
    image = _build(tmp_path, "int main(void) { return 0; }")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EdgepruneError, match=r"needs qemu-system-arm, .* install qemu-system-arm"):
        qemu.run("cortex-m4", image.path, 10)


@needs_board
@pytest.mark.parametrize("content", [b"", b"text", b"\x7fELF\x01\x01", b"\x7fELF\x01\x01" + bytes(200)])
def test_other_files_are_refused(tmp_path, content) -> None:
    path = tmp_path / "program.elf"
    path.write_bytes(content)
    with pytest.raises(EdgepruneError, match=r"program.elf: is no program for a board"):
        qemu.run("cortex-m4", path, 10)
    with pytest.raises(EdgepruneError, match=r"cannot be read"):
        qemu.image_of("cortex-m4", tmp_path / "none.elf")


def test_an_unknown_board_is_refused(tmp_path) -> None:
    with pytest.raises(EdgepruneError, match=r"device 'cortex-m5' is unknown; perhaps you meant 'cortex-m"):
        qemu.build("cortex-m5", [], [], tmp_path / "x.elf")
