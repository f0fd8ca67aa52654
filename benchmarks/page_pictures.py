"""Pictures of the page that listens, docs/page_{light,dark}.png, and its icons as PNG, by Chromium.

    python benchmarks/page_pictures.py runs/quickstart-fold1-seed0

The page hears six evaluation clips of one scene, one after the other. The figures of the device are not in the picture.
"""

import io
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from edgeprune.audio.decode import load_clip
from edgeprune.bundles.deployment import Deployment
from edgeprune.bundles.targets import write_bundle
from edgeprune.devices.inputs import clips_of
from edgeprune.devices.page_server import open_server
from edgeprune.devices.tools import find_program
from edgeprune.submitting.card import card_of_model
from edgeprune.tflite.metadata import read_description

ROOT = Path(__file__).resolve().parents[1]
SCENE, CLIPS = "metro_station", 6
WIDTH = 360
COLOURS = 96


def main(run: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        page = write_bundle(run, "web", Path(scratch) / "page", deployment=Deployment(card=card_of_model(run)))
        sound = write_sound(run / "model_int8.tflite", Path(scratch) / "sound.wav")
        browser = playwright.chromium.launch(executable_path=find_program("chromium"), args=["--no-sandbox"])
        server = open_server(page)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for scheme in ("light", "dark"):
            address = f"http://localhost:{server.server_port}"
            save(page_picture(browser, address, sound, scheme), ROOT / "docs" / f"page_{scheme}.png")
        for size in (192, 512):
            save(icon(browser, size), ROOT / "export" / "web" / f"icon-{size}.png")
        server.shutdown()


def write_sound(model: Path, path: Path) -> Path:
    frontend = read_description(model).logmel
    files = [file for file, scene in clips_of(model, frontend, 10_000) if scene == SCENE][:CLIPS]
    samples = np.concatenate([load_clip(file, frontend.sample_rate) for file in files])
    soundfile.write(path, samples, frontend.sample_rate)
    return path


def page_picture(browser: Browser, address: str, sound: Path, scheme: str) -> bytes:
    """From the top of the page to the end of the classes."""
    page = browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme=scheme, device_scale_factor=2)
    page.goto(address)
    page.wait_for_selector("#listen:enabled")
    page.set_input_files("#file", sound)
    page.wait_for_selector("#decision[data-heard=class]")
    page.wait_for_timeout(5000)  # until the last clip is heard and drawn
    height = page.evaluate("document.querySelector('table').getBoundingClientRect().bottom")
    return page.screenshot(clip={"x": 0, "y": 0, "width": WIDTH, "height": height + 12})


def icon(browser: Browser, size: int) -> bytes:
    page = browser.new_page(viewport={"width": size, "height": size})
    svg = (ROOT / "export" / "web" / "icon.svg").read_text()
    page.set_content(f"<style>body {{ margin: 0 }} svg {{ display: block; width: {size}px }}</style>{svg}")
    return page.screenshot()


def save(picture: bytes, path: Path) -> None:
    """With few colours, as a small file."""
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size:,} B")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
