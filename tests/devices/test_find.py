import importlib.util
from pathlib import Path

import conv_tflite
import pytest
import tiny_tflite
from calls import call, call_json

from edgeprune.devices import find
from edgeprune.devices.bench import bench
from edgeprune.devices.find import DEVICES, find_device, require_device
from edgeprune.devices.request import DeviceOptions
from edgeprune.errors import EdgepruneError


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("host", "host"),
        ("tflm", "tflm"),
        ("cortex-m0", "cortex_m"),
        ("cortex-m33", "cortex_m"),
        ("riscv32", "riscv"),
        ("cortex-m55", "cortex_m"),  # refused there, with the reason
        ("ethos-u85-256", "ethos_u"),
        ("ethos-u65-512", "ethos_u"),
        ("ssh://pi@board:2222", "ssh"),
        ("adb:", "adb"),
        ("adb:R58M123ABC", "adb"),
        ("browser", "browser"),
        ("browser://0.0.0.0:0", "browser"),
    ],
)
def test_devices_by_name(name, module):
    assert find_device(name).module == module


@pytest.mark.parametrize("name", ["hosts", "", "ssh", "ssh:/board", "adb", "browser:", "http://board", "host "])
def test_other_names_are_refused(name):
    with pytest.raises(EdgepruneError, match=f"device '{name}' is unknown"):
        find_device(name)


def test_what_is_missing_is_told_with_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(find, "_is_installed", lambda module: module != "tflite_micro")
    with pytest.raises(
        EdgepruneError, match=r"needs arm-none-eabi-gcc, qemu-system-arm, tflite_micro, .*apt-get install"
    ):
        require_device("cortex-m4")
    with pytest.raises(EdgepruneError, match="needs ssh, not installed here; apt-get install openssh-client"):
        bench((), "ssh://pi@board")


def test_bench_tells_a_missing_program_and_exits_2(capsys, monkeypatch, tmp_path):
    path = tiny_tflite.write(tiny_tflite.float_model(), tmp_path / "whole.tflite")
    monkeypatch.setenv("PATH", str(tmp_path))
    code, out, err = call(capsys, "bench", path, "--device", "adb:")
    assert (code, out) == (2, "")
    assert "device adb:: needs adb, not installed here; apt-get install adb" in err


def test_bench_does_not_report_a_network_that_computes_something_else(capsys, monkeypatch, tmp_path):
    """XNNPACK's answer is tampered with."""
    from edgeprune.devices import host

    path = tiny_tflite.write(tiny_tflite.float_model(), tmp_path / "whole.tflite")
    honest = host.TFLiteModel.invoke_flat
    monkeypatch.setattr(host.TFLiteModel, "invoke_flat", lambda self, x: honest(self, x) + self.tampered, raising=True)
    monkeypatch.setattr(host.TFLiteModel, "tampered", 0, raising=False)
    assert call(capsys, "bench", path, "--runs", "1")[0] == 0
    loaded = host.TFLiteModel.__init__

    def load(self, *args, xnnpack=True, **rest):
        loaded(self, *args, xnnpack=xnnpack, **rest)
        self.tampered = 1 if xnnpack else 0

    monkeypatch.setattr(host.TFLiteModel, "__init__", load)
    code, out, err = call(capsys, "bench", path, "--runs", "1")
    assert (code, out) == (4, "")
    assert "device host: whole.tflite differs from the reference by 1, more than 0.0" in err
    assert "nothing was measured" in err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--timeout", "0"], "--timeout 0: give seconds above 0"),
        (["--clock", "fast"], "'fast' is not a clock"),
        (["--device", "riscv32", "--engine", "cmsis"], "invalid choice"),
        (["--device", "tfml"], "perhaps you meant 'tflm'"),
        (["--clips", "no.wav"], "describes no front-end"),
    ],
)
def test_wrong_flags(capsys, tmp_path, flags, message):
    path = tiny_tflite.write(tiny_tflite.float_model(), tmp_path / "whole.tflite")
    code, out, err = call(capsys, "bench", path, *flags)
    assert (code, out) == (2, "")
    assert message in " ".join(err.replace("│", " ").split())


def test_doctor_tells_which_devices_can_be_used(capsys, monkeypatch, tmp_path):
    devices = {tuple(row["names"]): row for row in call_json(capsys, "doctor")["devices"]}
    assert list(devices) == [device.names for device in DEVICES]
    assert devices[("host",)]["usable"]
    monkeypatch.setenv("PATH", str(tmp_path))
    devices = {tuple(row["names"]): row for row in call_json(capsys, "doctor")["devices"]}
    assert devices[("host",)]["usable"]
    assert devices[("ssh://",)]["missing"] == ["ssh"]
    assert "openssh-client" in devices[("ssh://",)]["install"]
    code, out, _ = call(capsys, "doctor")
    assert code == 0
    assert "needs arm-none-eabi-gcc, qemu-system-arm" in out


def test_bench_from_python_is_a_table(tmp_path):
    path = tiny_tflite.write(tiny_tflite.float_model(), tmp_path / "whole.tflite")
    measured = bench(path, runs=3, threads=(1, 2))
    table = measured.table()
    assert list(table["device"]) == ["host", "host"]
    assert list(table["threads"]) == [1, 2]
    assert list(table["median"]) == [record["median"] for record in measured.to_json()]
    assert "detail" not in table
    assert "<table" in measured._repr_html_()


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        (DeviceOptions(clock_hz=80e6), "--clock"),
        (DeviceOptions(benchmark_model=Path("benchmark_model")), "--benchmark-model"),
        (DeviceOptions(xnnpack=False), "--no-xnnpack"),
    ],
)
def test_options_of_another_device_are_refused(options, flag):
    with pytest.raises(EdgepruneError, match=f"device tflm: takes no {flag}; leave it out"):
        bench("model.tflite", "tflm", options=options)


def test_several_devices_are_measured_in_turn(capsys, tmp_path):
    if importlib.util.find_spec("tflite_micro") is None:
        pytest.skip("needs tflite-micro, which has wheels for Linux")
    path = conv_tflite.conv_network(tmp_path / "model.tflite")
    measured = bench(path, ["host", "tflm"], runs=3, options=DeviceOptions(xnnpack=False))
    assert [record.device for record in measured.records] == ["host", "tflm"]
    assert [record.detail.get("xnnpack") for record in measured.records] == [False, None]
    code, out, _ = call(capsys, "bench", path, "--device", "host, tflm", "--runs", "3")
    assert code == 0
    assert [f"model.tflite on {device}" in out for device in ("host", "tflm")] == [True, True]
    with pytest.raises(EdgepruneError, match="device host,tflm: takes no --engine; leave it out"):
        bench(path, ["host", "tflm"], options=DeviceOptions(engine="cmsis-nn"))
    with pytest.raises(EdgepruneError, match="device: none is named; give one, such as host"):
        bench(path, [])


def test_help_tells_what_no_xnnpack_does(capsys):
    code, out, _ = call(capsys, "bench", "--help")
    words = " ".join(out.replace("│", " ").split())
    assert code == 0
    assert "--no-xnnpack Host: TFLite's own kernels, without the XNNPACK delegate. (default: with it)" in words
