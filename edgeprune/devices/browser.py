"""Latency of TFLite files in a browser, by LiteRT.js: headless Chromium here, or a phone that opens a page of ours."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from queue import Empty
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.console import say, show
from edgeprune.convert.float_ends import has_float_ends, with_float_ends
from edgeprune.devices import litert_js
from edgeprune.devices.browser_address import EVERYWHERE, own_address, parse, qr_code
from edgeprune.devices.browser_answer import AnswerShape, FileAnswer, PageAnswer
from edgeprune.devices.browser_page import Inbox, serving
from edgeprune.devices.checks import Expected, check_close
from edgeprune.devices.chromium import visit
from edgeprune.devices.host import describe_machine
from edgeprune.devices.page_server import LOCAL
from edgeprune.devices.record import Measurement
from edgeprune.devices.request import BenchRequest
from edgeprune.errors import EdgepruneError
from edgeprune.files import sha256_file, share_folder, write_json
from edgeprune.scratch import scratch_folder
from edgeprune.tflite.interpreter import TFLiteModel

WARMUP_MS = 500
"""Of each file: so long do browsers compile WebAssembly in the background, seen in Chromium."""


def check_name(device: str) -> None:
    """Refuse what is no address."""
    parse(device)


def measure(request: BenchRequest) -> list[Measurement]:
    """Time the files against each other in a browser; `request.timeout_s` holds for each thread count.

    `browser` is Chromium on this computer. `browser://HOST:PORT` serves the page at that address of this computer (PORT
    0: any that is free) and waits for a browser elsewhere to open it, whose page has one thread, since http gives no
    more. LiteRT.js takes and gives float32 alone: a file with other ends is measured between QUANTIZE and DEQUANTIZE,
    and the record says so. Its outputs are compared with those of the file itself.
    """
    request.check()
    address = parse(request.device)
    if address is not None and set(request.threads) != {1}:
        raise EdgepruneError(f"device {request.device}: a page over http gets one thread; leave --threads out.")
    packages = litert_js.find_litert_js()
    with scratch_folder() as folder:
        files = [_PageFile.write(request, number, folder) for number in range(len(request.paths))]
        litert_js.copy_litert_js(packages, folder, threads=max(request.threads) > 1)
        _write_page(folder)
        return [record for threads in request.threads for record in _measure(request, address, folder, files, threads)]


@dataclass(frozen=True, eq=False)
class _PageFile:
    """A file, the file that the page runs in its place, and the outputs due `[n, values]`."""

    expected: Expected
    served: Path
    due: NDArray[np.float32]

    @staticmethod
    def write(request: BenchRequest, number: int, folder: Path) -> _PageFile:
        """Put a file, and its check inputs as float32, into the page's folder under plain names."""
        path = request.paths[number]
        expected = Expected.of(request, path)
        model, served = TFLiteModel(path), folder / f"model{number}.tflite"
        served.write_bytes(path.read_bytes() if has_float_ends(path) else with_float_ends(path))
        scale, zero_point = model.input_quantisation
        inputs = expected.inputs
        reals = inputs if inputs.dtype == np.float32 else (inputs.astype(np.float32) - zero_point) * np.float32(scale)
        (folder / f"inputs{number}.bin").write_bytes(reals.astype("<f4").tobytes())
        return _PageFile(expected, served, model.dequantise(expected.outputs))

    def record(self, request: BenchRequest, threads: int, about: dict[str, Any], answer: FileAnswer) -> Measurement:
        path = self.expected.path
        error = check_close(request.device, path, self.due, answer.outputs)
        detail = {
            **about,
            "timed": "inference only" + (f", the mean of {many} in a row" if (many := answer.inferences) > 1 else ""),
            "peak_ram": "not known: a browser does not tell",
            **self._between_float_ends(),
            "checked": f"within {error:.2g} of TFLite's on {len(answer.outputs)} inputs",
            "inputs": self.expected.source,
        }
        rest = {"peak_ram_bytes": None, "threads": threads, "detail": detail}
        return Measurement.of_runs(request.device, "measured", "ms", path, answer.times_ms, **rest)

    def _between_float_ends(self) -> dict[str, Any]:
        """What was measured in place of the file itself."""
        if has_float_ends(self.expected.path):
            return {}
        ends = "the same network between QUANTIZE and DEQUANTIZE, since LiteRT.js takes and gives float32 alone"
        size = self.served.stat().st_size
        return {"measured": ends, "measured_bytes": size, "measured_sha256": sha256_file(self.served)}


