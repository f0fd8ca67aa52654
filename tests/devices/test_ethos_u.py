import csv
import hashlib
import importlib.util
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import conv_tflite
import pytest
import tiny_tflite

from edgeprune.devices import ethos_u
from edgeprune.devices.ethos_u import ACCELERATORS, measure
from edgeprune.devices.record import Measurement
from edgeprune.devices.request import BenchRequest, Inputs
from edgeprune.devices.tools import run_tool
from edgeprune.errors import EdgepruneError
from edgeprune.tflite.flatbuffer import operators

INPUTS = Inputs(conv_tflite.clips(3), "3 draws")


def _job(*paths: Path, device: str = "ethos-u55-128", **fields) -> BenchRequest:
    return BenchRequest(device, tuple(paths), lambda _: INPUTS, **fields)


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    return conv_tflite.conv_network(tmp_path_factory.mktemp("network") / "network.tflite")


@pytest.fixture(scope="module")
def record(network) -> Measurement:
    return measure(_job(network))[0]


def _vela(path: Path, out: Path, *arguments: str) -> dict[str, str]:
    """Its summary, from a call of its own."""
    command = [sys.executable, "-m", "ethosu.vela", str(path), "--output-dir", str(out), *arguments]
    subprocess.run(command, check=True, capture_output=True)
    header, row = csv.reader(next(out.glob("*.csv")).read_text().splitlines())
    return dict(zip(header, row, strict=True))


@pytest.mark.parametrize(
    ("device", "system"),
    [
        ("ethos-u55-128", "Ethos_U55_High_End_Embedded"),
        ("ethos-u55-256", "Ethos_U55_High_End_Embedded"),
        ("ethos-u65-256", "Ethos_U65_Embedded"),
        ("ethos-u85-256", "Ethos_U85_SYS_Flash_High"),
    ],
)
def test_figures_are_those_of_vela(network, tmp_path, device, system) -> None:
    (record,) = measure(_job(network, device=device))
    options = ["--accelerator-config", device, "--system-config", system, "--memory-mode", "Shared_Sram"]
    row = _vela(network, tmp_path, *options, "--config", "Arm/vela.ini")
    assert (record.device, record.kind, record.unit, record.runs) == (device, "estimated", "cycles", 1)
    assert record.median == record.p5 == record.p95 == float(row["cycles_total"]) > 0
    assert record.peak_ram_bytes == float(row["sram_memory_used"]) * 1024
    assert record.sha256 == hashlib.sha256(network.read_bytes()).hexdigest()
    detail = record.detail
    assert detail["flash_bytes"] == float(row["off_chip_flash_memory_used"]) * 1024
    assert detail["npu_cycles"] == float(row["cycles_npu"]) <= record.median
    assert detail["macs"] == float(row["nn_macs"])
    assert (detail["system_config"], detail["memory_mode"], detail["clock_hz"]) == (system, "Shared_Sram", 500e6)
    assert detail["inference_ms"] == pytest.approx(record.median / 500e6 * 1e3, rel=1e-6)
    assert detail["cpu_operators"] == {}
    assert "nothing was run" in detail["estimate"]
    assert detail["inputs"] == "3 draws"
    assert re.fullmatch(r"ethos-u-vela \d+\.\d+\.\d+", detail["compiler"])
    assert json.loads(json.dumps(record.to_dict(), allow_nan=False)) == record.to_dict()


def test_cycles_and_memory_grow_with_the_network(network, tmp_path) -> None:
    half = conv_tflite.conv_network(tmp_path / "half.tflite", (4, 8))
    double = conv_tflite.conv_network(tmp_path / "double.tflite", (16, 32))
    records = measure(_job(half, network, double, device="ethos-u55-32"))
    assert [record.model for record in records] == ["half.tflite", "network.tflite", "double.tflite"]
    for figure in (lambda r: r.median, lambda r: r.peak_ram_bytes, lambda r: r.detail["flash_bytes"]):
        small, middle, large = (figure(record) for record in records)
        assert small < middle < large


def test_more_macs_a_cycle_take_fewer_cycles(network) -> None:
    cycles = [measure(_job(network, device=f"ethos-u55-{macs}"))[0].detail["npu_cycles"] for macs in (32, 256)]
    assert cycles[0] > cycles[1]


@pytest.mark.parametrize(
    "name", ["with space.tflite", "-O.tflite", "--help", "a'b\"c;$(true).tflite", "größe é.tflite"]
)
def test_names_of_files_are_just_names(network, record, tmp_path, name) -> None:
    path = tmp_path / name
    path.write_bytes(network.read_bytes())
    (renamed,) = measure(_job(path))
    assert renamed == replace(record, model=name)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_operators_the_accelerator_lacks_are_named(network, monkeypatch) -> None:
    """Here Vela is told to leave the max-pool alone."""

    def without_pool(command, *args, **kwargs):
        return run_tool([*command, "--ignore-ops", "MAX_POOL_2D"], *args, **kwargs)

    monkeypatch.setattr(ethos_u, "run_tool", without_pool)
    (record,) = measure(_job(network))
    assert record.detail["cpu_operators"] == {"MAX_POOL_2D": 1}
    assert "operators on the processor are not in the cycles" in record.detail["estimate"]


