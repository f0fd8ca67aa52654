"""The page in Chromium, with a WAV as its microphone: it decides as Python does, asks nobody, and all can use it."""

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import bundle_sources
import numpy as np
import pytest
import scipy.signal
import soundfile
import soxr

from edgeprune.audio.listen_rules import UNIT, ListenRules
from edgeprune.bundles.deployment import Deployment
from edgeprune.bundles.targets import write_bundle
from edgeprune.cli.verbs.deploy import DeployCommand
from edgeprune.cli.verbs.listen import open_listener
from edgeprune.devices.litert_js import ENVIRONMENT, SCRIPTS, WASM
from edgeprune.devices.page_server import LOCAL, PreviewHandler, open_server
from edgeprune.errors import EdgepruneError
from edgeprune.files import read_json
from edgeprune.tflite.metadata import read_description, write_described

pytestmark = pytest.mark.slow  # starts a browser

LABELS = (
    "<img src=x onerror=alert(1)>",
    "w" * 300,
    "line\nbreak </script> &amp; @POLICY@",
    "Straßenbahn 🚋 ' \" `x`",
    "",
)
CARD = """# Card <script>alert(1)</script>

| class | accuracy |
|:---|---:|
| <b>dog</b> | 90 % |

[x](javascript:alert(1))
"""
RULES = ListenRules(gate_dbfs=-60)
WAV_RATE = 16000
PHONE = {"width": 360, "height": 740}
# and when a screen reader is told something
TELL = """() => {
    globalThis.told = [];
    const tell = new MutationObserver(() => told.push(performance.now()));
    tell.observe(document.getElementById("announcement"), { childList: true });
}"""
# what tests learn of the page: its decisions, as they are shown
SPY = """
globalThis.decisions = [];
addEventListener("decision", ({ detail }) => {
    decisions.push({ ...detail, latest: [...detail.latest], window: [...detail.window] });
}, true);
"""


@dataclass(frozen=True)
class Site:
    """A deployed page, the file it was made of, and the sound that its microphone hears over and over."""

    model: Path
    folder: Path
    wav: Path
    rules: ListenRules

    @property
    def sound(self) -> np.ndarray:
        return soundfile.read(self.wav, dtype="float32")[0]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, litert_js: Path) -> Site:
    """A network of several sounds with random weights."""
    folder = tmp_path_factory.mktemp("site")
    source = bundle_sources.make_source(folder, labels=LABELS)
    description = replace(read_description(source.model), task="tags", threshold=0.25)
    model = write_described(source.model, description, folder / "own.tflite")
    time_s = np.arange(WAV_RATE) / WAV_RATE
    low_pass = scipy.signal.firwin(255, 3000, fs=WAV_RATE)
    noise = np.convolve(np.random.default_rng(5).normal(0, 0.4, WAV_RATE), low_pass, "same")
    parts = [np.zeros(WAV_RATE), noise, *(0.3 * np.sin(2 * np.pi * hertz * time_s) for hertz in (300, 2500))]
    wav = folder / "microphone.wav"
    soundfile.write(wav, np.concatenate(parts).clip(-1, 1), WAV_RATE, subtype="PCM_16")
    deployment = Deployment(RULES, card=CARD, litert_js=litert_js.parent)
    return Site(model, write_bundle(model, "web", folder / "page", [wav], deployment), wav, RULES.of_network(0.25))


@pytest.fixture(scope="module")
def chromium(launch: Callable[..., Any], site: Site) -> Iterator[Any]:
    found = launch(
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={site.wav}",
    )
    yield found
    found.close()


class Visit:
    """The page in a tab, until it can be used; what it asked for and complained of."""

    def __init__(self, context: Any, address: str, **media: Any) -> None:
        self.page = context.new_page()
        self.page.set_default_timeout(100_000)  # a busy machine starves a browser
        self.page.emulate_media(**media)
        self.address = f"{address}/"
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.page.goto(self.address)
        self.ready()

    def ready(self) -> None:
        self.page.wait_for_selector("#listen:enabled", state="attached")
        self.page.wait_for_selector("#offline:not(:empty)", state="attached")

    def listen(self) -> None:
        """Press the button; a click would wait for the page to stand still."""
        self.page.press("#listen", "Enter")

    def decisions(self, count: int) -> list[dict[str, Any]]:
        self.page.wait_for_function("count => decisions.length >= count", arg=count, polling=200)
        made: list[dict[str, Any]] = self.page.evaluate("decisions.splice(0)")
        return made

    def text(self, selector: str) -> str:
        content: str = self.page.text_content(selector)
        return content

    def __enter__(self) -> "Visit":
        return self

    def __exit__(self, *error: object) -> None:
        self.page.close()


