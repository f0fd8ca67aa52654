import copy
import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from edgeprune.errors import EdgepruneError
from edgeprune.reporting.numbers import MISSING
from edgeprune.reporting.report import write_report
from edgeprune.results.result import Result

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """What the tests ask of a page: its text, tags, attributes and nesting."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def page_of(result: dict[str, Any], folder: Path) -> Page:
    path = folder / "report.html"
    write_report(Result.from_json(result), path)
    page = Page(path.read_text(encoding="utf-8"))
    assert page.open == []
    return page


@pytest.fixture(scope="module")
def html(whole: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of a whole run; tests that share it only read."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(Result.from_json(whole), path)
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_report_needs_nothing_but_itself(html: str, page: Page) -> None:
    assert len(html.encode()) < 2_000_000
    assert not {"script", "link", "iframe", "object", "embed", "img", "base"} & {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "xlink:href", "srcset", "action", "poster"):
                assert (value or "").startswith("#")
    assert not re.search(r"https?://|@import", html)
    assert set(re.findall(r"url\(([^)]*)", html)) <= {f"#{a['id']}" for _, a in page.tags if "id" in a}


def test_report_says_every_number_that_is_asked_of_it(whole: dict[str, Any], page: Page) -> None:
    for asked in (
        "dcase21_tau2020", "tau2020_mobile", "seed 3", "2.13.0", "operator_norm", "ab" * 32,  # what was run
        "1 thread, then with 2 threads in training and 1 in fine-tuning",
        "46.0k", "14.1k", "286.6M", "75.6M", "80.0M", "binding", "94.3 %",  # cost and budget
        "55.50 %", "53.83 %", "49.8 to 57.8 %", "1.463", "0.031", "2.4e-06",  # accuracy by format
        "4.24 ms", "178.0M instructions", "measured", "emulated", "estimated", "334.2 kB",  # latency
        "public_square", "66.7 %", "65.0 %", "s3", "60.5 %",  # classes and devices
        "conv2", "12.6k", "3.1k", "250.9M", "62.7M",  # layers
    ):  # fmt: skip
        assert asked in page.text, asked
    for artefact in whole["artefacts"].values():
        assert artefact["path"] in page.text
        assert artefact["sha256"] in page.text
        assert f"{artefact['bytes']:,}" in page.text


def test_confusion_matrix_is_the_shipped_files_and_shaded_by_row(page: Page) -> None:
    assert "Confusion matrix, pruned int8" in page.text
    cells = [attributes for attributes in page.all("td") if "style" in attributes]
    assert len(cells) == 100
    assert cells[0]["style"] == "--s:0.65"  # 39 of 60


def test_report_is_accessible(page: Page) -> None:
    assert page.all("html") == [{"lang": "en"}]
    assert "dcase21_tau2020 · edgeprune report" in page.text
    assert all(attributes.get("scope") in ("row", "col") for attributes in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in page.all("svg"))
    assert len(page.all("svg")) == 6
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def contrast(one: str, other: str) -> float:
    """WCAG 2.2 contrast ratio of two sRGB colours such as #1d2126."""

    def luminance(color: str) -> float:
        parts = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_text_has_contrast_in_both_themes(html: str) -> None:
    themes = [dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in re.findall(r":root \{([^}]*)\}", html)]
    assert len(themes) == 2
    for theme in themes:
        for text in ("ink", "soft", "accent"):
            for ground in ("page", "card"):
                assert contrast(theme[text], theme[ground]) >= 4.5, (text, ground)


