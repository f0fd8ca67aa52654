import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tiny_tflite

from edgeprune.devices import adb, adb_phone, benchmark_model
from edgeprune.devices.request import BenchRequest, DeviceOptions, Inputs
from edgeprune.devices.settings import setting, settings_path
from edgeprune.errors import CheckFailedError, EdgepruneError

# No phone: a program that stands in for adb. A folder is its phone; a line for the phone's shell is run by this
# computer's, so that what is quoted is quoted for a shell, and what is pushed is there to be run.
ADB = r"""#!/bin/sh
phone={phone}
printf '%s\0' "$@" >> "$phone/calls"
printf '\1' >> "$phone/calls"
there() {{ printf '%s' "$1" | sed "s#/data/local/tmp#$phone/data#g"; }}
fail() {{ printf '%s\n' "$1" >&2; exit 1; }}
if [ "$1" = -s ]; then
    [ "$2" = R58M:x-1 ] || fail "error: device '$2' not found"
    shift 2
fi
[ "$(cat "$phone/state")" = device ] || fail "$(cat "$phone/state")"
verb=$1
shift
case $verb in
get-state) printf '* daemon started successfully\ndevice\n' ;;
shell) PATH="$phone/bin:$PATH" exec sh -c "$(there "$*")" </dev/null ;;
push) cp -- "$1" "$(there "$2")" && echo "$1: 1 file pushed" ;;
pull)
    source=$(there "$1")
    [ -f "$source" ] || fail "adb: error: failed to stat remote object '$1': No such file or directory"
    cp -- "$source" "$2" && echo "$1: 1 file pulled"
    ;;
esac
"""
# Stands in for TFLite's benchmark_model: LiteRT computes the outputs; the lines it prints are those of the real one
# (tensorflow/lite/tools/benchmark/benchmark_model.cc), the times are made up.
BENCHMARK = """#!{python}
import sys
flags = dict(word[2:].split("=", 1) for word in sys.argv[1:])
{before}
import numpy as np
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(flags["graph"])
interpreter.allocate_tensors()
(given,), (due,) = interpreter.get_input_details(), interpreter.get_output_details()
assert flags["input_layer_shape"] == ",".join(map(str, given["shape"]))
name, path = flags["input_layer_value_files"].split(":")
assert name == flags["input_layer"]
value = np.fromfile(path, dtype=given["dtype"])
print("STARTING!")
if {unknown!r}:
    print("Unconsumed cmdline flags: " + {unknown!r})
print("Graph: [%s]" % flags["graph"])
print("INFO: Explicitly applied XNNPACK delegate, and the model graph will be partially executed by the delegate w/ 1 "
      "delegate kernels.")
interpreter.set_tensor(given["index"], value.reshape(given["shape"]))
interpreter.invoke()
output = interpreter.get_tensor(due["index"])
{after}
print("INFO: count=%s first=9187533 curr=9140990 min=9140071 max=9195121 avg=9.14553e+06 std=13583 p5=9140545 "
      "median=9141253 p95=9187533" % flags["warmup_runs"])
print()
print("INFO: " + {line!r} % flags["num_runs"])
print()
print("INFO: Inference timings in us: Init: 92318, First inference: 187533, Warmup (avg): 211669, Inference (avg): 5")
print("INFO: Memory footprint delta from the start of the tool (MB): init=54.25 overall=73.5")
if "--output_filepath" not in {unknown!r}:
    output.tofile(flags["output_filepath"])
"""
NEW = "count=%s first=187533 curr=140990 min=140071 max=195121 avg=145528 std=13583 p5=140545 median=141253 p95=187533"
OLD = "count=%s first=2990275 curr=2913402 min=2727568 max=3189954 avg=2.95034e+06 std=109798"


