import hashlib
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tiny_tflite
from board import board_python, running_board, write_client

from edgeprune.devices import ssh
from edgeprune.devices.inputs import inputs_for
from edgeprune.devices.request import BenchRequest, Inputs
from edgeprune.errors import CheckFailedError, EdgepruneError

FAKE = "ai_edge_litert/interpreter.py"  # the first the program looks for
SUBCLASS = "import tflite_runtime.interpreter as real\nclass Interpreter(real.Interpreter):\n    "


@pytest.fixture(scope="module")
def board():
    with running_board() as started:
        yield started


@pytest.fixture
def at(board, monkeypatch):
    """The board, with its own Python and the client's configuration in the environment; it must be left clean."""
    monkeypatch.setenv(ssh.SSH_CONFIG, str(board.config))
    monkeypatch.setenv(ssh.REMOTE_PYTHON, str(board_python()))
    yield board
    assert board.wait_until_clean() == []


@pytest.fixture
def int8(tmp_path) -> Path:
    weights = np.random.default_rng(3).integers(-127, 128, (8, 64), dtype=np.int8)
    model = tiny_tflite.dense_model(
        weights,
        np.arange(8, dtype=np.int32),
        ends="int8",
        input_scale=(0.5, 3),
        weight_scale=0.25,
        output_scale=(20.0, -5),
    )
    return tiny_tflite.write(model, tmp_path / "int8.tflite")


@pytest.fixture
def float32(tmp_path) -> Path:
    place = tmp_path / 'it\'s "one"\n & -two; $(three)'
    place.mkdir()
    return tiny_tflite.write(tiny_tflite.float_model(64, 8), place / "-a 'b' \"c\"\n$(d).tflite")


def inputs(path: Path) -> Inputs:
    return Inputs(np.random.default_rng(1).normal(0, 20, (4, 64)).astype(np.float32), "4 draws")


def job(board, *paths, **asked) -> BenchRequest:
    return BenchRequest(board.url, paths, inputs, **{"runs": 7, "timeout_s": 60, **asked})


def answering(monkeypatch, answer: str) -> None:
    """Let a board that is not there answer."""
    done = subprocess.CompletedProcess([], 0, f"Welcome\n{answer}\n".encode(), b"")
    monkeypatch.setattr(ssh, "_converse", lambda *_: done)


def refusal(board, *paths, error=EdgepruneError, **asked) -> str:
    """The sentence with which a measurement ends, which names the device and is one."""
    with pytest.raises(error) as caught:
        ssh.measure(job(board, *paths, **asked))
    assert type(caught.value) is error
    text = str(caught.value)
    assert text.startswith(f"device {board.url}: ")
    assert text.endswith(".")
    return text


def test_records_of_a_board(at, int8, float32) -> None:
    records = ssh.measure(job(at, int8, float32, threads=(1, 2)))
    assert [(record.threads, record.model) for record in records] == [
        (1, int8.name),
        (1, float32.name),
        (2, int8.name),
        (2, float32.name),
    ]
    for record, path in zip(records, [int8, float32] * 2, strict=True):
        assert (record.device, record.kind, record.unit, record.runs) == (at.url, "measured", "ms", 7)
        assert 0 < record.p5 <= record.median <= record.p95
        assert record.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        detail = record.detail
        assert record.peak_ram_bytes >= detail["ram_before_model_bytes"] > 1_000_000
        assert detail["runtime"] == "tflite-runtime 2.14.0"
        assert detail["numpy"] == "1.26.4"
        assert detail["inputs"] == "4 draws"
        assert json.loads(json.dumps(record.to_dict(), allow_nan=False)) == record.to_dict()
    # that version has no XNNPACK for int8, and its plain kernels round as the reference's
    assert records[0].detail["xnnpack"] is False
    assert records[0].detail["checked"] == "bytes equal to TFLite's on 4 inputs"
    assert records[1].detail["checked"].startswith("within ")


def test_a_real_network_of_others(at, shared_data) -> None:
    path = shared_data / "models" / "dcase2022_baseline" / "model_task1.tflite"
    (record,) = ssh.measure(BenchRequest(at.url, (path,), inputs_for, runs=3))
    assert record.kind == "measured"
    assert "10 inputs" in record.detail["checked"]


