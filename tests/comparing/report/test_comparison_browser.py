"""The report in a real browser: nothing is fetched, all is readable without a script, on a phone and in the dark."""

import io
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import comparisons
import numpy as np
import pytest
from browsers import Photograph

from edgeprune.comparing.compare import compare
from edgeprune.comparing.report.report import write_comparison

pytestmark = pytest.mark.slow  # starts a browser

DESKTOP, PHONE = (1280, 900), (360, 740)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    example = comparisons.example(folder / "runs")
    comparisons.write_predictions_of(example)
    write_comparison(example, folder / "comparison.html")
    return folder / "comparison.html"


class Visit:
    """A page that was opened, and what it asked for and complained of."""

    def __init__(self, browser: Any, path: Path, size: tuple[int, int] = DESKTOP, **options: Any) -> None:
        width, height = size
        self.context = browser.new_context(viewport={"width": width, "height": height}, **options)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.address = path.as_uri()
        self.page.goto(self.address)

    def __enter__(self) -> "Visit":
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def column(self, name: str) -> Any:
        """The heading of a column of the first table."""
        return self.page.locator("table.sortable").first.locator("thead th").filter(has_text=name).first

    def cells(self, place: int) -> list[str]:
        """What a column of the first table sorts by, from the top."""
        body = self.page.locator("table.sortable").first.locator("tbody tr")
        script = "(rows, place) => rows.map((row) => row.cells[place].dataset.k)"
        return body.evaluate_all(script, place)


def open_everything(page: Any) -> None:
    page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")


def pixels(shot: bytes) -> np.ndarray:
    from matplotlib.image import imread

    return imread(io.BytesIO(shot), format="png")[..., :3]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_asks_for_nothing_and_complains_of_nothing(browser: Any, report: Path, scheme: str) -> None:
    with Visit(browser, report, color_scheme=scheme) as visit:
        open_everything(visit.page)
        visit.page.locator(".plots .point[data-v='7'] use").first.hover()
        visit.column("accuracy").locator("button").click()
        assert visit.requests == [visit.address]
        assert visit.complaints == []


def test_policy_stops_a_script_that_got_in_all_the_same(browser: Any, report: Path, tmp_path: Path) -> None:
    path = tmp_path / "broken.html"
    path.write_text(report.read_text().replace("<main>", "<main><script>document.title = 'taken'</script>"))
    with Visit(browser, path) as visit:
        assert visit.page.title() == "Comparison: tau2020_dcase21 · edgeprune report"
        assert any("Content Security Policy" in told for told in visit.complaints)


def test_clicks_sort_and_say_so(browser: Any, report: Path) -> None:
    with Visit(browser, report) as visit:
        heading = visit.column("accuracy")
        assert heading.get_attribute("aria-sort") is None
        heading.locator("button").click()
        assert heading.get_attribute("aria-sort") == "descending"
        found = visit.cells(2)
        assert found.pop() == ""  # of the variant that failed nothing is known: last
        assert [float(key) for key in found] == sorted(map(float, found), reverse=True)
        heading.locator("button").press("Enter")
        assert heading.get_attribute("aria-sort") == "ascending"
        found = visit.cells(2)
        assert found.pop() == ""
        assert [float(key) for key in found] == sorted(map(float, found))
        macs = visit.column("MACs")
        macs.locator("button").click()
        assert heading.get_attribute("aria-sort") is None
        assert macs.get_attribute("aria-sort") == "ascending"
        assert [float(key) for key in visit.cells(6)[:-1]] == sorted(float(key) for key in visit.cells(6)[:-1])
        visit.column("variant").locator("button").click()
        assert [float(key) for key in visit.cells(0)] == list(range(1, 17))


def test_names_sort_as_people_count(browser: Any, report: Path) -> None:
    with Visit(browser, report) as visit:
        open_everything(visit.page)
        table = visit.page.locator("table.sortable", has_text="command that repeats")
        button = table.locator("thead th").filter(has_text="command").locator("button")
        button.click()
        told = table.locator("tbody td code").all_inner_texts()
        assert len(told) == 46
        assert told.index(next(one for one in told if "l1-params-30k-seed2" in one)) < told.index(
            next(one for one in told if "operator_norm-params-10k-seed0" in one)
        )


