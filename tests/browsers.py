"""Chromium, and folders served to it."""

import itertools
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from edgeprune.devices.litert_js import find_litert_js
from edgeprune.devices.page_server import LOCAL, open_server
from edgeprune.errors import EdgepruneError

QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
Launch = Callable[..., Any]
Photograph = Callable[..., None]


@pytest.fixture(scope="module")
def launch() -> Iterator[Launch]:
    """Starts Chromium with more arguments; it ends with the test file."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs chromium")
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with api.sync_playwright() as playwright:
        yield lambda *more: playwright.chromium.launch(executable_path=chromium, args=[*QUIET, *more])


@pytest.fixture(scope="module")
def browser(launch: Launch) -> Iterator[Any]:
    found = launch()
    yield found
    found.close()


@pytest.fixture(scope="session")
def litert_js() -> Path:
    """LiteRT.js's packages, as `make litert-js` puts them beside the sources."""
    root = Path(__file__).resolve().parents[1]
    try:
        return find_litert_js(None if os.environ.get("EDGEPRUNE_LITERT_JS") else root)
    except EdgepruneError:
        pytest.skip("needs LiteRT.js; run `make litert-js`")


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    server = open_server(folder)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://{LOCAL}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="session")
def served() -> Callable[[Path], AbstractContextManager[str]]:
    """Serves a folder and gives its address."""
    return _served


SCREENSHOTS = Path(__file__).resolve().parents[1] / "screenshots"
"""For people to look at; `make clean` removes it."""


@pytest.fixture
def photograph(browser: Any) -> Photograph:
    """Looks at an address as wide as a phone and as a desktop, in some themes, and keeps a picture of each.

    Nothing may be wider than the screen, and the browser may complain of nothing.
    """

    def look(address: str, name: str, schemes: Sequence[str] = ("light", "dark")) -> None:
        context = browser.new_context(viewport={"width": 1200, "height": 900})
        page, complaints, wide = context.new_page(), [], []
        page.on("console", lambda message: message.type in ("error", "warning") and complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(request.url))
        page.goto(address)
        for width, scheme in itertools.product((1200, 400), schemes):
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)
            page.screenshot(path=SCREENSHOTS / f"{name}_{width}_{scheme}.png", full_page=True)
            content = page.evaluate("document.documentElement.scrollWidth")
            wide += [(width, scheme, content)] if content > width else []
        context.close()
        assert complaints == []
        assert wide == []

    return look