def test_files_that_have_to_be_newer(at, tmp_path) -> None:
    model = tiny_tflite.float_model(64, 8)
    model.operatorCodes[0].version = 12
    text = refusal(at, tiny_tflite.write(model, tmp_path / "dynamic.tflite"))
    assert "dynamic.tflite has FULLY_CONNECTED of version 12" in text
    assert "tflite-runtime 2.14.0" in text
    assert "int8 or float32" in text


def test_wrong_outputs_are_no_measurement(at, int8, float32, monkeypatch) -> None:
    wrong = "def get_tensor(self, index):\n        return super().get_tensor(index) * 3"
    monkeypatch.setenv(ssh.REMOTE_PYTHON, str(at.python_with({FAKE: SUBCLASS + wrong})))
    assert "int8.tflite differs from the reference by" in refusal(at, int8, error=CheckFailedError)
    assert "differs from the reference by" in refusal(at, float32, error=CheckFailedError)


@pytest.mark.parametrize(
    ("dtype", "outputs", "words"),
    [
        ("float32", [[None] * 8] * 4, "differs from the reference by nan"),
        ("float32", [[0.0] * 7] * 4, r"gave float32 \[4, 7\] where float32 \[4, 8\] was due"),
        ("float32", [[0.0] * 8] * 3, r"gave float32 \[3, 8\] where float32 \[4, 8\] was due"),
        ("int8", [[0] * 8] * 4, r"gave int8 \[4, 8\] where float32 \[4, 8\] was due"),
    ],
)
def test_outputs_that_cannot_be_right(float32, monkeypatch, dtype, outputs, words) -> None:
    result = {"times_ns": [1] * 7, "outputs": outputs, "outputs_dtype": dtype, "delegate": None}
    answering(monkeypatch, json.dumps({"results": [result]}))
    with pytest.raises(CheckFailedError, match=words):
        ssh.measure(BenchRequest("ssh://u@host", (float32,), inputs, runs=7))


def test_steps_apart_are_allowed(at, tmp_path, monkeypatch) -> None:
    weights = np.ones((2, 64), dtype=np.int8)
    bias = np.zeros(2, dtype=np.int32)
    # a step of the output is 0.004, as that of a softmax
    model = tiny_tflite.dense_model(weights, bias, 1, "int8", (0.5, 0), 0.001, (1 / 256, 0))
    path = tiny_tflite.write(model, tmp_path / "steps.tflite")
    body = (
        "def get_tensor(self, index):\n        return super().get_tensor(index) ^ 1\n"
        "    def _get_ops_details(self):\n        return [{'op_name': 'DELEGATE'}]"
    )
    monkeypatch.setenv(ssh.REMOTE_PYTHON, str(at.python_with({FAKE: SUBCLASS + body})))
    (record,) = ssh.measure(job(at, path))
    assert record.detail["checked"] == "within 0.0039 of TFLite's on 4 inputs"
    assert record.detail["xnnpack"] is True


def test_what_the_board_lacks(at, int8, monkeypatch) -> None:
    monkeypatch.setenv(ssh.REMOTE_PYTHON, "/no/where/it's python")
    assert "has no /no/where/it's python; install Python 3.7" in refusal(at, int8)
    monkeypatch.setenv(ssh.REMOTE_PYTHON, str(at.wrapper("echo 'no such module' >&2; exit 1")))
    assert "that is no Python 3.7 or newer (no such module)" in refusal(at, int8)
    bare = at.folder / "bare"
    subprocess.run([board_python(), "-m", "venv", "--without-pip", bare], check=True)
    monkeypatch.setenv(ssh.REMOTE_PYTHON, str(bare / "bin" / "python"))
    assert "has no numpy that loads (No module named 'numpy'); install numpy there" in refusal(at, int8)
    for part in ("numpy", "numpy.libs"):
        place = next((board_python().parents[1] / "lib").glob(f"python3*/site-packages/{part}"))
        (next((bare / "lib").glob("python3*")) / "site-packages" / part).symlink_to(place)
    assert "has no TFLite interpreter; install ai-edge-litert or tflite-runtime there" in refusal(at, int8)
    broken = at.python_with({FAKE: "import nothing_of_that_name", "tflite_runtime/interpreter.py": "1 / 0"})
    monkeypatch.setenv(ssh.REMOTE_PYTHON, str(broken))
    text = refusal(at, int8)
    assert "ai-edge-litert: No module named 'nothing_of_that_name'; tflite-runtime: division by zero" in text


