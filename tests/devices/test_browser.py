"""Headless Chromium as a device, and browsers elsewhere, whose part Chromium or a plain client plays."""

import hashlib
import http.client
import json
import queue
import re
import socket
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_tflite
from calls import call, call_json

from edgeprune.convert.float_ends import with_float_ends
from edgeprune.devices import browser as device
from edgeprune.devices import find, tools
from edgeprune.devices.bench import bench
from edgeprune.devices.browser_address import qr_code
from edgeprune.devices.checks import Expected
from edgeprune.devices.find import check_device, require_device
from edgeprune.devices.record import Measurements
from edgeprune.devices.request import BenchRequest, Inputs
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.tflite.interpreter import TFLiteModel

CLIPS = Inputs(np.random.default_rng(1).normal(0, 20, (4, 64)).astype(np.float32), "4 draws")


@pytest.fixture(autouse=True)
def _litert_js(litert_js: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEPRUNE_LITERT_JS", str(litert_js.parent))


@pytest.fixture
def int8(tmp_path: Path) -> Path:
    weights = np.random.default_rng(3).integers(-127, 128, (8, 64), dtype=np.int8)
    bias = np.arange(8, dtype=np.int32)
    model = tiny_tflite.dense_model(weights, bias, 1, "int8", (0.5, 3), 0.25, (20.0, -5))
    return tiny_tflite.write(model, tmp_path / "int8.tflite")


@pytest.fixture
def float32(tmp_path: Path) -> Path:
    return tiny_tflite.write(tiny_tflite.float_model(64, 8), tmp_path / "<img src=x onerror=alert(1)>.tflite")


def due(path: Path) -> list[float]:
    """The outputs of a file for the clips, one after the other, as real numbers."""
    outputs = Expected.of(BenchRequest("host", (path,), lambda _: CLIPS), path).outputs
    return TFLiteModel(path).dequantise(outputs).flatten().tolist()


# Chromium on this computer


@pytest.mark.slow
def test_records_of_chromium(browser: Any, int8: Path, float32: Path) -> None:
    records = bench([int8, float32], "browser", runs=7, threads=(1, 2), clips=CLIPS, timeout_s=120).records
    expected = [(threads, path) for threads in (1, 2) for path in (int8, float32)]
    assert [(record.threads, record.model) for record in records] == [(count, path.name) for count, path in expected]
    for record, (_, path) in zip(records, expected, strict=True):
        assert (record.device, record.kind, record.unit, record.runs) == ("browser", "measured", "ms", 7)
        assert 0 < record.p5 <= record.median <= record.p95
        assert record.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        detail = record.detail
        assert detail["browser"] == f"Chromium {browser.version}, headless"
        assert "HeadlessChrome" in detail["user_agent"]
        assert detail["cores"] >= 1
        assert [detail[f"wasm_{feature}"] for feature in ("simd", "relaxed_simd", "threads")] == [True] * 3
        assert not detail["in_background"]
        assert 0 < detail["clock_step_ms"] < 1
        assert detail["timed"].startswith("inference only")
        assert (detail["inputs"], detail["checked"].rpartition(" on ")[2]) == ("4 draws", "4 inputs")
        assert json.loads(json.dumps(record.to_dict(), allow_nan=False)) == record.to_dict()
    twin = with_float_ends(int8)
    assert records[0].detail["measured_bytes"] == len(twin)
    assert records[0].detail["measured_sha256"] == hashlib.sha256(twin).hexdigest()
    assert "between QUANTIZE and DEQUANTIZE" in records[0].detail["measured"]
    assert "measured" not in records[1].detail


@pytest.mark.slow
def test_a_real_network_of_others(browser: Any, shared_data: Path) -> None:
    path = shared_data / "models" / "dcase2022_baseline" / "model_task1.tflite"
    (record,) = bench(path, "browser", runs=3, timeout_s=120).records
    assert "10 inputs" in record.detail["checked"]


@pytest.mark.slow
def test_wrong_outputs_are_no_measurement(
    browser: Any, int8: Path, float32: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(device, "with_float_ends", lambda path: float32.read_bytes())
    code, out, err = call(capsys, "bench", int8, "--device", "browser", "--runs", "3", "--timeout", "120")
    assert (code, out) == (4, "")
    assert "device browser: int8.tflite differs from the reference by" in err


@pytest.mark.slow
def test_the_page_tells_why_it_failed(browser: Any, int8: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "with_float_ends", lambda path: b"no network")
    with pytest.raises(EdgepruneError, match=r"device browser: the page failed \(.+\); try a newer browser"):
        bench(int8, "browser", runs=3, clips=CLIPS, timeout_s=120)


@pytest.mark.slow
def test_what_chromium_lacks(float32: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("playwright", reason="needs playwright")
    program = tmp_path / "chromium"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("EDGEPRUNE_CHROMIUM", str(program))
    with pytest.raises(EdgepruneError, match=r"device browser: Chromium failed \(.+\); check that it starts here\."):
        bench(float32, "browser", runs=3, clips=CLIPS)


@pytest.mark.slow
def test_late_chromium_is_cut_off(browser: Any, float32: Path) -> None:
    with pytest.raises(
        EdgepruneError, match=r"Chromium gave no answer in 0\.01 s; give fewer files, or raise --timeout"
    ):
        bench(float32, "browser", runs=3, clips=CLIPS, timeout_s=0.01)


# A browser elsewhere


class Waiting:
    """A measurement that waits for a browser at the address it has shown."""

    def __init__(self, done: "Future[Measurements]", shown: str) -> None:
        self.done, self.shown = done, shown
        match = re.search(r"http://127\.0\.0\.1:(\d+)/([\w-]{22})/", shown)
        assert match
        self.url, self.port, self.token = match[0], int(match[1]), match[2]

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        """Status and content that a client gets."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.read()

    def post(self, answer: Any, **headers: str) -> int:
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return self.ask("POST", f"/{self.token}/answer", content, **headers)[0]


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Waiting]]:
    """Starts a measurement of a file that waits for a browser."""
    shown: queue.Queue[str] = queue.Queue()
    monkeypatch.setattr(device, "show", lambda text, drawing: shown.put(text))
    with ThreadPoolExecutor(1) as pool:

        def start(path: Path, timeout_s: float = 60) -> Waiting:
            settings: dict[str, Any] = {"runs": 3, "clips": CLIPS, "timeout_s": timeout_s}
            return Waiting(pool.submit(bench, path, "browser://127.0.0.1:0", **settings), shown.get(timeout=60))

        yield start


BROWSER = {
    "cores": 8, "simd": True, "relaxed_simd": False, "threads": False, "clock_step_ms": 0.1, "hidden": True,
}  # fmt: skip


def answer_of(outputs: list[float]) -> dict[str, Any]:
    return {"browser": BROWSER, "results": [{"outputs": outputs, "times_ms": [2, 1.5, 4.0], "inferences": 16}]}


@pytest.mark.slow
def test_a_browser_elsewhere_opens_the_page_and_that_is_all(
    browser: Any, int8: Path, wait: Callable[..., Waiting]
) -> None:
    waiting = wait(int8)
    page = browser.new_page()
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: requests.append(request.url))
    page.goto(waiting.url)
    page.get_by_text("Done: the computer has the answer").wait_for(timeout=60_000)
    (record,) = waiting.done.result().records
    assert page.get_by_role("listitem").inner_text() == "int8.tflite"
    page.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(waiting.url)] == []
    assert (record.device, record.kind, record.model) == ("browser://127.0.0.1:0", "measured", "int8.tflite")
    assert record.detail["runtime"].startswith("LiteRT.js")
    assert "browser" not in record.detail  # nothing of this computer is in it
    assert "cpu" not in record.detail


def test_an_answer_becomes_a_record(int8: Path, wait: Callable[..., Waiting]) -> None:
    waiting = wait(int8)
    assert waiting.post(answer_of(due(int8)), User_Agent="A <b>phone</b>" + 1000 * "x") == 204
    (record,) = waiting.done.result().records
    assert (record.median, record.runs, record.threads) == (2.0, 3, 1)
    detail = record.detail
    assert detail["user_agent"] == "A <b>phone</b>" + 286 * "x"
    assert (detail["cores"], detail["wasm_relaxed_simd"], detail["in_background"]) == (8, False, True)
    assert detail["timed"] == "inference only, the mean of 16 in a row"
    assert detail["checked"] == "within 0 of TFLite's on 4 inputs"
    with pytest.raises(ConnectionRefusedError):
        waiting.ask("GET", f"/{waiting.token}/")


@pytest.mark.parametrize("wrong", [1000.0, None])
def test_wrong_outputs_of_a_phone(int8: Path, wait: Callable[..., Waiting], wrong: float | None) -> None:
    waiting = wait(int8)
    waiting.post(answer_of([wrong, *due(int8)[1:]]))
    with pytest.raises(CheckFailedError, match=r"device browser://127.0.0.1:0: int8.tflite differs from the reference"):
        waiting.done.result()


def test_a_phone_that_fails(int8: Path, wait: Callable[..., Waiting]) -> None:
    waiting = wait(int8)
    waiting.post({"error": "no \x1b[31m memory\n"})
    with pytest.raises(EdgepruneError, match=r"the page failed \(no  \[31m memory\); try a newer browser"):
        waiting.done.result()


def test_nothing_is_there_without_the_token(int8: Path, wait: Callable[..., Waiting]) -> None:
    waiting = wait(int8)
    token, wrong = waiting.token, waiting.token[:-1] + ("A" if waiting.token[-1] != "A" else "B")
    right = json.dumps(answer_of(due(int8))).encode()
    for path in (
        "/",
        "//",
        f"/{wrong}/",
        "/index.html",
        "/model0.tflite",
        f"/{wrong}/job.json",
        f"/?{token}",
        "/%c3%a9",
    ):
        assert waiting.ask("GET", path)[0] == 404, path
        assert waiting.ask("HEAD", path)[0] == 404, path
    for path in ("/answer", f"/{wrong}/answer"):
        assert waiting.ask("POST", path, right)[0] == 404
    assert waiting.ask("GET", f"/{token}/job.json")[0] == 200
    assert not waiting.done.done()
    waiting.post(json.loads(right))
    waiting.done.result()


def test_only_the_pages_own_files_are_served(int8: Path, float32: Path, wait: Callable[..., Waiting]) -> None:
    waiting = wait(int8)
    start = f"/{waiting.token}"
    assert waiting.ask("GET", f"{start}/model0.tflite") == (200, with_float_ends(int8))
    for path in (
        "/../" * 8 + "etc/passwd", "/%2e%2e/" * 8 + "etc/passwd", "/..%2f" * 8 + "etc/passwd", "//etc/passwd",
        f"/{int8}", f"/../{int8.name}", "/litert/../../etc/passwd", "/litert/", "/litert/core", "/model1.tflite",
    ):  # fmt: skip
        status, content = waiting.ask("GET", start + path)
        assert status in (301, 404), path
        assert b"root:" not in content
        assert b"TFL3" not in content
    connection = http.client.HTTPConnection("127.0.0.1", waiting.port, timeout=30)
    connection.request("GET", f"{start}//elsewhere.example/..")
    assert (connection.getresponse().getheader("Location") or "/")[:2] != "//"  # which were another host
    assert waiting.ask("PUT", f"{start}/model0.tflite", b"other")[0] == 501
    waiting.post(answer_of(due(int8)))
    waiting.done.result()


def test_posts_that_are_no_answer(int8: Path, wait: Callable[..., Waiting]) -> None:
    waiting = wait(int8)
    limit = 4096 + 32 * (4 * 8 + 3)
    assert waiting.post(b"", Content_Length=str(limit + 1)) == 413  # answered before anything is read
    assert waiting.post(b"", Content_Length="9" * 5000) == 413
    assert waiting.post(b" " * limit) == 400
    assert waiting.post(b"", Content_Length="-1") == 411
    assert waiting.ask("POST", f"/{waiting.token}/other", b"{}")[0] == 404
    assert waiting.post(b"[" * 4000) == 400
    assert waiting.post({**answer_of(due(int8)), "more": 1}) == 400
    assert not waiting.done.done()
    assert waiting.post(answer_of(due(int8))) == 204
    waiting.done.result()


def test_a_client_that_leaves_is_not_told_of(
    int8: Path, wait: Callable[..., Waiting], capfd: pytest.CaptureFixture[str]
) -> None:
    waiting = wait(int8)
    with socket.create_connection(("127.0.0.1", waiting.port)) as left:
        left.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closes with a reset
        left.sendall(f"GET /{waiting.token}/litert/core/wasm/litert_wasm_internal.wasm HTTP/1.0\r\n\r\n".encode())
        left.recv(10)
    waiting.post(answer_of(due(int8)))
    waiting.done.result()
    assert "Traceback" not in capfd.readouterr().err


def test_nobody_comes(int8: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "bench", int8, "--device", "browser://127.0.0.1:0", "--timeout", "0.2", "--quiet")
    assert (code, out) == (2, "")
    assert "open http://127.0.0.1:" in err  # also where --quiet is given
    assert "no browser answered at 127.0.0.1:" in err
    assert "in 0.2 s; see that the phone reaches it, or raise --timeout" in err


def test_the_code_is_drawn_on_a_terminal() -> None:
    lines = qr_code("http://192.168.178.23:54321/0123456789abcdefghijkl/").splitlines()
    size = 29 + 8  # version 3, which has room for 53 bytes, and the margin of 4 on each side
    assert [len(line) for line in lines] == [size] * ((size + 1) // 2)
    assert set("".join(lines)) == set(" ▀▄█")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("browser://", "is no address to serve at; give browser://0.0.0.0:0"),
        ("browser://127.0.0.1", "is no address to serve at"),
        ("browser://127.0.0.1:65536", "is no address to serve at"),
        ("browser://127.0.0.1:0/x", "is no address to serve at"),
        ("browser://192.0.2.1:0", "192.0.2.1:0: cannot be opened (Cannot assign requested address)"),
    ],
)
def test_addresses_that_are_refused(int8: Path, name: str, message: str) -> None:
    with pytest.raises(EdgepruneError, match=re.escape(message)):
        bench(int8, name, clips=CLIPS)


def test_addresses_are_checked_before_anything_is_trained() -> None:
    check_device("browser://0.0.0.0:8000")
    with pytest.raises(EdgepruneError, match=r"browser://phone: is no address to serve at"):
        check_device("browser://phone")


def test_a_page_elsewhere_has_one_thread(int8: Path) -> None:
    with pytest.raises(EdgepruneError, match="a page over http gets one thread; leave --threads out"):
        bench(int8, "browser://127.0.0.1:0", threads=2, clips=CLIPS)


# What is needed


def test_what_is_missing_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("EDGEPRUNE_LITERT_JS", str(tmp_path))
    monkeypatch.delenv("EDGEPRUNE_CHROMIUM", raising=False)
    monkeypatch.setattr(find, "_is_installed", lambda module: module not in ("playwright", "segno"))
    message = "needs chromium, playwright, LiteRT.js, not installed here; apt-get install chromium, .*npm install"
    with pytest.raises(EdgepruneError, match=f"device browser: {message}"):
        require_device("browser")
    with pytest.raises(EdgepruneError, match=r"needs segno, LiteRT\.js, not installed here; pip install"):
        require_device("browser://0.0.0.0:0")
    rows = {row["names"][0]: row for row in call_json(capsys, "doctor")["devices"]}
    assert rows["browser"]["missing"] == ["chromium", "playwright", "LiteRT.js"]


def test_chromium_goes_by_other_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("EDGEPRUNE_CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert tools.find_program("chromium") is None
    for name in ("google-chrome", "own"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
    assert tools.find_program("chromium") == str(tmp_path / "google-chrome")
    monkeypatch.setenv("EDGEPRUNE_CHROMIUM", str(tmp_path / "own"))
    assert tools.find_program("chromium") == str(tmp_path / "own")
    monkeypatch.setenv("EDGEPRUNE_CHROMIUM", str(tmp_path / "none"))
    assert tools.find_program("chromium") is None