def _measure(
    request: BenchRequest, address: tuple[str, int] | None, folder: Path, files: list[_PageFile], threads: int
) -> list[Measurement]:
    names = [file.expected.path.name for file in files]
    entries = [
        {"name": name, "model": f"model{number}.tflite", "inputs": f"inputs{number}.bin", "count": len(file.due)}
        for number, (name, file) in enumerate(zip(names, files, strict=True))
    ]
    write_json(
        folder / "job.json", {"files": entries, "threads": threads, "runs": request.runs, "warmup_ms": WARMUP_MS}
    )
    shape = AnswerShape(tuple(file.due.shape for file in files), request.runs)
    inbox = Inbox(shape.limit_bytes, shape.read)
    say(f"{request.device}: timing {len(files)} file(s), {request.runs} runs each, {threads} thread(s)")
    answer, facts = _visited(request, inbox, folder) if address is None else _answered(request, inbox, folder, address)
    if isinstance(answer, str):
        raise EdgepruneError(f"device {request.device}: the page failed ({answer}); try a newer browser.")
    about = {**facts, **_about(answer)}
    return [file.record(request, threads, about, result) for file, result in zip(files, answer.files, strict=True)]


def _visited(request: BenchRequest, inbox: Inbox, folder: Path) -> tuple[PageAnswer | str, dict[str, Any]]:
    """The answer of Chromium on this computer."""
    with serving(folder, inbox, LOCAL, 0) as port:
        url = f"http://{LOCAL}:{port}/{inbox.token}/"
        answer, version = visit(url, inbox, request.device, request.timeout_s)
    if answer is None:
        raise _late(request, "Chromium gave no answer", "give fewer files")
    machine = describe_machine()
    return answer, {"cpu": machine["cpu"], "system": machine["system"], "browser": f"Chromium {version}, headless"}


def _answered(
    request: BenchRequest, inbox: Inbox, folder: Path, address: tuple[str, int]
) -> tuple[PageAnswer | str, dict[str, Any]]:
    """The answer of a browser elsewhere, which is shown where to go."""
    host, asked_port = address
    with serving(folder, inbox, host, asked_port) as port:
        url = f"http://{own_address() if host == EVERYWHERE else host}:{port}/{inbox.token}/"
        show(f"{request.device}: open {url} on the phone, within {request.timeout_s:g} s", qr_code(url))
        try:
            return inbox.answers.get(timeout=request.timeout_s), {}
        except Empty:
            raise _late(request, f"no browser answered at {host}:{port}", "see that the phone reaches it") from None


def _late(request: BenchRequest, what: str, advice: str) -> EdgepruneError:
    return EdgepruneError(f"device {request.device}: {what} in {request.timeout_s:g} s; {advice}, or raise --timeout.")


def _about(answer: PageAnswer) -> dict[str, Any]:
    """The part of a record that is the same for all files."""
    browser = answer.browser
    return {
        "cores": browser.cores,
        "user_agent": answer.user_agent,
        "runtime": f"LiteRT.js {litert_js.VERSION} (WebAssembly, XNNPACK)",
        "wasm_simd": browser.simd,
        "wasm_relaxed_simd": browser.relaxed_simd,
        "wasm_threads": browser.threads,
        "warmup_ms": WARMUP_MS,
        "clock_step_ms": browser.clock_step_ms,
        "in_background": browser.hidden,
    }


def _write_page(folder: Path) -> None:
    source = share_folder("export") / "bench"
    page = (source / "index.html").read_text(encoding="utf-8")
    page = page.replace("POLICY", litert_js.page_policy()).replace("IMPORT_MAP", litert_js.IMPORT_MAP)
    (folder / "index.html").write_text(page, encoding="utf-8")
    for path in (source / "bench.js", source / "bench.css", source.parent / "web" / "icon.svg"):
        shutil.copyfile(path, folder / path.name)