def test_an_interpreter_that_crashes(at, int8, monkeypatch) -> None:
    body = "def invoke(self):\n        import os; os.abort()"
    monkeypatch.setenv(ssh.REMOTE_PYTHON, str(at.python_with({FAKE: SUBCLASS + body})))
    assert "the interpreter crashed (SIGABRT)" in refusal(at, int8)


def test_an_interpreter_that_hangs(at, int8, monkeypatch) -> None:
    body = "def invoke(self):\n        import time; time.sleep(300)"
    monkeypatch.setenv(ssh.REMOTE_PYTHON, str(at.python_with({FAKE: SUBCLASS + body})))
    start = time.monotonic()
    assert "gave no answer in 1.5 s and was stopped" in refusal(at, int8, timeout_s=1.5)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("grace_s", [2, -1])
def test_a_board_that_hangs_is_cut_off_on_both_ends(at, int8, monkeypatch, grace_s) -> None:
    # with the first, the shell on the board ends it; with the second, ssh is killed here before
    monkeypatch.setattr(ssh, "_GRACE_S", grace_s)
    monkeypatch.setenv(ssh.REMOTE_PYTHON, str(at.wrapper("sleep 300 & sleep 301")))
    assert "gave no answer in 2 s and was stopped; check the board or raise --timeout" in refusal(at, int8, timeout_s=2)


def test_a_connection_that_drops(at, int8, monkeypatch) -> None:
    monkeypatch.setenv(ssh.REMOTE_PYTHON, str(at.wrapper("sleep 300")))
    real = subprocess.Popen

    def drop(process) -> None:
        while not list(at.tmpdir.iterdir()):  # until it is at work over there
            time.sleep(0.05)
        process.kill()

    def start(*words, **named):
        process = real(*words, **named)
        threading.Thread(target=drop, args=(process,), daemon=True).start()
        return process

    monkeypatch.setattr(ssh.subprocess, "Popen", start)
    assert "ended with exit code -9 and no answer" in refusal(at, int8)


def test_noise_before_the_answer_does_not_matter(at, int8, monkeypatch) -> None:
    monkeypatch.setenv(ssh.REMOTE_PYTHON, str(at.wrapper(f'echo "{{Welcome}}"; exec "{board_python()}" "$@"')))
    assert ssh.measure(job(at, int8))[0].runs == 7


@pytest.mark.parametrize(
    "answer",
    [
        "[]",
        "{}",
        '{"results": [1]}',
        '{"results": [{"times_ns": [1, 2, 3, 4, 5, 6, 7], "outputs": [[1]], "outputs_dtype": "object"}]}',
        '{"results": [{"times_ns": [1, 2], "outputs": [[1]], "outputs_dtype": "int8"}]}',
        '{"results": [{"times_ns": [1, 2, 3, 4, 5, 6, 0], "outputs": [[1]], "outputs_dtype": "int8"}]}',
        '{"results": [{"times_ns": [1, 2, 3, 4, 5, 6, 7], "outputs": [[1], [1, 2]], "outputs_dtype": "int8"}]}',
        '{"results": [{"times_ns": [1, 2, 3, 4, 5, 6, 7], "outputs": [[1000]], "outputs_dtype": "int8"}]}',
        '{"results": NaN}',
    ],
)
def test_answers_that_make_no_sense(int8, monkeypatch, answer) -> None:
    answering(monkeypatch, answer)
    with pytest.raises(EdgepruneError, match=r"an answer that makes no sense|exit code 0 and no answer") as caught:
        ssh.measure(BenchRequest("ssh://u@host", (int8,), inputs, runs=7))
    assert type(caught.value) is EdgepruneError