@pytest.fixture(scope="module")
def context(chromium: Any) -> Any:
    made = chromium.new_context(permissions=["microphone"], viewport=PHONE)
    made.add_init_script(SPY)
    return made


@pytest.fixture(scope="module")
def address(site: Site, served: Callable[[Path], AbstractContextManager[str]]) -> Iterator[str]:
    with served(site.folder) as found:
        yield found


@pytest.fixture
def opened(context: Any, address: str) -> Iterator[Visit]:
    with Visit(context, address) as visit:
        yield visit


def samples_of(decisions: list[dict[str, Any]], site: Site) -> np.ndarray:
    """What the page heard, from the windows of its decisions."""
    settings = read_json(site.folder / "page.json")["listening"]
    windows = np.array([one["window"] for one in decisions], np.float32)
    return np.concatenate([windows[0][settings["before"] :], *(window[-settings["hop"] :] for window in windows[1:])])


def check_decisions(decisions: list[dict[str, Any]], samples: np.ndarray, site: Site) -> None:
    """They are those of `edgeprune listen` with the file the page was made of."""
    listener, labels = open_listener(site.model, site.rules)
    expected = list(listener.listen([samples]))[: len(decisions)]
    assert len(expected) == len(decisions)
    assert labels == list(LABELS)
    clear = 0
    for one, other in zip(decisions, expected, strict=True):
        assert one["time_s"] == pytest.approx(other.time_s)
        assert one["mean_square"] == other.judgement.mean_square
        np.testing.assert_allclose(one["latest"], other.latest, atol=0.02)
        np.testing.assert_allclose(np.array(one["smoothed"]) / UNIT, other.probabilities, atol=0.02)
        least, *_, second, most = sorted([*abs(other.probabilities - site.rules.threshold), *other.probabilities])
        if other.judgement.heard == "silence" or (least > 0.02 and most - second > 0.02):
            clear += 1
            assert (one["heard"], one["best"]) == (other.judgement.heard, other.judgement.best)
            assert one["likely"] == list(other.judgement.likely)
    assert clear > len(decisions) / 3


def _likeness(samples: np.ndarray, sound: np.ndarray) -> float:
    """The correlation of a few samples with the piece of a sound that is most like it."""
    if not samples.any():
        return 0.0
    energies = np.convolve(sound**2, np.ones(len(samples)), "valid") * (samples**2).sum()
    return float((scipy.signal.correlate(sound, samples, "valid", "fft") / np.sqrt(energies)).max())


def test_the_microphone_is_judged_as_python_judges_it(opened: Visit, site: Site) -> None:
    opened.page.evaluate(TELL)
    opened.listen()
    decisions = opened.decisions(36)
    opened.page.wait_for_function("() => told.length >= 2", polling=200)
    assert opened.text("#listen") == "Stop"
    opened.listen()
    heard = samples_of(decisions, site)
    check_decisions(decisions, heard, site)
    assert {one["heard"] for one in decisions} == {"class", "silence"}
    assert len({tuple(one["likely"]) for one in decisions}) > 2
    # It is the file that was heard: 30 ms of it are a piece of its noise, sample by sample (a busy machine drops some).
    finer = soxr.resample(site.sound[WAV_RATE : 2 * WAV_RATE], WAV_RATE, 8 * bundle_sources.SPEC.sample_rate)
    pieces = np.lib.stride_tricks.sliding_window_view(heard, 240)[::240]
    assert max(_likeness(piece, finer[phase::8]) for piece in pieces for phase in range(8)) > 0.99
    # A screen reader is told of changes, and not too often.
    told = opened.page.evaluate("told")
    assert np.diff(told).min() >= 2900
    assert opened.complaints == []