def test_without_a_script_all_is_there(browser: Any, report: Path) -> None:
    with Visit(browser, report, java_script_enabled=False) as visit:
        page = visit.page
        assert page.locator("button").count() == 0  # a button that does nothing would be a lie
        assert page.locator("table.sortable").first.locator("tbody tr").count() == 16
        assert page.locator("figure svg").count() == 7
        assert page.locator(".plots .point title").count() == 7 * 15
        assert "62.3 to 66.5 %" in page.locator("table.sortable").first.inner_text()
        ink = pixels(page.locator("figure svg").first.screenshot())
        assert len(np.unique(ink.reshape(-1, 3), axis=0)) > 20
        assert visit.complaints == []
        assert visit.requests == [visit.address]


def test_pointing_at_a_point_tells_of_it_and_marks_it_everywhere(browser: Any, report: Path) -> None:
    with Visit(browser, report) as visit:
        page = visit.page
        tip = page.locator(".tip")
        assert not tip.is_visible()
        page.locator(".plots .point[data-v='7'] use").first.hover()
        assert tip.is_visible()
        assert tip.inner_text().split("\n")[:2] == [
            "7 operator_norm, params 20k", "accuracy: 62.32 % (60.5 to 64.2 %, 3 runs)",
        ]  # fmt: skip
        box, dot = (one.bounding_box() for one in (tip, page.locator(".plots .point[data-v='7'] use").first))
        assert box["y"] + box["height"] <= dot["y"] or box["y"] >= dot["y"] + dot["height"]
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= DESKTOP[0]
        assert page.locator(".plots .point.hot").count() == 7
        page.keyboard.press("Escape")
        assert not tip.is_visible()
        assert page.locator(".hot").count() == 0


def test_comparison_fits_the_screen(photograph: Photograph, tmp_path: Path) -> None:
    """The report of run folders, which opens with an answer."""
    found = comparisons.example(tmp_path / "runs")
    comparisons.write_results_of(replace(found, variants=found.variants[1:]))
    write_comparison(compare(tmp_path / "runs"), tmp_path / "comparison.html")
    photograph((tmp_path / "comparison.html").as_uri(), "comparison")