def test_a_network_that_stays_on_the_processor_has_no_cycles(network, monkeypatch) -> None:
    every = ",".join(sorted(set(operators(network))))
    monkeypatch.setattr(ethos_u, "run_tool", lambda c, *a, **k: run_tool([*c, "--ignore-ops", every], *a, **k))
    with pytest.raises(EdgepruneError, match=r"none of network\.tflite runs on the accelerator \(CONV_2D, FULLY_CONN"):
        measure(_job(network))


def test_the_names_are_those_vela_knows() -> None:
    said = subprocess.run([sys.executable, "-m", "ethosu.vela", "--help"], capture_output=True, text=True).stdout
    known = re.search(r"--accelerator-config \{([^}]+)\}", said)
    assert known is not None
    assert tuple(re.sub(r"\s", "", known[1]).split(",")) == ACCELERATORS
    assert {name.rpartition("-")[0] for name in ACCELERATORS} == set(ethos_u.SYSTEMS)


@pytest.mark.parametrize("name", ["ethos-u55", "ethos-u55-512", "ethos-u85-64", "ETHOS-U55-128", "ethos-n78"])
def test_unknown_accelerators(network, name) -> None:
    with pytest.raises(EdgepruneError, match=f"device '{name}' is unknown; "):
        measure(_job(network, device=name))


def test_files_of_other_types_are_refused(tmp_path) -> None:
    path = tiny_tflite.write(tiny_tflite.float_model(), tmp_path / "whole.tflite")
    with pytest.raises(EdgepruneError, match=r"whole\.tflite has float32 ends, Ethos-U takes int8 and int16"):
        measure(_job(path))
    path = tiny_tflite.write(tiny_tflite.quantise_model(4, "int8", (0.5, 0)), tmp_path / "ends.tflite")
    with pytest.raises(EdgepruneError, match=r"ends\.tflite has float32 and int8 ends"):
        measure(_job(path))


def test_a_broken_file_gets_no_figures(network, tmp_path, monkeypatch) -> None:
    path = tmp_path / "cut.tflite"
    path.write_bytes(network.read_bytes()[:-300])
    monkeypatch.setattr(ethos_u, "run_tool", lambda *a, **k: pytest.fail("Vela was started"))
    with pytest.raises(EdgepruneError, match=r"cut\.tflite: is cut off or damaged"):
        measure(_job(path))
    with pytest.raises(EdgepruneError, match="cannot be read"):
        measure(_job(tmp_path / "absent.tflite"))


def test_vela_that_takes_too_long_is_stopped(network) -> None:
    with pytest.raises(EdgepruneError, match=r"device ethos-u55-128: .* gave no answer in 0\.01 s"):
        measure(_job(network, timeout_s=0.01))


def _pretend(code: str, monkeypatch) -> None:
    """Another program in Vela's place; it finds the options in sys.argv."""
    monkeypatch.setattr(ethos_u, "run_tool", lambda c, *a, **k: run_tool([sys.executable, "-c", code, *c[1:]], *a, **k))


WRITES = """
import shutil, pathlib
out = pathlib.Path("out"); out.mkdir()
shutil.copy("network.tflite", out / "network_vela.tflite")
(out / "network_summary_x.csv").write_text("{}")
"""


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("print('Error: no memory left.'); exit(1)", r"Vela cannot compile network\.tflite \(Error: no memory left\)"),
        ("pass", r"Vela cannot compile network\.tflite \(it said nothing\)"),
        (WRITES.format("cycles_total\\n5\\n7\\n"), "summary has 2 rows"),
        (WRITES.format("cycles\\n5\\n"), "has no cycles_total"),
        (WRITES.format("cycles_total\\nnan\\n"), "has no cycles_total"),
        (WRITES.format("cycles_total\\n5\\n"), "has no sram_memory_used"),
    ],
)
def test_what_vela_may_leave_behind(network, monkeypatch, code, says) -> None:
    _pretend(code, monkeypatch)
    with pytest.raises(EdgepruneError, match=f"device ethos-u55-128: .*{says}"):
        measure(_job(network))


def test_a_compiled_network_with_other_ends(network, tmp_path, monkeypatch) -> None:
    other = tiny_tflite.write(tiny_tflite.float_model(), tmp_path / "other.tflite")
    _pretend(WRITES.format("cycles_total\\n5\\n").replace('"network.tflite"', repr(str(other))), monkeypatch)
    with pytest.raises(EdgepruneError, match="to a network with other ends"):
        measure(_job(network))


def test_threads_and_a_missing_vela_are_refused(network, monkeypatch) -> None:
    with pytest.raises(EdgepruneError, match="has one core"):
        measure(_job(network, threads=(1, 2)))
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ethosu" else find_spec(name))
    with pytest.raises(EdgepruneError, match=r"ethos-u-vela; pip install 'edgeprune\[mcu\]'"):
        measure(_job(network))