class Phone:
    """The stand-in's folder, and what was asked of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "data").mkdir()
        (folder / "bin").mkdir()
        self.state("device")
        self._program("bin/getprop", '#!/bin/sh\n[ "$1" = ro.product.model ] && echo "Pixel \'8\'" || echo "of $1"\n')
        (folder / "path").mkdir()
        self._program("path/adb", ADB.format(phone=folder))

    def state(self, text: str) -> None:
        (self.folder / "state").write_text(text)

    def calls(self) -> list[list[str]]:
        """The words of each call of adb."""
        path = self.folder / "calls"
        calls = path.read_text(encoding="utf-8").split("\1")[:-1] if path.is_file() else []
        return [call.split("\0")[:-1] for call in calls]

    def left(self) -> list[Path]:
        return list((self.folder / "data").iterdir())

    def benchmark(self, line: str = NEW, before: str = "", after: str = "", unknown: str = "") -> Path:
        """A benchmark_model that prints `line` and does what it is told before and after it computes."""
        text = BENCHMARK.format(python=sys.executable, line=line, before=before, after=after, unknown=unknown)
        return self._program('it\'s a "benchmark"', text)

    def _program(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o755)
        return path


@pytest.fixture
def phone(monkeypatch):
    with tempfile.TemporaryDirectory(prefix="edgeprune-phone-") as folder:
        made = Phone(Path(folder))
        monkeypatch.setenv("PATH", f"{folder}/path{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("XDG_CONFIG_HOME", f"{folder}/config")
        monkeypatch.delenv(benchmark_model.BENCHMARK_MODEL, raising=False)
        yield made
        assert made.left() == []


@pytest.fixture
def int8(tmp_path) -> Path:
    place = tmp_path / 'it\'s "one"\n & -two; $(three)'
    place.mkdir()
    weights = np.random.default_rng(3).integers(-127, 128, (8, 64), dtype=np.int8)
    bias = np.arange(8, dtype=np.int32)
    model = tiny_tflite.dense_model(weights, bias, 1, "int8", (0.5, 3), 0.25, (20.0, -5))
    return tiny_tflite.write(model, place / "-a 'b' \"c\"\n$(d).tflite")


def inputs(path: Path, count: int = 1) -> Inputs:
    return Inputs(np.random.default_rng(1).normal(0, 20, (count, 64)).astype(np.float32), f"{count} draws")


def refusal(benchmark: Path | None, *paths: Path, error=EdgepruneError, device: str = "adb:", **asked) -> str:
    with pytest.raises(error) as caught:
        adb.measure(BenchRequest(device, paths, inputs, options=DeviceOptions(benchmark_model=benchmark), **asked))
    assert type(caught.value) is error
    text = str(caught.value)
    assert text.startswith("device adb:")
    assert text.endswith(".")
    assert "\n" not in text.replace(str(paths[0].name) if paths else "", "")
    return text


def test_records_of_a_phone(phone, int8) -> None:
    benchmark = phone.benchmark()
    job = BenchRequest(
        "adb:R58M:x-1",
        (int8,),
        lambda path: inputs(path, 2),
        threads=(1, 4),
        runs=25,
        options=DeviceOptions(benchmark_model=benchmark),
    )
    records = adb.measure(job)
    assert [record.threads for record in records] == [1, 4]
    for record in records:
        assert (record.device, record.kind, record.unit, record.runs) == ("adb:R58M:x-1", "measured", "ms", 25)
        # of the line about the timed runs, which comes after that about the warm-up
        assert (record.p5, record.median, record.p95) == (140.545, 141.253, 187.533)
        assert record.peak_ram_bytes == 73.5 * 1024 * 1024
        assert record.model == int8.name
        assert record.sha256 == hashlib.sha256(int8.read_bytes()).hexdigest()
        detail = record.detail
        assert detail["phone"] == "Pixel '8'"
        assert detail["abi"] == "of ro.product.cpu.abi"
        assert detail["statistics"] == "percentiles"
        assert detail["init_ms"] == 92.318
        assert detail["checked"] == "within 0 of TFLite's on 2 inputs"
        assert (detail["xnnpack"], detail["cut_short"], detail["inputs"]) == (True, False, "2 draws")
        assert json.loads(json.dumps(record.to_dict(), allow_nan=False)) == record.to_dict()
    assert all(call[:2] == ["-s", "R58M:x-1"] for call in phone.calls())
    runs = [call[-1] for call in phone.calls() if "--graph=" in call[-1]]
    assert len(runs) == 2 * (2 + 1)
    assert "--num_runs=25 --min_secs=0" in runs[2]
    assert "--num_threads=4" in runs[-1]


def test_what_older_ones_print_is_not_called_percentiles(phone, int8) -> None:
    job = BenchRequest("adb:", (int8,), inputs, runs=5, options=DeviceOptions(benchmark_model=phone.benchmark(OLD)))
    (record,) = adb.measure(job)
    assert (record.p5, record.median, record.p95, record.runs) == (2727.568, 2950.34, 3189.954, 5)
    assert record.detail["statistics"].startswith("mean in place of the median, least and largest run")


@pytest.mark.parametrize(
    ("said", "due"),
    [
        ("count=1 curr=3512391\n\ncount=1 curr=17", (1, 17, 17, 17)),
        ("INFO: count=7 curr=12(all same)", (7, 12, 12, 12)),
        ("count=7 curr=12(all same) p5=12 median=12 p95=12", (7, 12, 12, 12)),
        # six digits of the mean lie beyond the largest run
        ("count=2 first=1000001 curr=1000002 min=1000001 max=1000002 avg=1e+06 std=0", (2, 1000001, 1000001, 1000002)),
    ],
)
def test_lines_about_times(said, due) -> None:
    times = benchmark_model.parse_times("adb:", said)
    assert (times.runs, times.p5_us, times.median_us, times.p95_us) == due
    assert times.init_ms is times.peak_ram_bytes is None


@pytest.mark.parametrize("said", ["", "count=0", "count=0 p5=nan median=nan p95=nan", "count=4", "counter=4 curr=5"])
def test_no_times(said) -> None:
    with pytest.raises(EdgepruneError, match="printed no times"):
        benchmark_model.parse_times("adb:", said)


def test_memory_as_older_ones_print_it() -> None:
    said = (
        "count=2 curr=3\nPeak memory footprint (MB): init=4.92969 overall=2\nOverall peak memory footprint (MB) via: 9"
    )
    assert benchmark_model.parse_times("adb:", said).peak_ram_bytes == 2 * 1024 * 1024


def test_a_phone_that_computes_something_else(phone, int8) -> None:
    wrong = phone.benchmark(after="output[0, 3] ^= 64")
    assert "differs from the reference by" in refusal(wrong, int8, error=CheckFailedError)
    # right on every clip, wrong when it is timed
    wrong = phone.benchmark(after="output[0, 3] ^= 64 * (flags['num_runs'] != '1')")
    assert "differs from the reference by" in refusal(wrong, int8, error=CheckFailedError)


def test_a_benchmark_model_that_writes_no_outputs(phone, int8) -> None:
    old = phone.benchmark(OLD, unknown="--output_filepath=/x --min_secs=0")
    text = refusal(old, int8)
    assert "cannot write outputs, without which nothing is measured" in text
    assert "--output_filepath" in text
    assert "cannot write outputs" in refusal(phone.benchmark(after="flags['output_filepath'] = '/dev/null'"), int8)
    short = phone.benchmark(after="output = output[:, :5]")
    assert "wrote 5 bytes" in refusal(short, int8)
    older = phone.benchmark(OLD, unknown="--input_layer_value_files=/x")
    assert "does not know --input_layer_value_files; give a newer one" in refusal(older, int8)


def test_a_benchmark_model_that_fails(phone, int8) -> None:
    failed = phone.benchmark(
        before="print('ERROR: Failed to allocate tensors!', file=sys.stderr); print('x'); sys.exit(1)"
    )
    assert "(Failed to allocate tensors!); check the file, and that the benchmark_model is for of ro." in refusal(
        failed, int8
    )
    assert "did not run" in refusal(phone.benchmark(before="sys.exit(0)"), int8)
    other = phone.folder / "other"
    other.write_bytes(b"\x7fELF of another processor")
    assert "did not run" in refusal(other, int8)


def test_a_phone_that_hangs_is_cut_off(phone, int8) -> None:
    hangs = phone.benchmark(before="open(flags['graph'] + '.at_work', 'w'); import time; time.sleep(300)")
    text = refusal(hangs, int8, timeout_s=1.5)
    assert "adb gave no answer in 1.5 s and was stopped" in text
    # the last call ended what was still running: its folder and its process are gone
    folder = phone.calls()[-1][-1].rpartition(" ")[2].rpartition("/")[2]
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert folder.encode() not in entry.read_bytes()
        except OSError:
            continue


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("error: no devices/emulators found", "is not there; connect a phone"),
        ("error: more than one device/emulator", "give its serial as adb:SERIAL"),
        (
            "error: device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set\nTry 'adb kill-server'",
            "has not allowed this computer; unlock the phone",
        ),
        ("error: device offline", "does not answer; reconnect"),
        ("error: insufficient permissions for device: user in plugdev group", "udev rules"),
        ("error: device still authorizing", "has not allowed this computer yet"),
        ("error: protocol fault", "cannot be used (error: protocol fault)"),
    ],
)
def test_phones_that_are_not_reached(phone, int8, state, words) -> None:
    phone.state(state)
    assert words in refusal(phone.benchmark(), int8)
    assert len(phone.calls()) == 1


def test_a_serial_that_is_not_there(phone, int8) -> None:
    assert "is not there; adb devices lists" in refusal(phone.benchmark(), int8, device="adb:other")


@pytest.mark.parametrize(
    ("device", "serial"),
    [
        ("adb:", None),
        ("adb:R58M", "R58M"),
        ("adb:emulator-5554", "emulator-5554"),
        ("adb:10.0.0.7:5555", "10.0.0.7:5555"),
    ],
)
def test_serials(device, serial) -> None:
    assert adb_phone.parse(device) == serial


@pytest.mark.parametrize(
    "device", ["adb", "adb:-s", "adb:a b", "adb:a;b", "adb:a\n", "adb:$(a)", "adb:a/b", "ADB:a", "x:a"]
)
def test_serials_that_are_none(device) -> None:
    with pytest.raises(EdgepruneError, match="is no phone; give adb: or adb:SERIAL") as caught:
        adb_phone.parse(device)
    assert "\n" not in str(caught.value)


def test_without_adb(int8, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "/no/where")
    assert refusal(None, int8) == "device adb:: needs adb, which is not installed; install adb."


def test_where_the_benchmark_model_is_named(phone, int8, monkeypatch) -> None:
    job = BenchRequest("adb:", (int8,), inputs)
    with pytest.raises(EdgepruneError, match="name it with --benchmark-model, in EDGEPRUNE_BENCHMARK_MODEL or as andr"):
        benchmark_model.find_benchmark_model(job)
    settings_path().parent.mkdir(parents=True)
    settings_path().write_text('[android]\nbenchmark_model = "/from/settings"\n', encoding="utf-8")
    with pytest.raises(EdgepruneError, match="/from/settings is no file"):
        benchmark_model.find_benchmark_model(job)
    monkeypatch.setenv(benchmark_model.BENCHMARK_MODEL, "/from/environment")
    with pytest.raises(EdgepruneError, match="/from/environment is no file"):
        benchmark_model.find_benchmark_model(job)
    with pytest.raises(EdgepruneError, match="/from/job is no file"):
        benchmark_model.find_benchmark_model(
            BenchRequest("adb:", (int8,), inputs, options=DeviceOptions(benchmark_model=Path("/from/job")))
        )
    benchmark = phone.benchmark()
    monkeypatch.setenv(benchmark_model.BENCHMARK_MODEL, str(benchmark))
    assert benchmark_model.find_benchmark_model(job) == benchmark


def test_settings(phone) -> None:
    assert settings_path() == phone.folder / "config" / "edgeprune" / "settings.toml"
    assert setting("android.benchmark_model") is None
    settings_path().parent.mkdir(parents=True)
    for text, words in (
        ("[android", "is not valid TOML"),
        ("android.benchmark_model = 3", "android.benchmark_model is 3; give a text"),
    ):
        settings_path().write_text(text, encoding="utf-8")
        with pytest.raises(EdgepruneError, match=words):
            setting("android.benchmark_model")
    settings_path().write_bytes(b"\xff")
    with pytest.raises(EdgepruneError, match="is not valid TOML"):
        setting("android.benchmark_model")
    settings_path().write_text("android = 3", encoding="utf-8")
    assert setting("android.benchmark_model") is None
    settings_path().unlink()
    settings_path().mkdir()
    with pytest.raises(EdgepruneError, match="cannot be read"):
        setting("android.benchmark_model")


def test_numbers_out_of_range(phone, int8) -> None:
    for asked in ({"threads": ()}, {"threads": (0,)}, {"runs": 0}):
        assert "give counts of 1 or more" in refusal(phone.benchmark(), int8, **asked)
    assert phone.calls() == []