def test_connections_that_are_not_made(at, int8, monkeypatch, tmp_path) -> None:
    def use(key: str, known_hosts: Path) -> None:
        path = write_client(tmp_path / f"config{len(list(tmp_path.iterdir()))}", at.folder / key, known_hosts)
        monkeypatch.setenv(ssh.SSH_CONFIG, str(path))

    known = at.folder / "known_hosts"
    use("other_key", known)
    assert "accepts none of your keys" in refusal(at, int8)
    empty = tmp_path / "known hosts"
    empty.touch()
    use("user_key", Path(f'"{empty}"'))
    assert "shows a host key that is not known" in refusal(at, int8)
    assert empty.read_text(encoding="ascii") == ""
    changed = tmp_path / "changed"
    other = (at.folder / "other_key.pub").read_text(encoding="ascii")
    changed.write_text(f"[127.0.0.1]:{at.port} {other}", encoding="ascii")
    use("user_key", changed)
    assert "shows another host key than the one known" in refusal(at, int8)
    monkeypatch.setenv(ssh.SSH_CONFIG, "/no/where")
    assert "no connection (" in refusal(at, int8)


def test_nobody_at_the_port(at, int8, monkeypatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(EdgepruneError, match=f"127.0.0.1:{port}: no connection .*Connection refused"):
        ssh.measure(BenchRequest(f"ssh://u@127.0.0.1:{port}", (int8,), inputs))
    with socket.socket() as mute:  # takes the connection and says nothing
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        with pytest.raises(EdgepruneError, match=r"no connection .*timed out|gave no answer in 1 s"):
            ssh.measure(BenchRequest(f"ssh://u@127.0.0.1:{mute.getsockname()[1]}", (int8,), inputs, timeout_s=1))
    monkeypatch.setenv("PATH", "/no/where")
    with pytest.raises(EdgepruneError, match="needs ssh, which is not installed; install openssh-client"):
        ssh.measure(job(at, int8))


@pytest.mark.parametrize(
    ("device", "parts"),
    [
        ("ssh://pi@raspberrypi.local", ("pi", "raspberrypi.local", None)),
        ("ssh://a.b_c-d@10.0.0.7:2222", ("a.b_c-d", "10.0.0.7", 2222)),
        ("ssh://pi@Board-1", ("pi", "Board-1", None)),
        ("ssh://pi@[::1]:22", ("pi", "::1", 22)),
        ("ssh://pi@[fe80::1%eth0]", ("pi", "fe80::1%eth0", None)),
        ("ssh://pi@host:65535", ("pi", "host", 65535)),
    ],
)
def test_addresses(device, parts) -> None:
    address = ssh.parse(device)
    assert (address.user, address.host, address.port) == parts


@pytest.mark.parametrize(
    "device",
    [
        "ssh://",
        "ssh://host",
        "ssh://@host",
        "ssh://u@",
        "ssh://-oProxyCommand=touch@host",
        "ssh://u@-oProxyCommand=touch",
        "ssh://u@host:0",
        "ssh://u@host:",
        "ssh://u@host:65536",
        "ssh://u@host:022",
        "ssh://u@host:22x",
        "ssh://u@host:-1",
        "ssh://u@host/",
        "ssh://u@host/path",
        "ssh://u@host?x=1",
        "ssh://u@host?",
        "ssh://u@host#x",
        "ssh://u@ho st",
        "ssh://u@host\n",
        "ssh://u\n@host",
        " ssh://u@host",
        "ssh://u@hóst",
        "ssh://u%20x@host",
        "ssh://u@::1",
        "ssh://u@[::1",
        "ssh://u@[host]",
        "ssh://u@[::1%$(x)]",
        "ssh://a@b@host",
        "SSH://u@host",
        "http://u@host",
        "ssh:u@host",
        "host",
    ],
)
def test_addresses_that_are_none(device) -> None:
    with pytest.raises(EdgepruneError, match="is no address of a board; give ssh://user@host") as caught:
        ssh.parse(device)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("secret", ["hunter2", "a@b", "x/y", "x:y", "p\nq", ""])
def test_passwords_are_refused_and_not_repeated(secret) -> None:
    with pytest.raises(EdgepruneError) as caught:
        ssh.measure(BenchRequest(f"ssh://pi:{secret}@host:22", (), inputs))
    assert str(caught.value) == "device ssh://pi:***@host:22: passwords are not taken; use a key and ssh-agent."


def test_numbers_out_of_range(int8) -> None:
    for asked in ({"threads": ()}, {"threads": (0,)}, {"runs": 0}, {"timeout_s": 0}, {"timeout_s": math.nan}):
        with pytest.raises(EdgepruneError, match="device ssh://u@host"):
            ssh.measure(BenchRequest("ssh://u@host", (int8,), inputs, **asked))
    with pytest.raises(EdgepruneError, match="no file to measure"):
        ssh.measure(BenchRequest("ssh://u@host", (), inputs))


class Shell:
    """The script that runs on the board, started here without ssh, by a given shell."""

    def __init__(self, shell: str, folder: Path, python: str, program: str = "", limit: int = 60) -> None:
        self.folder = folder
        archive = BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            member = tarfile.TarInfo("runner.py")
            member.size = len(program.encode())
            tar.addfile(member, BytesIO(program.encode()))
        self.process = subprocess.Popen(
            [shell, "-c", ssh.session_script(), "edgeprune", python, str(len(archive.getvalue())), str(limit)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "TMPDIR": str(folder)},
            start_new_session=True,  # as sshd does
            # under nohup the signal is ignored, which a shell passes on and cannot undo
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        )
        self.process.stdin.write(archive.getvalue())
        self.process.stdin.flush()

    def until_at_work(self) -> None:
        while not list(self.folder.glob("edgeprune.*/working")):
            time.sleep(0.02)

    def end(self) -> int:
        """The exit code; nothing may be left in the folder and in the group of processes."""
        code = self.process.wait(timeout=20)
        assert list(self.folder.iterdir()) == []
        end = time.monotonic() + 5
        while (running := self._running()) and time.monotonic() < end:
            time.sleep(0.02)
        assert running == []
        return code

    def _running(self) -> list[str]:
        """Processes of its session; those that ended but were not waited for yet are gone."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                state, _, _, session = entry.read_text(encoding="utf-8").rpartition(")")[2].split()[:4]
                found += [entry.parent.name] if session == str(self.process.pid) and state != "Z" else []
        return found


WORKING = (
    "import os, pathlib, subprocess, sys, time\nos.setpgid(0, 0)\n"
    "child = subprocess.Popen(['sleep', '299'])\npathlib.Path(sys.argv[2], 'working').touch()\ntime.sleep(300)\n"
)


@pytest.fixture(params=["dash", "bash", "busybox"])
def shell(request, tmp_path) -> str:
    """Shells that boards have."""
    found = shutil.which(request.param)
    if found is None:
        pytest.skip(f"needs {request.param}")
    if request.param != "busybox":
        return found
    (tmp_path / "bin").mkdir()
    link = tmp_path / "bin" / "sh"
    link.symlink_to(found)
    return str(link)


@pytest.fixture
def left(tmp_path) -> Path:
    folder = tmp_path / "what is 'left'"
    folder.mkdir()
    return folder


def test_the_script_of_the_board_ends_by_itself(shell, left) -> None:
    run = Shell(shell, left, sys.executable, "import sys; print(sys.argv[1:]); sys.exit(7)")
    assert run.process.stdout.read().startswith(b"['--own-group', ")
    assert run.end() == 7


def test_the_script_of_the_board_is_cut_off(shell, left) -> None:
    assert Shell(shell, left, sys.executable, WORKING, limit=1).end() == 95


def test_the_script_of_the_board_notices_the_end_of_the_connection(shell, left) -> None:
    run = Shell(shell, left, sys.executable, WORKING)
    run.until_at_work()
    run.process.stdin.close()
    assert run.end() == 95


def test_the_script_of_the_board_is_hung_up(shell, left) -> None:
    run = Shell(shell, left, sys.executable, WORKING)
    run.until_at_work()
    run.process.send_signal(signal.SIGHUP)
    assert run.end() == 96


def test_the_script_of_the_board_takes_no_broken_archive(shell, left) -> None:
    run = subprocess.run(
        [shell, "-c", ssh.session_script(), "edgeprune", sys.executable, "10240", "60"],
        input=b"cut off",
        env={**os.environ, "TMPDIR": str(left)},
        start_new_session=True,
        check=False,
        capture_output=True,
    )
    assert run.returncode == 92
    assert list(left.iterdir()) == []
    run = subprocess.run(
        [shell, "-c", ssh.session_script(), "edgeprune", sys.executable, "0", "60"],
        env={**os.environ, "TMPDIR": str(left / "no")},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        check=False,
        capture_output=True,
    )
    assert run.returncode == 91
