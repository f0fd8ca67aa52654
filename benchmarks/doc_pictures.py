"""Pictures of the documents, docs/img: parts of a run's report, log-mels of its clips, the Pareto front of a sweep.

python benchmarks/doc_pictures.py runs/quickstart-fold1-seed0 sweeps/quickstart
"""

import sys
from pathlib import Path

from page_pictures import save
from playwright.sync_api import Browser, Page, sync_playwright

import edgeprune
from edgeprune.devices.tools import find_program

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "img"
SCENES = ("bus", "park", "tram")
WIDTH = 900


def main(run: Path, sweep: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_program("chromium"), args=["--no-sandbox"])
        page = report_page(browser, run)
        save(page.screenshot(clip=top(page, "Dense and pruned"), full_page=True), IMAGES / "report.png")
        save(section(page, "Layers"), IMAGES / "layers.png")
    recipe = edgeprune.load(run).recipe
    data = edgeprune.Data(name="synthetic", clips_per_scene=recipe["data"]["clips_per_scene"])
    figure = edgeprune.plots.clips(data, edgeprune.LogMel(**recipe["frontend"]), per_class=1, classes=SCENES)
    save(figure._repr_png_(), IMAGES / "logmel.png")
    edgeprune.plots.pareto(edgeprune.compare([sweep]), "bytes").savefig(IMAGES / "pareto.svg")


def report_page(browser: Browser, run: Path) -> Page:
    page = browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="light", device_scale_factor=1.5)
    page.goto((run / "report.html").resolve().as_uri())
    return page


def top(page: Page, heading: str) -> dict[str, float]:
    """All before the section of that heading."""
    box = page.locator("section", has=page.get_by_role("heading", name=heading, exact=True)).bounding_box()
    return {"x": 0, "y": 0, "width": WIDTH, "height": box["y"]}


def section(page: Page, heading: str) -> bytes:
    return page.locator("section", has=page.get_by_role("heading", name=heading, exact=True)).screenshot()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
