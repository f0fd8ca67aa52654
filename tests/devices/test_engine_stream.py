"""Streaming C on every emulated board, and the programs around it on a network written by hand."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import conv_tflite
import int8_networks
import numpy as np
import pytest

from edgeprune.devices import emulated, engine_stream, qemu
from edgeprune.devices.bench import bench
from edgeprune.devices.boards import BOARDS
from edgeprune.devices.network_program import NetworkCode, NetworkProgram
from edgeprune.devices.record import Measurement
from edgeprune.devices.request import BenchRequest, DeviceOptions, Inputs
from edgeprune.devices.tflm import reference_micro
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.firmware.c11 import CompiledLayer
from edgeprune.firmware.stream.compile import StreamNetwork, compile_stream

pytestmark = pytest.mark.slow  # emulates processors

INPUTS = Inputs(conv_tflite.clips(), "10 draws")
needs_arm = pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
    reason="needs gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm",
)
needs_riscv = pytest.mark.skipif(
    not (shutil.which("riscv64-unknown-elf-gcc") and shutil.which("qemu-system-riscv32")),
    reason="needs gcc-riscv64-unknown-elf, picolibc-riscv64-unknown-elf and qemu-system-misc",
)


def boards(*names: str) -> pytest.MarkDecorator:
    marks = {name: needs_riscv if name == "riscv32" else needs_arm for name in names}
    return pytest.mark.parametrize("board", [pytest.param(name, marks=mark) for name, mark in marks.items()])


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    return int8_networks.small_network(tmp_path_factory.mktemp("network") / "network.tflite")


@pytest.fixture(autouse=True)
def _cached_reference(monkeypatch, network) -> None:
    """TFLite Micro is asked once about the small network."""

    def cached(path: Path, inputs: Inputs, device: str) -> tuple[np.ndarray, np.ndarray]:
        if path != network or inputs is not INPUTS:
            return reference_micro(path, inputs, device)
        if not _CACHE:
            _CACHE.append(reference_micro(path, inputs, device))
        return _CACHE[0]

    monkeypatch.setattr(emulated, "reference_micro", cached)


_CACHE: list[tuple[np.ndarray, np.ndarray]] = []


def _measured(path: Path, board: str, **options) -> Measurement:
    return bench(path, board, clips=INPUTS, options=DeviceOptions(**options)).records[0]


@boards(*BOARDS)
def test_every_board_gives_the_bytes_of_the_file(tmp_path, network, board) -> None:
    record = _measured(network, board)
    detail = record.detail
    assert (record.device, record.kind, record.unit, record.runs) == (board, "emulated", "instructions", 10)
    assert (detail["engine"], detail["computed"]) == ("stream", "the whole network")
    assert detail["board"] == BOARDS[board].description
    assert [layer["operator"] for layer in detail["by_layer"][-3:]] == ["FULLY_CONNECTED", "SOFTMAX", ""]
    assert detail["by_layer"][-1]["kernel"] == "scheduler"
    assert sum(layer["macs"] for layer in detail["by_layer"]) == detail["macs"]
    counted = sum(layer["instructions"] for layer in detail["by_layer"])
    assert counted == pytest.approx(record.median, rel=0.02)  # marks hold a few registers
    assert ("estimated_cycles" in detail) == (board == "cortex-m4")
    # variables are the state, a row of 12 or 20 values and five outputs, each aligned
    variables = record.peak_ram_bytes - detail["stack_bytes"]
    assert detail["state_bytes"] + 12 + 5 <= variables < detail["state_bytes"] + 20 + 5 + 24


@needs_arm
def test_the_published_baseline_takes_less_than_an_instruction_a_mac(tmp_path, shared_data) -> None:
    """CMSIS-NN takes 2.35; SMLAD does two products, so half an instruction is the floor."""
    path = int8_networks.published_baseline(shared_data, tmp_path / "baseline.tflite")
    (record,) = bench(path, "cortex-m4").records
    assert record.detail["macs"] == 29_203_560
    assert 0.5 < record.detail["instructions_per_mac"] < 1
    # rings of rows instead of activations of 65,280 bytes; weights of 46,512 bytes with the biases
    assert record.peak_ram_bytes < 65_280 / 2
    assert 46_512 < record.detail["flash_bytes"] < 46_512 + 16_384


@boards("cortex-m4", "riscv32")
def test_the_state_has_the_bytes_that_are_told(tmp_path, network, board) -> None:
    code = compile_stream(network, tmp_path / "c")
    source = tmp_path / "main.c"
    source.write_text(
        '#include "board.h"\n#include "net.h"\nint main(void) { board_print("%u", sizeof(net_state)); return 0; }\n'
    )
    image = qemu.build(board, [source], code.includes, tmp_path / "size.elf")
    assert int(qemu.run(board, image.path, 60)) == code.state_bytes


@needs_arm
def test_a_network_too_large_for_the_board_is_refused(tmp_path) -> None:
    wide = int8_networks.small_network(tmp_path / "wide.tflite", (256, 256))
    with pytest.raises(EdgepruneError, match=r"cortex-m0: .* B .*16 kB of RAM\); prune more") as caught:
        _measured(wide, "cortex-m0")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("device", "engine", "reason"),
    [
        ("cortex-m0", "cmsis-nn", r"cortex-m0: has no DSP instructions, .* use --engine stream"),
        ("riscv32", "cmsis-nn", r"riscv32: takes no --engine; leave it out"),
        ("cortex-m4", "streams", r"engine 'streams' is unknown; perhaps you meant 'stream'"),
    ],
)
def test_engines_that_do_not_fit_are_refused(monkeypatch, network, device, engine, reason) -> None:
    monkeypatch.setattr("edgeprune.devices.find.Device.missing", lambda self: [])
    with pytest.raises(EdgepruneError, match=reason):
        _measured(network, device, engine=engine)


def _damage(change: Callable[[str], str]) -> Callable[..., StreamNetwork]:
    """A compiler whose code is changed afterwards."""

    def compile_damaged(*args, **kwargs) -> StreamNetwork:
        code = compile_stream(*args, **kwargs)
        (source,) = code.sources
        text = source.read_text("utf-8")
        assert change(text) != text
        source.write_text(change(text), encoding="utf-8")
        return code

    return compile_damaged


@boards("cortex-m0", "riscv32")
def test_code_that_computes_something_else_is_not_measured(monkeypatch, network, board) -> None:
    def one_bias(text: str) -> str:
        return re.sub(
            r"(ep_filter \w+\[\d+\] = \{\s*\{)(-?\d+)", lambda bias: f"{bias[1]}{int(bias[2]) + 9999}", text, count=1
        )

    monkeypatch.setattr(engine_stream, "compile_stream", _damage(one_bias))
    with pytest.raises(CheckFailedError, match=rf"{board}: network.tflite computes something else on \d+ of 10 clips"):
        _measured(network, board)


HEADER = """
#include <stdint.h>
#define NET_ROWS 3
#define NET_ROW_VALUES 2
#define NET_OUTPUT_SIZE 1
#define NET_LAYERS 2
typedef struct net_state { int32_t sum; } net_state;
void net_reset(net_state *state);
void net_push(net_state *state, const int8_t *row);
void net_output(const net_state *state, int8_t *output);
"""
SOURCE = """
#include "net.h"
#ifdef NET_PROFILE
void net_mark(unsigned layer);
#else
#define net_mark(layer) ((void)0)
#endif
__attribute__((naked, noinline)) static void work(uint32_t turns)
{
#ifdef __arm__
    __asm__ volatile(".syntax unified\\n 1: subs r0, #1\\n nop\\n bne 1b\\n bx lr\\n");
#else
    __asm__ volatile("1: addi a0, a0, -1\\n nop\\n bnez a0, 1b\\n ret\\n");
#endif
}
void net_reset(net_state *state) { state->sum = 0; }
void net_push(net_state *state, const int8_t *row)
{
    work(1000);
    net_mark(0);
    work(200);
    net_mark(NET_LAYERS);
    work(3000);
    net_mark(1);
    state->sum = 2 * state->sum + row[0] - row[1];
}
void net_output(const net_state *state, int8_t *output) { *output = (int8_t)state->sum; }
"""


@boards("cortex-m0", "cortex-m4", "riscv32")
def test_layers_of_a_network_written_by_hand(tmp_path, board) -> None:
    """Three instructions a turn: 9,000, 27,000 and, for the scheduler, 1,800 in three rows."""
    (tmp_path / "net.h").write_text(HEADER)
    (tmp_path / "net.c").write_text(SOURCE)
    source = (tmp_path / "net.c",)
    layers = tuple(CompiledLayer(None, name) for name in ("first", "second", "scheduler"))
    columns = np.array([[[1, 2, 3], [0, 5, 1]], [[-7, 0, 2], [1, 1, 1]]], np.int8)  # [clips, 2, 3], walked along 3
    code = NetworkCode(
        *("stream", tmp_path, source, (tmp_path,), (), source, ("NET_PROFILE",)),
        layers=layers,
        in_order=lambda stored: stored.swapaxes(1, 2),
        facts={},
    )
    request = BenchRequest(board, (tmp_path / "net.tflite",), lambda _: INPUTS)
    program = NetworkProgram(request, tmp_path / "net.tflite", code, tmp_path)
    expected = np.array([[4 * 1 + 2 * -3 + 2], [4 * -8 + 2 * -1 + 1]], np.int8)
    instructions = program.check(columns, expected)
    assert instructions == pytest.approx(3 * 3 * 4200, abs=150)
    assert program.layers(columns, expected) == pytest.approx([9000, 27000, 1800], abs=90)
    image, stack_bytes = program.bare()
    assert 4 + 2 + 1 <= image.ram_bytes <= 12  # state, row and output, aligned
    assert 0 < stack_bytes < 200
    with pytest.raises(CheckFailedError, match="computes something else on 1 of 2 clips"):
        program.check(columns, expected + np.array([[0], [1]], np.int8))
    if board == "cortex-m4":
        counted = program.cycles(columns)
        assert counted.instructions == pytest.approx(37_800, abs=100)
        assert counted.jumps == pytest.approx(3 * 4200, abs=30)
