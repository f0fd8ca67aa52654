"""Programs around many compiled networks: each network runs its clips, whole and row by row."""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeprune.devices import qemu
from edgeprune.firmware.stream.compile import StreamNetwork

STRICT = (
    *("-std=c11", "-g0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-Wall", "-Wextra", "-Wpedantic"),
    *("-Wconversion", "-Wshadow", "-Wcast-align=strict", "-Werror"),
)
_HEAD = """\
#include <string.h>
#ifdef ON_BOARD
#include "board.h"
#else
#include <stdarg.h>
#include <stdio.h>
#define BOARD_VECTORS
#define board_print printf
static void board_print_hex(const void *bytes, size_t count)
{
    for (size_t i = 0; i < count; ++i)
        printf("%02x", ((const unsigned char *)bytes)[i]);
}
#endif
"""
_CHECK = """
static void check_{p}(void)
{{
    static {p}_state state;
    static int8_t whole[{P}_OUTPUT_SIZE], rows[{P}_OUTPUT_SIZE], row[{P}_ROW_VALUES];
    board_print("{p} state %u\\n", (unsigned)sizeof state);
    memset(&state, 0xa5, sizeof state);
    for (int clip = 0; clip < {clips}; ++clip) {{
        {p}_infer(&state, clips_{p}[clip], whole);
        memset(&state, 0x5a, sizeof state);
        {p}_reset(&state);
        for (int i = 0; i < {P}_ROWS; ++i) {{
            for (int j = 0; j < {P}_ROW_VALUES; ++j)
                row[j] = clips_{p}[clip][{place}];
            {p}_push(&state, row);
        }}
        {p}_output(&state, rows);
        board_print("{p} %d %d ", clip, memcmp(whole, rows, sizeof whole));
        board_print_hex(whole, sizeof whole);
        board_print("\\n");
    }}
}}
"""


@dataclass(frozen=True)
class Clips:
    """A compiled network and its inputs, int8 `[n, *input shape]`."""

    network: StreamNetwork
    stored: np.ndarray


def write_main(checks: Sequence[Clips], path: Path) -> Path:
    """A program that prints for each network and clip: prefix, clip, 0 where rows give what the whole gives, output."""
    parts = [f'#include "{each.network.prefix}.h"\n' for each in checks] + [_HEAD]
    for each in checks:
        network, clips = each.network, each.stored.reshape(len(each.stored), -1)
        names = {"p": network.prefix, "P": network.prefix.upper(), "clips": len(clips), "place": _place(network)}
        rows = ",\n".join("{" + ",".join(map(str, clip)) + "}" for clip in clips)
        declared = f"clips_{network.prefix}[{len(clips)}][{clips.shape[1]}]"
        parts += [f"static int8_t {declared} BOARD_VECTORS = {{\n{rows}\n}};\n", _CHECK.format(**names)]
    calls = "".join(f"    check_{each.network.prefix}();\n" for each in checks)
    path.write_text("".join([*parts, f"\nint main(void)\n{{\n{calls}    return 0;\n}}\n"]), encoding="utf-8")
    return path


def _place(network: StreamNetwork) -> str:
    """The C index of value j of row i in the input as the file stores it."""
    if network.walk == "height":
        return f"i * {network.row_values} + j"
    channels = network.row_shape[1]
    return f"(j / {channels} * {network.rows} + i) * {channels} + j % {channels}"


def run_on_host(checks: Sequence[Clips], folder: Path, optimise: str = "-O1") -> dict[str, np.ndarray]:
    """Build strictly for this computer, with sanitizers, and run. Gives outputs `[n, values]` by prefix."""
    main = write_main(checks, folder / "main.c")
    sources = [str(source) for each in checks for source in each.network.sources]
    includes = sorted({f"-I{include}" for each in checks for include in each.network.includes})
    command = ["gcc", optimise, *STRICT, *includes, str(main), *sources, "-o", str(folder / "checks")]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[:4000]
    done = subprocess.run([folder / "checks"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:4000]
    return outputs_of(done.stdout)


def run_on_board(board: str, checks: Sequence[Clips], folder: Path) -> dict[str, np.ndarray]:
    """The same on an emulated board of 32 bits, where each state has the size that the compiler tells."""
    sources = [write_main(checks, folder / "main.c"), *(source for each in checks for source in each.network.sources)]
    includes = sorted({include for each in checks for include in each.network.includes})
    image = qemu.build(board, sources, includes, folder / f"{board}.elf", ("ON_BOARD",))
    printed = qemu.run(board, image.path, 120, folder)
    sizes = {prefix: int(size) for prefix, size in re.findall(r"^(\w+) state (\d+)$", printed, re.MULTILINE)}
    assert sizes == {each.network.prefix: each.network.state_bytes for each in checks}
    return outputs_of(printed)


def outputs_of(printed: str) -> dict[str, np.ndarray]:
    answers: dict[str, list[np.ndarray]] = {}
    for prefix, _, differs, answer in re.findall(r"^(\w+) (\d+) (-?\d+) ([0-9a-f]*)$", printed, re.MULTILINE):
        assert differs == "0", f"{prefix}: rows give another output than the whole"
        answers.setdefault(prefix, []).append(np.frombuffer(bytes.fromhex(answer), np.int8))
    return {prefix: np.stack(outputs) for prefix, outputs in answers.items()}