def test_a_file_is_judged_as_python_judges_it(opened: Visit, site: Site, tmp_path: Path) -> None:
    rate = bundle_sources.SPEC.sample_rate
    sound = soxr.resample(site.sound, WAV_RATE, rate)
    stereo = tmp_path / "stereo.wav"
    soundfile.write(stereo, np.stack([1.5 * sound, 0.5 * sound], axis=1).clip(-1, 1), rate, subtype="FLOAT")
    (loud, quiet) = soundfile.read(stereo, dtype="float32")[0].T
    opened.page.set_input_files("#file", stereo)
    decisions = opened.decisions(len(sound) // (bundle_sources.SPEC.hop_samples * 12))
    check_decisions(decisions, (loud + quiet) / 2, site)
    assert opened.text("#seconds") == f"{decisions[-1]['time_s']:.1f} s"
    assert float(opened.text("#factor")) > 0
    assert opened.text("#took").endswith(" ms")
    assert opened.complaints == []


def test_no_label_and_no_file_name_counts_as_markup(opened: Visit) -> None:
    shown = opened.page.eval_on_selector_all("#classes th", "cells => cells.map((cell) => cell.textContent)")
    assert shown == [*LABELS[:-1], "class 4"]
    name = "<b id=bold>x</b>.wav"
    opened.page.set_input_files("#file", {"name": name, "mimeType": "audio/wav", "buffer": b"no sound"})
    opened.page.wait_for_selector("#problem:not(:empty)")
    assert opened.text("#problem") == f"“{name}” is no audio that this browser can read."
    assert opened.page.query_selector("#bold, main img") is None
    assert opened.complaints == []


def test_no_request_leaves_the_machine(opened: Visit) -> None:
    opened.listen()
    opened.decisions(2)
    opened.listen()
    opened.page.press("#card", "Enter")
    opened.page.wait_for_url("**/model_card.html")
    assert len(opened.requests) > 15
    assert [url for url in opened.requests if not url.startswith(opened.address)] == []
    assert opened.page.query_selector("script, b, a[href^=javascript]") is None
    assert opened.complaints == []
    # The policy, not good will: a request to elsewhere is stopped.
    opened.page.goto(opened.address)
    stopped = opened.page.evaluate("fetch('http://localhost:9/').then(() => 'sent', (error) => error.name)")
    assert stopped == "TypeError"
    assert any("Content Security Policy" in text for text in opened.complaints)


def test_it_works_without_a_network(
    chromium: Any, site: Site, served: Callable[[Path], AbstractContextManager[str]]
) -> None:
    own = chromium.new_context()
    own.add_init_script(SPY)
    with served(site.folder) as address:
        opened = Visit(own, address)
    opened.page.reload()  # the server is gone
    opened.ready()
    opened.page.set_input_files("#file", site.wav)
    opened.decisions(5)
    opened.page.press("#card", "Enter")
    opened.page.wait_for_url("**/model_card.html")
    assert "Card" in opened.text("h1")
    own.close()


def test_a_new_version_is_taken_as_a_whole_and_works_without_a_network(
    chromium: Any, site: Site, served: Callable[[Path], AbstractContextManager[str]], litert_js: Path, tmp_path: Path
) -> None:
    """An open page goes on with its version; the next visit has the other, with all that it needs."""
    folder = shutil.copytree(site.folder, tmp_path / "host")
    newer = write_bundle(site.model, "web", tmp_path / "newer", [site.wav], Deployment(litert_js=litert_js.parent))
    own = chromium.new_context()
    own.add_init_script(SPY)
    with served(folder) as address:
        with Visit(own, address) as opened:
            assert opened.page.is_visible("#card")
        shutil.copytree(newer, folder, dirs_exist_ok=True)
        with Visit(own, address) as opened:
            while not opened.page.evaluate("navigator.serviceWorker.ready.then(({ waiting }) => waiting !== null)"):
                opened.page.wait_for_timeout(100)
            opened.page.reload()
            opened.ready()
            assert opened.page.is_visible("#card")
    for wait_s in (0.1, 0.5, 1, 2, 4):  # the server is gone
        time.sleep(wait_s)  # a browser takes the new version some time after the page was closed
        with Visit(own, address) as opened:
            opened.page.set_input_files("#file", site.wav)
            opened.decisions(5)
            if is_new := not opened.page.is_visible("#card"):
                break
    assert is_new
    own.close()


def test_what_begins_last_is_heard(opened: Visit, site: Site) -> None:
    """Also where something else is being opened meanwhile."""
    opened.page.evaluate("document.getElementById('listen').click(), document.getElementById('listen').click()")
    # until then the microphone may be heard for a moment; afterwards nothing but the file
    opened.page.evaluate(
        "document.getElementById('file').addEventListener('change', () => void decisions.splice(0), {capture: true})"
    )
    opened.page.set_input_files("#file", site.wav)
    count = len(site.sound) * bundle_sources.SPEC.sample_rate // WAV_RATE // (bundle_sources.SPEC.hop_samples * 12)
    times = [one["time_s"] for one in opened.decisions(count)]
    opened.page.wait_for_timeout(500)
    times += [one["time_s"] for one in opened.page.evaluate("decisions")]
    assert times == sorted(set(times))
    assert opened.text("#listen") == "Listen"
    assert opened.text("#problem") == ""


def test_a_preview_leaves_nothing_in_the_browser(chromium: Any, site: Site) -> None:
    """The next page at its address would be hidden behind it."""
    with open_server(site.folder, handler=PreviewHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with Visit(chromium.new_context(), f"http://{LOCAL}:{server.server_port}") as opened:
            assert opened.text("#offline") == "Does not work offline here."
            assert opened.text("#problem") == ""
            assert opened.page.evaluate("caches.keys()") == []
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_nothing_overflows_a_phone(context: Any, address: str, site: Site, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    with Visit(context, address, color_scheme=scheme) as opened:
        opened.page.set_input_files("#file", site.wav)
        opened.decisions(15)
        opened.page.eval_on_selector_all("details", "all => all.forEach((one) => (one.open = true))")
        for place in ("", "model_card.html"):
            if place:
                opened.page.goto(opened.address + place)
            assert opened.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
            found = axe.Axe().run(opened.page, options={"resultTypes": ["violations"]}).response
            assert len(found["passes"]) > 10
            assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found["violations"]] == []


def test_the_keyboard_alone_will_do(opened: Visit) -> None:
    opened.page.keyboard.press("Tab")
    opened.page.keyboard.press("Enter")
    opened.decisions(1)
    assert opened.text("#listen") == "Stop"
    opened.page.keyboard.press("Space")
    opened.page.wait_for_function("() => document.getElementById('listen').textContent === 'Listen'", polling=200)
    opened.page.keyboard.press("Tab")
    assert opened.page.evaluate("document.activeElement.id") == "file"


def test_a_microphone_that_is_refused_is_explained(opened: Visit) -> None:
    opened.page.evaluate(
        """() => {
            navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("no", "NotAllowedError"));
        }"""
    )
    opened.listen()
    opened.page.wait_for_selector("#problem:not(:empty)")
    assert opened.text("#problem").startswith("The microphone was not allowed")
    assert opened.text("#listen") == "Listen"


def test_a_microphone_that_goes_away_is_told(opened: Visit) -> None:
    opened.page.evaluate(
        """() => {
            const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
            navigator.mediaDevices.getUserMedia = async (wish) => (globalThis.stream = await open(wish));
        }"""
    )
    opened.listen()
    opened.decisions(1)
    opened.page.evaluate("stream.getTracks()[0].dispatchEvent(new Event('ended'))")
    opened.page.wait_for_selector("#problem:not(:empty)")
    assert opened.text("#problem") == "The microphone has gone away."
    assert opened.text("#listen") == "Listen"


def test_the_files(site: Site) -> None:
    """Without the model and LiteRT.js's WebAssembly they take less than 200 kB."""
    manifest = json.loads((site.folder / "manifest.json").read_text())
    sizes = {name: file["bytes"] for name, file in manifest["files"].items()}
    wasm = {f"litert/{name}" for name in WASM}
    assert set(sizes) >= wasm | {f"litert/{name}" for name in SCRIPTS} | {"model.tflite", "README.md"}
    assert sum(size for name, size in sizes.items() if name not in {*wasm, "model.tflite"}) < 200_000
    for name in sizes.keys() - {"page.json"}:
        if name.endswith((".html", ".js", ".css", ".json", ".md")) and not name.startswith("litert/"):
            text = (site.folder / name).read_text()
            assert not any(
                f"@{mark}@" in text for mark in ("FILES", "RUNTIMES", "BUNDLE", "IMPORT_MAP", "VERSION", "CARD")
            ), name


SERVE = """
import signal, sys
from pathlib import Path
from edgeprune.cli.verbs.deploy import serve
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a parent in the background leaves ignored
serve(Path(sys.argv[1]), 0)
"""


def test_served_until_ctrl_c(site: Site) -> None:
    command = [sys.executable, "-c", SERVE, str(site.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        try:
            assert run.stdout is not None
            address = run.stdout.readline().split()[0].rstrip(":")
            types = []
            for name in ("", "page.js", "litert/core/wasm/litert_wasm_internal.wasm", "app.webmanifest"):
                with urllib.request.urlopen(f"{address}/{name}") as answer:
                    types.append(answer.headers["Content-Type"].split(";")[0])
                    assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
            run.send_signal(signal.SIGINT)
            _, errors = run.communicate(timeout=60)
        finally:
            run.kill()
    assert run.returncode == 0
    assert "Traceback" not in errors
    assert types == ["text/html", "text/javascript", "application/wasm", "application/manifest+json"]


def test_what_makes_no_page_is_refused(
    site: Site, tmp_path: Path, litert_js: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = Deployment(litert_js=litert_js.parent)
    with pytest.raises(EdgepruneError, match="is not there"):
        write_bundle(tmp_path, "web", tmp_path / "out", deployment=deployment)
    logits = write_described(
        site.model, replace(read_description(site.model), own_output="logits"), tmp_path / "logits.tflite"
    )
    with pytest.raises(EdgepruneError, match="gives no probabilities"):
        write_bundle(logits, "web", tmp_path / "out", [site.wav], deployment)
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EdgepruneError, match="npm install"):
        write_bundle(site.model, "web", tmp_path / "out", [site.wav])
    with pytest.raises(EdgepruneError, match="give --out, or --serve"):
        DeployCommand(site.model, "web")()
    with pytest.raises(EdgepruneError, match="are for the target web"):
        DeployCommand(site.model, "c11", serve=True)()
    assert not (tmp_path / "out").exists()
