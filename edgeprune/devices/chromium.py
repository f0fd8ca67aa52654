"""A page in headless Chromium, through playwright."""

import threading
from concurrent.futures import ThreadPoolExecutor
from queue import Empty
from time import monotonic

from edgeprune.devices.browser_answer import PageAnswer
from edgeprune.devices.browser_page import Inbox
from edgeprune.devices.tools import find_program
from edgeprune.errors import EdgepruneError, first_line

_POLL_MS = 100


def visit(address: str, inbox: Inbox, device: str, timeout_s: float) -> tuple[PageAnswer | str | None, str]:
    """Open a page until its answer is in the inbox, None where it is late; also Chromium's version.

    Raises:
        EdgepruneError: Chromium does not start, or ends before there is an answer.
    """
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:  # playwright's calls would not wait in the thread of a notebook
        future = pool.submit(_visit, address, inbox, device, timeout_s, stop)
        try:
            return future.result()
        finally:
            stop.set()


def _visit(
    address: str, inbox: Inbox, device: str, timeout_s: float, stop: threading.Event
) -> tuple[PageAnswer | str | None, str]:
    from playwright.sync_api import Error, sync_playwright

    end = monotonic() + timeout_s
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find_program("chromium"))
            page = browser.new_page()  # ends with playwright
            crashes: list[object] = []
            page.on("crash", lambda crashed: crashes.append(crashed))
            page.goto(address)
            while monotonic() < end and not stop.is_set():
                try:
                    return inbox.answers.get_nowait(), browser.version
                except Empty:
                    page.wait_for_timeout(_POLL_MS)
                if crashes:
                    raise EdgepruneError(f"device {device}: the page crashed; give Chromium more memory.")
            return None, browser.version
    except Error as error:
        reason = first_line(error).rstrip(".")
        raise EdgepruneError(f"device {device}: Chromium failed ({reason}); check that it starts here.") from error