@pytest.mark.parametrize("size", [PHONE, (768, 1024), DESKTOP], ids=["phone", "tablet", "desktop"])
def test_page_never_scrolls_sideways(browser: Any, report: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    with Visit(browser, report, size) as visit:
        open_everything(visit.page)
        assert visit.page.evaluate("document.documentElement.scrollWidth") == size[0]
        wide = visit.page.locator(".scroll").evaluate_all(
            "(all) => all.filter((one) => one.scrollWidth > one.clientWidth).length"
        )
        assert wide > 0  # tables scroll within their own region instead
        # The name of a row stays in view when its table is scrolled.
        region = visit.page.locator(".scroll").first
        before = region.locator("tbody th").first.bounding_box()["x"]
        region.evaluate("(one) => one.scrollLeft = 300")
        assert region.locator("tbody th").first.bounding_box()["x"] == pytest.approx(before, abs=1)
        visit.page.screenshot(path=tmp_path / f"{size[0]}.png")


def test_the_answer_needs_no_sideways_scrolling_at_400_pixels(browser: Any, tmp_path: Path) -> None:
    folder = tmp_path / "runs_in_a_folder_with_a_name_that_is_longer_than_a_phone_is_wide"
    found = comparisons.example(folder)
    comparisons.write_results_of(replace(found, variants=found.variants[1:]))
    write_comparison(compare(folder), tmp_path / "answer.html")
    with Visit(browser, tmp_path / "answer.html", (400, 800)) as visit:
        assert visit.page.evaluate("document.documentElement.scrollWidth") == 400
        answer = visit.page.locator(".answer")
        assert answer.locator(".scroll").count() == 0
        assert answer.locator("figure svg").count() == 1
        parts = answer.locator("*:not(svg *)").evaluate_all(
            "(all) => all.map((one) => [one.getBoundingClientRect().right, one.scrollWidth - one.clientWidth])"
        )
        assert len(parts) > 5
        for right, hidden in parts:
            assert right <= 400
            assert hidden <= 0 or right == 0
        assert answer.locator(".verdict").bounding_box()["y"] < 800  # on the first screen
        visit.page.screenshot(path=tmp_path / "answer.png")


def test_long_words_do_not_widen_a_phone_page(browser: Any, tmp_path: Path) -> None:
    long = "x" * 200
    found = comparisons.example(tmp_path / long)
    variants = [replace(one, name=f"{long} {one.name}") for one in found.variants[:4]]
    variants[0] = replace(variants[0], settings={long: long})
    odd = replace(found, variants=tuple(variants), notes=(long,), controls=(long,), test=long)
    write_comparison(odd, tmp_path / "long.html")
    with Visit(browser, tmp_path / "long.html", PHONE) as visit:
        open_everything(visit.page)
        assert visit.page.evaluate("document.documentElement.scrollWidth") == PHONE[0]


@pytest.mark.parametrize("name", ["example", "large"])
def test_words_in_plots_touch_nothing_and_stay_within(browser: Any, report: Path, tmp_path: Path, name: str) -> None:
    path = report
    if name == "large":
        path = tmp_path / "large.html"
        write_comparison(comparisons.large(tmp_path), path)
    with Visit(browser, path) as visit:
        plots = visit.page.locator("figure svg").evaluate_all(
            """(all) => all.map((svg) => [svg, ...svg.querySelectorAll("text")].map((one) => {
                const box = one.getBoundingClientRect();
                return [box.left, box.top, box.right, box.bottom, one.textContent];
            }))"""
        )
        assert len(plots) == 7
        for frame, *words in plots:
            assert len(words) > 15
            for left, top, right, bottom, text in words:
                assert frame[0] - 1 <= left <= right <= frame[2] + 1, text
                assert frame[1] - 1 <= top <= bottom <= frame[3] + 1, text
            for one, other in itertools.combinations(words, 2):
                # A line's box is taller than its digits; two pixels of it may overlap.
                across = min(one[2], other[2]) - max(one[0], other[0])
                down = min(one[3], other[3]) - max(one[1], other[1])
                assert across <= 1 or down <= 4, (one, other)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_plots_have_ink_in_both_themes(browser: Any, report: Path, tmp_path: Path, scheme: str) -> None:
    with Visit(browser, report, color_scheme=scheme) as visit:
        background = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
        dark = sum(int(part) for part in background[4:-1].split(",")) < 3 * 128
        assert dark == (scheme == "dark")
        figures = visit.page.locator("figure svg")
        for place in range(figures.count()):
            shot = figures.nth(place).screenshot(path=tmp_path / f"{scheme}{place}.png")
            image = pixels(shot)
            ground = image[2, 2]
            inked = np.abs(image - ground).max(axis=2) > 0.25
            assert 0.01 < inked.mean() < 0.3
            # Something is drawn in every quarter of the width, and both near the top and near the floor.
            assert all(part.any() for part in np.array_split(inked, 4, axis=1))
            assert all(part.any() for part in np.array_split(inked, 4, axis=0))


def test_print_is_light_and_shows_what_is_folded(browser: Any, report: Path) -> None:
    with Visit(browser, report, color_scheme="dark") as visit:
        visit.page.emulate_media(media="print", color_scheme="dark")
        assert visit.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(251, 250, 248)"
        visit.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert visit.page.locator("details:not([open])").count() == 0
        visit.page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert visit.page.locator("details[open]").count() == 0


@pytest.mark.parametrize(("scheme", "size"), [("light", DESKTOP), ("dark", PHONE)], ids=["light", "dark"])
def test_axe_finds_nothing_serious(browser: Any, tmp_path: Path, scheme: str, size: tuple[int, int]) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    whole = comparisons.example(tmp_path)
    # One of each kind: dense, variant, failed, scratch, single run. Axe takes its time with more.
    few = tuple(one for number, one in enumerate(whole.variants, start=1) if number in (1, 2, 3, 5, 14))
    write_comparison(replace(whole, variants=few), tmp_path / "few.html")
    with Visit(browser, tmp_path / "few.html", size, color_scheme=scheme) as visit:
        open_everything(visit.page)
        found = axe.Axe().run(visit.page, options={"resultTypes": ["violations"]}).response
        assert len(found["passes"]) > 15
        told = [
            (one["id"], one["impact"], one["nodes"][0]["html"][:200], one["nodes"][0].get("failureSummary", ""))
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
        ]
        assert told == []