def test_labels_are_text_never_markup(result: dict[str, Any], tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\"'&"
    text = json.dumps(result).replace('"airport"', json.dumps(evil)).replace('"conv1"', json.dumps(evil))
    result = json.loads(text)
    result["recipe"]["name"] = result["recipe"]["data"]["name"] = evil
    result["latency"][0]["kind"] = result["latency"][0]["device"] = evil
    result["artefacts"][evil] = copy.deepcopy(result["artefacts"]["int8"]) | {"path": evil, "sha256": evil}
    page = page_of(result, tmp_path)
    assert not page.all("script")
    assert page.text.count(evil) >= 8
    assert "<script>" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_synthetic_audio_is_named_as_such(page: Page, result: dict[str, Any], tmp_path: Path) -> None:
    assert "synthetic" not in page.text
    del result["history"]
    result["recipe"]["data"]["name"] = "synthetic"
    assert "The audio of this run is synthetic." in page_of(result, tmp_path).text


def test_report_shows_latency_and_how_good_the_allocation_is(planned: dict[str, Any], tmp_path: Path) -> None:
    del planned["history"]
    page = page_of(planned, tmp_path)
    for asked in (
        f"latency of an inference, by profile {MISSING} 4.80 ms 4.76 ms 99.2 % binding",
        "No allocation within the limits has a higher log_mass (-1.0567): proven.",
        "was read from model_int8.tflite",
        "filters, scores, parameters and MACs of each layer",
        "conv 16 8 50 % 71.2 % 800 400",
        f"dense 100 100 100 % {MISSING} 6.5k 3.3k",
    ):
        assert asked in page.text, asked
    assert "scores kept" in page.text


def test_report_of_an_older_result_has_no_column_of_scores(page: Page) -> None:
    assert "filters, parameters and MACs of each layer" in page.text
    assert "scores kept" not in page.text
    assert "proven" not in page.text
    assert "conv 16 8 50 % 800 400" in page.text


def test_each_table_has_as_many_cells_as_columns(planned: dict[str, Any], tmp_path: Path) -> None:
    del planned["history"]
    page_of(planned, tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    for table in re.findall(r"<table>.*?</table>", html, re.DOTALL):
        rows = [len(re.findall(r"<t[hd][ >]", row)) for row in re.findall(r"<tr.*?</tr>", table, re.DOTALL)]
        assert len(set(rows)) == 1, table[:200]


def test_epochs_of_several_steps_are_one_line(result: dict[str, Any], tmp_path: Path) -> None:
    step = result["history"]["finetune"][:3]
    through = [{**row, "epoch": place} for place, row in enumerate([*step, *step])]
    drawn = []
    for history in ([*step, *step], through, step):
        result["history"] = {"finetune": history}
        page_of(result, tmp_path)
        drawn.append((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert drawn[0] == drawn[1] != drawn[2]
    assert "fine-tuning, loss over 6 epochs" in drawn[0]


PARTS = (
    "recipe",
    "seed",
    "threads",
    "versions",
    "data",
    "dense",
    "pruned",
    "budget",
    "artefacts",
    "latency",
    "widths",
    "history",
)


@pytest.mark.parametrize("absent", [*PARTS, "schema"])
def test_report_is_made_without_a_part(result: dict[str, Any], tmp_path: Path, absent: str) -> None:
    del result["history"]  # always, for speed: its curves are half of the drawing
    result.pop(absent, None)
    page = page_of(result, tmp_path)
    headings = {"budget": "Budget", "latency": "Latency", "artefacts": "Files"}
    for part, heading in headings.items():
        assert (f" {heading} " in page.text) == (part != absent)


@pytest.mark.parametrize("kept", ["schema", *PARTS])
def test_report_is_made_of_a_single_part(result: dict[str, Any], tmp_path: Path, kept: str) -> None:
    assert "What was run" in page_of({kept: result[kept]}, tmp_path).text


def test_null_numbers_become_dashes(result: dict[str, Any], tmp_path: Path) -> None:
    def nulled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: nulled(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return [nulled(entry) for entry in value]
        return None if isinstance(value, int | float) else value

    text = page_of(nulled(result) | {"schema": 1}, tmp_path).text
    assert "None" not in text
    assert "nan" not in text


def test_many_classes_list_their_mistakes_instead_of_a_matrix(result: dict[str, Any], tmp_path: Path) -> None:
    scores = result["artefacts"]["int8"]["accuracy"]
    scores["classes"] = [f"class{i}" for i in range(600)]
    scores["confusion"] = [[3 if j == i else 1 if j == i + 1 else 0 for j in range(600)] for i in range(600)]
    scores["per_class"] = {name: {"accuracy": 0.75, "clips": 4} for name in scores["classes"]}
    del result["history"]
    page = page_of(result, tmp_path)
    assert not [attributes for attributes in page.all("td") if "style" in attributes]
    assert "class0 class1 1 25.0 %" in page.text
    assert (tmp_path / "report.html").stat().st_size < 2_000_000


def test_later_schema_is_refused_and_nothing_written(tmp_path: Path) -> None:
    with pytest.raises(EdgepruneError, match="schema is 2"):
        write_report(Result.from_json({"schema": 2}), tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_unwritable_folder_is_one_sentence(result: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgepruneError, match="cannot be written"):
        write_report(Result.from_json(result), tmp_path / "file" / "report.html")
