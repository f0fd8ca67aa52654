"""The engine of comparison on emulated boards: bakenn's C with the kernels of CMSIS-NN."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import conv_tflite
import int8_networks
import numpy as np
import pytest
import tiny_tflite

from edgeprune.devices import emulated, engine_cmsis_nn, qemu
from edgeprune.devices.boards import BOARDS
from edgeprune.devices.cortex_m import measure
from edgeprune.devices.engine_cmsis_nn import compile_network, mark_steps
from edgeprune.devices.inputs import inputs_for
from edgeprune.devices.network_program import NetworkProgram
from edgeprune.devices.record import Measurement
from edgeprune.devices.request import BenchRequest, DeviceOptions, Inputs
from edgeprune.devices.tflm import reference_micro
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.files import share_folder
from edgeprune.firmware import c11
from edgeprune.tflite.cost import cost_of_tflite
from edgeprune.tflite.flatbuffer import unpack_model

pytestmark = pytest.mark.slow  # emulates processors

needs_board = pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
    reason="needs gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm",
)
ARENA = "    (void)arena;\n"  # the first line of bakenn's function
INPUTS = Inputs(conv_tflite.clips(), "10 draws")


def _job(*paths: Path, device: str = "cortex-m4", clock_hz: float | None = None, **fields) -> BenchRequest:
    options = DeviceOptions(clock_hz=clock_hz, engine="cmsis-nn")
    return BenchRequest(device, tuple(paths), lambda _: INPUTS, options=options, **fields)


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    return int8_networks.small_network(tmp_path_factory.mktemp("network") / "network.tflite")


@pytest.fixture(scope="module")
def record(network) -> Measurement:
    """On the M4, its programs kept nowhere; tests of a broken device make their own."""
    (measured,) = measure(_job(network, clock_hz=80e6))
    return measured


@pytest.fixture
def cached_reference(monkeypatch, network, tmp_path_factory) -> None:
    """TFLite Micro is asked once for all tests of code that is damaged."""
    if not _CACHE:
        code = c11.compile_c11(network, tmp_path_factory.mktemp("reference"), "host")
        _CACHE.append(reference_micro(code.tflite, INPUTS, "cortex-m4"))
    monkeypatch.setattr(emulated, "reference_micro", lambda *_: _CACHE[0])


_CACHE: list[tuple[np.ndarray, np.ndarray]] = []


@needs_board
def test_the_published_baseline_of_dcase_2022(tmp_path, shared_data) -> None:
    path = int8_networks.published_baseline(shared_data, tmp_path / "baseline.tflite")
    (record,) = measure(BenchRequest("cortex-m4", (path,), inputs_for, options=DeviceOptions(engine="cmsis-nn")))
    detail = record.detail
    assert (record.kind, record.unit, record.runs) == ("emulated", "instructions", 10)
    assert detail["macs"] == 29_203_560
    # CMSIS-NN's inner loop takes 27 instructions for 16 MACs; what it is fed with comes on top
    assert 27 / 16 < detail["instructions_per_mac"] < 2.5
    # weights of 46,512 bytes with the biases, and the activations of 65,280 bytes
    assert 46_512 < detail["flash_bytes"] < 46_512 + 16_384
    assert 65_280 < detail["arena_bytes"] < record.peak_ram_bytes < 65_280 + 8_192
    layers = detail["by_layer"]
    assert [layer["macs"] for layer in layers] == [1599360, 25589760, 0, 2007040, 0, 0, 6400, 1000]
    assert sum(layer["instructions"] for layer in layers) == pytest.approx(record.median, rel=1e-5)
    assert layers[1]["instructions"] > 27 / 16 * 25_589_760


@needs_board
def test_a_record(network, record) -> None:
    assert (record.device, record.threads, record.model) == ("cortex-m4", 1, "network.tflite")
    assert (record.kind, record.unit, record.runs) == ("emulated", "instructions", 10)
    assert 0 < record.p5 <= record.median <= record.p95 < 1.05 * record.p5
    detail = json.loads(json.dumps(record.detail))
    assert detail["inputs"] == "10 draws"
    assert detail["macs"] == cost_of_tflite(network).macs
    assert detail["instructions_per_mac"] == pytest.approx(record.median / detail["macs"], abs=1e-3)
    estimated = detail["estimated_cycles"]
    assert record.median < estimated["least"] <= estimated["value"] <= estimated["most"] < 2 * record.median
    assert "without wait states" in estimated["assumes"]
    assert "DDI 0439B" in estimated["source"]
    assert re.match(r"[+-]\d+\.\d% on a loop like Dhrystone", estimated["error"])
    assert detail["estimated_ms"]["value"] == pytest.approx(estimated["value"] / 80e3, abs=1e-3)
    assert detail["estimated_ms"]["assumes"] == "the estimated cycles, at 80 MHz"
    assert detail["engine"] == "cmsis-nn"
    assert detail["optimise"] == "-O2"
    assert re.search(r"\d+\.\d+", detail["compiler"])
    assert detail["emulator"].startswith("QEMU")
    assert "not cycles" in detail["note"]
    assert "softmax is left" in detail["computed"]
    operators = [layer["operator"] for layer in detail["by_layer"]]
    assert operators == ["CONV_2D", "MAX_POOL_2D", "CONV_2D", "RESHAPE", "FULLY_CONNECTED"]
    assert [layer["macs"] for layer in detail["by_layer"]] == [17280, 0, 69120, 0, 4800]


@needs_board
def test_a_second_run_gives_the_same_instructions_whatever_the_names(tmp_path, network, record) -> None:
    model = unpack_model(network)
    for number, tensor in enumerate(model.subgraphs[0].tensors):
        tensor.name = f'*/ int evil; /* \\"\n#error {number}'
    folder = tmp_path / 'it\'s a "b", $(c)'
    folder.mkdir()
    (again,) = measure(_job(tiny_tflite.write(model, folder / "* ; network's.tflite")))
    assert (again.p5, again.median, again.p95) == (record.p5, record.median, record.p95)
    assert again.peak_ram_bytes == record.peak_ram_bytes
    counts = [[layer["instructions"] for layer in record.detail["by_layer"]] for record in (again, record)]
    assert counts[0] == counts[1]
    assert "estimated_ms" not in again.detail


@needs_board
@pytest.mark.parametrize("device", ["cortex-m7", "cortex-m33"])
def test_other_processors(tmp_path, record, device) -> None:
    narrow = int8_networks.small_network(tmp_path / "narrow.tflite", (3, 5))
    (other,) = measure(_job(narrow, device=device))
    assert other.runs == 10  # each equal to the reference
    assert other.median < record.median
    assert BOARDS[device].description == other.detail["board"]


@needs_board
def test_memory_is_that_of_the_bare_program(tmp_path, network, record) -> None:
    code = compile_network(network, tmp_path, "cortex-m4")
    NetworkProgram(_job(network), network, code, tmp_path).bare()
    listed = subprocess.run(["arm-none-eabi-size", "-A", tmp_path / "bare.elf"], capture_output=True, text=True).stdout
    sections = {name: int(size) for name, size in re.findall(r"^(\.\w+)\s+(\d+)", listed, re.MULTILINE)}
    assert record.detail["flash_bytes"] == sections[".text"] + sections[".rodata"] + sections[".data"]
    variables = sections[".data"] + sections[".bss"]
    assert record.peak_ram_bytes == variables + record.detail["stack_bytes"]
    # nothing but input, output and working memory, each aligned
    exact = code.facts["arena_bytes"] + 240 + 5
    assert exact <= variables < exact + 32
    # in flash nothing of the test around the network, and no library but copying
    names = subprocess.run(["arm-none-eabi-nm", tmp_path / "bare.elf"], capture_output=True, text=True).stdout
    in_flash = re.findall(r"^0000\w{4} [Tt] (\w+)$", names, re.MULTILINE)
    assert "bknn_net_infer" in in_flash
    assert not {name for name in in_flash if re.search("board_(?!start)|printf|malloc|sbrk|semihost", name)}


@needs_board
def test_the_stack_is_as_deep_as_the_compiler_says(tmp_path, network, record) -> None:
    """gcc tells the frame of each function; the deepest chain is main, network, convolution, its kernel."""
    code = c11.compile_c11(network, tmp_path, "cortex-m4")
    templates = share_folder("export") / "boards"
    sources, includes = [templates / "bare_cmsis-nn.c", *code.sources], [tmp_path, *code.includes]
    qemu.build("cortex-m4", sources, includes, tmp_path / "x.elf", code.defines, f"{qemu.OPTIMISE} -fstack-usage")
    lines = [line.split("\t") for usage in tmp_path.glob("*.su") for line in usage.read_text("utf-8").splitlines()]
    frames = {place.rpartition(":")[2]: int(size) for place, size, _ in lines}
    chain = ["reset_handler", "main", "bknn_net_infer", "bknn_net_conv2d_cmsis_nn_s8", "arm_convolve_wrapper_s8"]
    deep = sum(frames[name] for name in [*chain, "arm_convolve_s8", "arm_nn_mat_mult_kernel_s8_s16"])
    assert record.detail["stack_bytes"] == pytest.approx(deep, abs=64)


@needs_board
def test_the_blocks_that_run_are_the_instructions_of_the_clock(tmp_path, network, record) -> None:
    program = NetworkProgram(_job(network), network, compile_network(network, tmp_path, "cortex-m4"), tmp_path)
    stored, expected = reference_micro(program.code.tflite, INPUTS, "cortex-m4")
    (instructions,) = program.check(stored[:1], expected[:1])
    counted = program.cycles(stored)
    assert counted.instructions == pytest.approx(instructions, rel=1e-3)
    assert counted.with_refill(1) == record.detail["estimated_cycles"]["least"]


@needs_board
@pytest.mark.usefixtures("cached_reference")
def test_without_a_compiler_for_the_plugin_cycles_are_left_out(monkeypatch, tmp_path, network, record) -> None:
    for name in ("arm-none-eabi-gcc", "arm-none-eabi-size", "arm-none-eabi-objdump", "qemu-system-arm"):
        (tmp_path / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(tmp_path))
    (without,) = measure(_job(network, clock_hz=80e6))
    assert without.median == record.median
    assert not {"estimated_cycles", "estimated_ms"} & without.detail.keys()
    assert without.detail["no_estimate_of_cycles"].endswith("needs gcc, which is not installed; install gcc.")


def _damage(change: Callable[[str], str], file: str) -> Callable[..., c11.C11]:
    """A compiler whose code is changed afterwards."""

    def compile_damaged(*args, **kwargs) -> c11.C11:
        code = c11.compile_c11(*args, **kwargs)
        source = code.header.with_name(file)
        text = source.read_text("utf-8")
        assert change(text) != text
        source.write_text(change(text), encoding="utf-8")
        return code

    return compile_damaged


def _one_weight(text: str) -> str:
    """The first weight of the first convolution, changed by as much as a bit."""
    weight = re.search(r"const int8_t bknn_net_constant_\d+\[72\] = \{\s*(-?\d+)", text)
    return text[: weight.start(1)] + str(int(weight[1]) ^ 0x40) + text[weight.end(1) :]


# The semihosting call that ends a program with code 0.
_EXIT = '__asm__("mov r0, #24\\n movw r1, #0x26\\n movt r1, #2\\n bkpt 0xab");'


@needs_board
@pytest.mark.parametrize(
    ("change", "file", "said"),
    [
        (_one_weight, "bknn_net_weights.c", r"cortex-m4: network.tflite computes something else on \d+ of 10 clips"),
        (lambda text: text.replace(ARENA, f"{ARENA}    *(volatile int *)0x90909090 = 1;\n"), "bknn_net.c", "fault"),
        (
            lambda text: text.replace(ARENA, f"{ARENA}    {_EXIT}\n"),
            "bknn_net.c",
            "ended before it had given its stack",
        ),
    ],
    ids=["weight", "fault", "exits in silence"],
)
@pytest.mark.usefixtures("cached_reference")
def test_code_that_computes_something_else_is_not_measured(monkeypatch, network, change, file, said) -> None:
    monkeypatch.setattr(engine_cmsis_nn, "compile_c11", _damage(change, file))
    with pytest.raises(CheckFailedError, match=said):
        measure(_job(network))


@needs_board
@pytest.mark.usefixtures("cached_reference")
def test_code_that_hangs_is_cut_off(monkeypatch, network) -> None:
    def hang(text: str) -> str:
        return text.replace(ARENA, f"{ARENA}    for (volatile int i = 0; i == 0;) {{ }}\n")

    run = qemu.run
    monkeypatch.setattr(engine_cmsis_nn, "compile_c11", _damage(hang, "bknn_net.c"))
    monkeypatch.setattr(qemu, "run", lambda board, path, timeout_s, cwd: run(board, path, 1, cwd))
    with pytest.raises(EdgepruneError, match=r"qemu-system-arm gave no answer in 1 s"):
        measure(_job(network))


def test_wrong_requests_are_refused(tmp_path, network) -> None:
    cases = [
        (_job(network, device="cortex-m55"), r"cortex-m55: no board of it .* bakenn's code gives wrong outputs"),
        (_job(network, device="cortex-m0"), r"cortex-m0: has no DSP instructions, which CMSIS-NN"),
        (_job(network, threads=(1, 2)), r"cortex-m4: has one core"),
        (
            _job(network, device="cortex-m7", clock_hz=1e8),
            r"cortex-m7: a time needs an estimate",
        ),
        (_job(), r"cortex-m4: no file to measure"),
    ]
    for job, said in cases:
        with pytest.raises(EdgepruneError, match=said):
            measure(job)


@needs_board
def test_files_it_does_not_take_are_refused(tmp_path) -> None:
    floats = tiny_tflite.write(tiny_tflite.float_model(), tmp_path / "floats.tflite")
    with pytest.raises(EdgepruneError, match=r"floats.tflite: has float32 ends, and only int8 is compiled to C"):
        measure(_job(floats))


def test_missing_programs_are_named(monkeypatch, tmp_path, network) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EdgepruneError, match=r"cortex-m4: needs arm-none-eabi-gcc, .*; install gcc-arm-none-eabi"):
        measure(_job(network))


@pytest.mark.usefixtures("cached_reference")
def test_nothing_is_left_behind(monkeypatch, tmp_path, network) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(engine_cmsis_nn, "compile_c11", _damage(lambda text: f"#error\n{text}", "bknn_net.c"))
    monkeypatch.setattr(qemu, "versions", lambda device: {})
    with pytest.raises(EdgepruneError):
        measure(_job(network))
    assert os.listdir(tmp_path) == []


def test_only_the_known_form_of_code_is_marked() -> None:
    source = (
        '#include "a.h"\n\nvoid net_infer(\n    int x) {\n    (void)arena;\n    one(\n        1);\n\n    two();\n}\n'
    )
    marked = mark_steps(source, 2)
    assert marked.count("board_mark();") == 4
    assert re.search(
        r"board_mark\(\);\s+board_mark\(\);\s+one\(\s+1\);\s+board_mark\(\);\s+two\(\);\s+board_mark", marked
    )
    assert "void board_mark(void);" in marked.partition("net_infer")[0]
    for wrong, steps in ((source, 3), (source + "int more;\n", 2), (source.replace("(void)arena;\n", ""), 2)):
        with pytest.raises(EdgepruneError, match=r"in another form than 1.0 does"):
            mark_steps(wrong, steps)
