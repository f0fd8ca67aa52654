import base64
import copy
import hashlib
import itertools
import json
import math
import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import comparisons
import numpy as np
import pytest
from comparisons import run_of
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprune.comparing.compare import compare
from edgeprune.comparing.comparison import ComparedRun, Comparison, MeanEstimate, Variant
from edgeprune.comparing.report import plots
from edgeprune.comparing.report.report import render_comparison, write_comparison
from edgeprune.errors import EdgepruneError
from edgeprune.reporting.numbers import format_bytes, format_count
from edgeprune.results.result import NetworkName
from edgeprune.results.run_folder import RunFolder, RunState

VOID = {"meta", "br", "hr", "img", "input", "link", "wbr"}


class Page(HTMLParser):
    """What the tests ask of a page: tags, text, and tables as rows of text by caption."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self._rows: list[list[str]] = []
        self._caption = ""
        self.feed(html)
        self.close()
        assert self.open == []
        self.text = re.sub(r"\s+", " ", "".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in VOID:
            return
        self.open.append(tag)
        if tag == "table":
            self._rows, self._caption = [], ""
        if tag == "tr":
            self._rows.append([])
        if tag in ("td", "th"):
            self._rows[-1].append("")
        if tag in ("small", "p", "li", "dt", "dd", "td", "th", "caption", "figcaption", "summary", "h2"):
            self.handle_data(" ")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "table":
            self.tables[self._caption.strip()] = [[cell.strip() for cell in row] for row in self._rows]

    def handle_data(self, data: str) -> None:
        if {"style", "script"} & set(self.open):
            return
        self.words.append(data)
        if "caption" in self.open:
            self._caption += data
        elif {"td", "th"} & set(self.open):
            self._rows[-1][-1] += re.sub(r"\s+", " ", data)

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]

    def table(self, caption: str) -> list[list[str]]:
        found = [rows for name, rows in self.tables.items() if caption in name]
        assert len(found) == 1, (caption, list(self.tables))
        return found[0]


def raw(run: ComparedRun) -> dict[str, Any]:
    """The content of the run's `result.json`."""
    return {} if run.result is None else dict(run.result.raw)


def page_of(comparison: Comparison) -> Page:
    return Page(render_comparison(comparison))


@pytest.fixture(scope="module")
def example() -> Comparison:
    return comparisons.example()


@pytest.fixture(scope="module")
def html(example: Comparison) -> str:
    return render_comparison(example)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


SHIPPED = "accuracy and cost of every variant"
CONTROLS = "each variant minus the controls"
BY_CLASS = "accuracy by class"


def plain(name: str, accuracy: float, macs: float, **parts: Any) -> Variant:
    """A variant of one run that tells next to nothing."""
    run = run_of(Path("runs") / name, {"schema": 1})
    cost = {"macs": MeanEstimate(macs, 1)}
    return Variant(name, "variant", {}, cost=cost, accuracy={"int8": MeanEstimate(accuracy, 1)}, runs=(run,), **parts)


# The file


def test_a_report_needs_nothing_but_itself(tmp_path: Path) -> None:
    found = comparisons.large(tmp_path)
    comparisons.write_predictions_of(found)
    path = tmp_path / "report.html"
    write_comparison(found, path)
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert len(text.encode()) < 2_000_000
    assert len(page.all("details")) == 27 + 4  # a confusion matrix each, and files, runs, versions, settings
    assert not {"link", "iframe", "object", "embed", "img", "base", "form"} & {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        assert not any(name.startswith("on") or name in ("src", "srcset", "action") for name in attributes)
        assert (attributes.get("href") or "#").startswith("#")
    assert not re.search(r"https?://|@import|url\((?!#)", text)


def test_the_policy_allows_the_one_script_and_no_other(html: str, page: Page) -> None:
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert len(scripts) == len(page.all("script")) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    (policy,) = [one["content"] for one in page.all("meta") if one.get("http-equiv") == "Content-Security-Policy"]
    assert f"script-src 'sha256-{digest}'" in (policy or "")
    assert "default-src 'none'" in (policy or "")


def test_the_same_comparison_gives_the_same_bytes(html: str) -> None:
    assert render_comparison(comparisons.example()) == html


def test_a_result_of_a_later_layout_is_shown_as_damaged(tmp_path: Path) -> None:
    found = comparisons.example(tmp_path)
    comparisons.write_results_of(replace(found, variants=found.variants[1:2]))
    late = next(tmp_path.glob("*-seed0")) / "result.json"
    late.write_text(late.read_text().replace('"schema": 1', '"schema": 2'))
    page = page_of(compare(tmp_path))
    assert "2 runs finished, 1 damaged" in page.text
    assert "its schema is 2" in page.text


def test_a_folder_that_cannot_be_written_is_one_sentence(example: Comparison, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgepruneError, match="cannot be written"):
        write_comparison(example, tmp_path / "file" / "report.html")


# What it says


def test_every_variant_stands_in_the_table_with_its_own_numbers(example: Comparison, page: Page) -> None:
    header, *rows = page.table(SHIPPED)
    assert [len(row) for row in rows] == [len(header)] * len(example.variants)
    for number, (variant, row) in enumerate(zip(example.variants, rows, strict=True), start=1):
        assert row[0].startswith(f"{number} {variant.name}")
        if not variant.accuracy:
            continue
        found = variant.accuracy["int8"]
        told = "one run: no interval" if found.n == 1 else f"{100 * found.low:.1f} to {100 * found.high:.1f} %"
        assert row[2] == f"{100 * found.mean:.2f} % {told}"
        assert row[1] == str(found.n)
        costs = [format_count(variant.cost[key].mean) for key in ("params", "macs")]
        costs += [format_bytes(variant.cost[key].mean) for key in ("flash_bytes", "peak_ram_bytes")]
        assert row[5:9] == costs
        assert row[9] == format_bytes(variant.bytes["int8"].mean)
        assert row[12].count(",") == max(0, len(variant.pareto) - 1)
        assert (row[12] == "\N{EN DASH}") == (not variant.pareto)
    assert header[10:12] == ["host, ms measured", "cortex-m4, instructions emulated"]


def test_controls_are_marked_and_failures_say_why(page: Page) -> None:
    rows = {row[0].split(" ")[0]: row for row in page.table(SHIPPED)}
    assert rows["1"][0] == "1 dense dense"
    assert rows["5"][0] == "5 scratch, params 10k scratch"
    assert rows["6"][0] == "6 random, params 10k random"
    assert rows["3"][0] == ("3 l1, params 10k failed no allocation keeps 10,000 parameters and 2,000,000 MACs at once")
    assert rows["3"][1:3] == ["0 3 failed", "\N{EN DASH}"]
    assert "43 runs finished, 3 failed" in page.text
    assert sum("badge failed" in (one.get("class") or "") for one in page.all("span")) == 1 + 3


def test_what_was_compared_is_said(example: Comparison, page: Page) -> None:
    for asked in (
        "Comparison: tau2020_dcase21", "9 variants, 7 controls", "tau2020_mobile", "0, 1, 2", "int8 TFLite files",
        "prune.criterion, budget.params", comparisons.TEST, *example.notes, "a3" * 32, "train 13,962, test 300",
        "2.13.0+cpu", "train.epochs 30", "Emulated: counted while an emulator ran",
    ):  # fmt: skip
        assert asked in page.text, asked
    assert "synthetic" not in page.text
    assert "Estimated" not in page.text


def test_synthetic_audio_is_named_as_such(example: Comparison) -> None:
    text = json.dumps(raw(example.variants[1].runs[0])).replace("tau2020_mobile", "synthetic")
    run = run_of(Path("runs/synthetic"), json.loads(text))
    found = replace(example, variants=(replace(example.variants[1], runs=(run,)),))
    assert "The audio of these runs is synthetic." in page_of(found).text


def test_differences_stand_with_the_control_they_are_to(example: Comparison, page: Page) -> None:
    _, *rows = page.table(CONTROLS)
    pairs = [
        (number, variant.name, one)
        for number, variant in enumerate(example.variants, start=1)
        for one in variant.differences
        if one.metric == "accuracy"
    ]
    assert len(rows) == len(pairs)
    for row, (number, name, one) in zip(rows, pairs, strict=True):
        assert row[0].startswith(f"{number} {name}")
        assert (row[1], row[6]) == (one.against, str(one.estimate.n))
        points = f"{100 * one.estimate.mean:+.1f}".replace("-", "\N{MINUS SIGN}")
        assert row[2].startswith(points)
        assert row[2].endswith("one pair: no interval") == (one.estimate.n == 1)
        assert (row[3] == "\N{EN DASH}") == (one.p_value is None)


def test_each_run_has_the_command_that_repeats_it(example: Comparison, page: Page) -> None:
    _, *rows = page.table("every run and the command")
    records = [run for variant in example.variants for run in variant.runs]
    assert len(rows) == len(records) == 46
    for row, run in zip(rows, records, strict=True):
        assert shlex.split(row[4]) == ["edgeprune", "run", str(run.folder.recipe_file)]
        assert row[1:3] == [str(run.seed), str(run.fold)]


def test_commands_survive_a_shell_wherever_the_runs_lie() -> None:
    folder = Path("my runs/it's; rm -rf $HOME")
    run = run_of(folder, {"schema": 1})
    found = page_of(Comparison((Variant("a", "variant", {}, runs=(run,)),), "int8", (), ""))
    (_, row) = found.table("every run and the command")
    assert shlex.split(row[4]) == ["edgeprune", "run", str(folder / "recipe.json")]


def test_every_file_is_listed_once_with_parity_and_hash(example: Comparison, page: Page) -> None:
    _, *rows = page.table("every exported file")
    files = {
        artefact["sha256"]: artefact
        for variant in example.variants
        for run in variant.runs
        for name, artefact in raw(run).get("artefacts", {}).items()
        if run.network == "pruned" or name.startswith("dense_")
    }
    assert sorted(row[8] for row in rows) == sorted(files)
    for row in rows:
        artefact = files[row[8]]
        assert row[3:8] == [artefact["path"], f"{artefact['bytes']:,}", f"{artefact['parity']['max_abs_error']:#.2g}",
                            str(artefact["parity"]["label_flips"]), "0"]  # fmt: skip
    # The unpruned network of a seed is one file in all runs of that seed.
    shared = [row for row in rows if row[3] == "dense_int8.tflite"]
    assert len(shared) == 3
    assert {row[0] for row in shared} == {
        "1 dense and 14 more with the same file", "1 dense and 13 more with the same file",
    }  # fmt: skip
    assert "Over 43 files: largest error 0.022, label flips at most 5, transposes at most 0." in page.text


def test_different_data_are_listed(example: Comparison) -> None:
    variant = example.variants[1]
    result = copy.deepcopy(raw(variant.runs[0]))
    result["data"]["sha256"] = "b4" * 32
    other = replace(variant, runs=(run_of(variant.runs[0].folder.path, result), *variant.runs[1:]))
    found = page_of(replace(example, variants=(example.variants[0], other)))
    _, *rows = found.table("the data of the runs")
    assert {row[4]: row[3] for row in rows} == {"b4" * 32: "1", "a3" * 32: "5"}


def test_a_single_run_on_a_front_is_no_victory(example: Comparison) -> None:
    lucky = plain("lucky", 0.9, 1_000.0, pareto=("macs",))
    several = replace(plain("several", 0.8, 2_000.0), accuracy={"int8": MeanEstimate(0.8, 3, 0.01, 0.78, 0.82)})
    told = "On a front by a single run, which may be a lucky one: lucky."
    assert told in page_of(Comparison((lucky, several), "int8", (), "")).text
    assert told not in page_of(Comparison((lucky,), "int8", (), "")).text
    assert "lucky" not in page_of(example).text


# Accuracy in parts, confusion matrices, widths


def with_classes(variant: Variant, by_seed: dict[int, dict[str, float]]) -> Variant:
    runs = []
    for seed, classes in by_seed.items():
        told = {name: {"accuracy": value, "clips": 10} for name, value in classes.items()}
        result = {
            "schema": 1,
            "artefacts": {"int8": {"path": "m.tflite", "accuracy": {"accuracy": 0.5, "per_class": told}}},
        }
        files = result["artefacts"]
        if variant.role == "dense":
            result["artefacts"] = {"dense_int8": files["int8"]}
        network: NetworkName = "dense" if variant.role == "dense" else "pruned"
        runs.append(run_of(Path("runs") / f"{variant.name}{seed}", result, seed, network))
    return replace(variant, runs=tuple(runs))


def test_changes_by_class_are_over_the_runs_that_share_a_seed() -> None:
    dense = with_classes(
        replace(plain("dense", 0.5, 9.0), role="dense"), {0: {"bus": 0.5, "tram": 0.9}, 1: {"bus": 0.7}}
    )
    # Seed 2 has no counterpart: it counts in the mean (0.4 + 0.8 + 0.9) / 3, not in the change (-0.1 + 0.1) / 2.
    other = with_classes(plain("other", 0.5, 5.0), {0: {"bus": 0.4}, 1: {"bus": 0.8}, 2: {"bus": 0.9}})
    header, first, second = page_of(Comparison((dense, other), "int8", ("dense",), "")).table(BY_CLASS)
    assert header == ["variant", "bus (10)", "tram (10)"]
    assert first == ["1 dense dense", "60.0", "90.0"]
    assert second == ["2 other", "70.0 0.0", "\N{EN DASH}"]


def test_of_hundreds_of_classes_those_that_change_most_are_shown() -> None:
    names = [f"class{number}" for number in range(500)]
    dense = with_classes(replace(plain("dense", 0.5, 9.0), role="dense"), {0: dict.fromkeys(names, 0.5)})
    other = with_classes(plain("other", 0.5, 5.0), {0: dict.fromkeys(names, 0.5) | {"class321": 0.1}})
    found = page_of(Comparison((dense, other), "int8", ("dense",), ""))
    header, *_ = found.table(BY_CLASS)
    assert len(header) == 41
    assert "class321 (10)" in header
    assert "Left out are the 460 that change least." in found.text


def test_confusion_is_the_mean_of_the_predictions(tmp_path: Path) -> None:
    found = comparisons.example(tmp_path)
    comparisons.write_predictions_of(found)
    page = page_of(found)
    shown = [variant for variant in found.variants if variant.role == "dense" or variant.pareto]
    captions = [name for name in page.tables if "true class by row" in name]
    assert len(captions) == len(shown) < len(found.variants)
    _, airport, *_, tram = page.table("operator_norm, params 20k: true class")
    assert airport == ["airport", "21", *[""] * 8, "9"]  # of 30 clips 20, 21 and 22 right in the three seeds
    assert tram == ["tram", *[""] * 9, "30"]
    assert "operator_norm, params 20k, 3 of 3 runs" in page.text
    assert "airport tram 27 30.0 %" in page.text


def test_confusion_without_predictions_is_that_of_the_results(tmp_path: Path) -> None:
    found = comparisons.example(tmp_path)
    comparisons.write_results_of(found)
    counts = [run.file("int8").scores.confusion for run in found.variants[0].runs]  # type: ignore[union-attr]
    _, *rows = page_of(found).table("dense: true class")
    shown = np.array([[float(cell or 0) for cell in row[1:]] for row in rows])
    np.testing.assert_allclose(shown, np.mean(counts, axis=0), atol=0.05)


def test_a_damaged_table_of_predictions_leaves_its_run_out(tmp_path: Path) -> None:
    found = comparisons.example(tmp_path)
    comparisons.write_predictions_of(found)
    found.variants[0].runs[0].folder.predictions("dense", "int8").write_text("filename,label")
    assert "dense, 2 of 3 runs" in page_of(found).text


def test_widths_are_listed_with_their_share_of_the_dense_network(example: Comparison, page: Page) -> None:
    header, dense, *rows = page.table("filters by layer")
    assert header == ["variant", "conv1", "conv2", "conv3", "fc1"]
    assert dense[1:] == ["16 100 %", "16 100 %", "32 100 %", "100 100 %"]
    widths = [run.figures.widths["conv1"] for run in example.variants[1].runs if run.figures]
    assert len(set(widths)) == 2
    shares = [f"{100 * width / 16:.0f}" for width in (min(widths), max(widths))]
    assert rows[0][1] == f"{', '.join(map(str, widths))} {shares[0]} to {shares[1]} %"


def test_number_formats_have_a_table_where_there_are_several(example: Comparison) -> None:
    variant = example.variants[1]
    both = replace(
        variant,
        accuracy=variant.accuracy | {"float32": MeanEstimate(0.61, 1)},
        bytes=variant.bytes | {"float32": MeanEstimate(62_600.0, 1)},
    )
    header, row = page_of(replace(example, variants=(both,))).table("by number format")
    assert header[3:] == ["float32, accuracy", "float32, file"]
    assert row[3:] == ["61.00 % one run: no interval", "62.6 kB"]


# Plots


def svgs(html: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]


def points_of(svg: ElementTree.Element) -> list[ElementTree.Element]:
    return [group for group in svg.iter("g") if group.get("class") == "point"]


def dots(svg: ElementTree.Element) -> dict[int, tuple[float, float, bool]]:
    """Middle of each point, by the number of its variant, and whether it is filled, as on the front."""
    places = {}
    for group in points_of(svg):
        (use,) = group.iter("use")
        place = float(use.get("x", "nan")), float(use.get("y", "nan"))
        places[int(group.get("data-v", "0"))] = (*place, "fill: var(--card)" not in use.get("style", ""))
    return places


def words_of(svg: ElementTree.Element) -> list[tuple[str, str, float, float]]:
    """Text, anchor and place of every horizontal text."""
    words = []
    for element in svg.iter("text"):
        turn, x, y = re.match(r"rotate\((\S+) (\S+) (\S+)\)", element.get("transform", "")).groups()  # type: ignore[union-attr]
        if float(turn) == 0:
            anchor = re.search(r"text-anchor: (\w+)", element.get("style", ""))
            words.append((element.text or "", anchor[1] if anchor else "start", float(x), float(y)))
    return words


def path_numbers(svg: ElementTree.Element) -> list[list[float]]:
    return [[float(number) for number in re.findall(r"-?[\d.]+", path.get("d", ""))] for path in svg.iter("path")]


def test_points_and_bars_are_where_the_ticks_say(example: Comparison, html: str) -> None:
    svg = svgs(html)[2]  # flash
    words = words_of(svg)
    accuracies = [(float(text), y) for text, anchor, _, y in words if anchor == "end"]
    costs = [(float(text[:-3]) * 1e3, x) for text, _, x, _ in words if text.endswith(" kB")]
    logarithmic = any("logarithmic" in text for text, *_ in words)
    scale = np.log if logarithmic else float
    slope, offset = np.polyfit(*zip(*accuracies, strict=True), 1)
    along, start = np.polyfit([scale(cost) for cost, _ in costs], [x for _, x in costs], 1)
    places = dots(svg)
    assert len(places) == 15  # all but the one that failed
    shift = None  # a label's baseline lies below its tick
    for number, variant in enumerate(example.variants, start=1):
        if not variant.accuracy:
            continue
        x, y, _ = places[number]
        expected = slope * 100 * variant.accuracy["int8"].mean + offset
        shift = expected - y if shift is None else shift
        assert 0 < shift < 6
        assert y == pytest.approx(expected - shift, abs=0.3)
        assert x == pytest.approx(along * scale(variant.cost["flash_bytes"].mean) + start, abs=0.3)
    dense = example.variants[0].accuracy["int8"]
    ends = [slope * 100 * bound + offset - shift for bound in (dense.low, dense.high)]
    bars = [row for row in path_numbers(svg) if len(row) == 4 and row[0] == row[2] == pytest.approx(places[1][0])]
    assert [bar[1::2] for bar in bars] == [pytest.approx(ends, abs=0.3)]


def test_a_front_is_that_of_the_comparison_or_found_by_its_definition(example: Comparison, html: str) -> None:
    macs, file, *_, counted = svgs(html)
    for svg, cost in (
        (macs, lambda one: one.cost["macs"].mean),
        (file, lambda one: one.bytes["int8"].mean),
        (counted, lambda one: one.latency[1].estimate.mean),
    ):
        points = {
            number: (cost(variant), variant.accuracy["int8"].mean)
            for number, variant in enumerate(example.variants, start=1)
            if variant.accuracy and variant.role in ("dense", "variant")
        }
        expected = {
            number
            for number, (x, y) in points.items()
            if not any(a <= x and b >= y and (a, b) != (x, y) for a, b in points.values())
        }
        assert {number for number, (_, _, on) in dots(svg).items() if on} == expected
        (line,) = [group.find("path").get("d", "") for group in svg.iter("g") if group.get("class") == "front"]  # type: ignore[union-attr]
        assert line.count("L") == 2 * (len(expected) - 1)


def test_titles_tell_a_point_without_a_script(html: str) -> None:
    titles = {group.get("data-v"): group.findtext("title") or "" for group in points_of(svgs(html)[0])}
    assert titles["14"].split("\n")[:3] == [
        "geometric_median, params 30k", "accuracy: 61.72 % (one run: no interval)", "MACs: 17.0M",
    ]  # fmt: skip
    assert "points to random, params 20k, p" in titles["7"]
    assert titles["7"].endswith("on the front")


def test_colours_go_by_criterion_and_shapes_by_role(page: Page) -> None:
    legend = re.search(r"Accuracy against cost(.*?)Numbers are those", page.text)
    assert legend is not None
    assert " ".join(legend[1].split()) == (
        "\N{WHITE CIRCLE}operator_norm \N{WHITE CIRCLE}l1 \N{WHITE CIRCLE}geometric_median "
        "\N{WHITE DIAMOND}dense: not pruned \N{WHITE SQUARE}trained from scratch "
        "\N{WHITE UP-POINTING TRIANGLE}random filters removed \N{BLACK CIRCLE}filled: on the front"
    )


@given(
    st.lists(
        st.tuples(
            st.floats(1e-3, 1e10),
            st.floats(0, 1),
            st.sampled_from((None, 0.0, 0.01, 0.4)),
            st.sampled_from(("variant", "dense", "scratch", "random", "other")),
            st.booleans(),
        ),
        min_size=1,
        max_size=30,
    )
)
@settings(max_examples=15, deadline=None)
def test_whatever_is_drawn_stays_in_the_picture_and_no_labels_touch(rows: list[Any]) -> None:
    points = [
        plots.Point(
            number=number,
            role=role,
            color=number % 9 if role == "variant" else None,
            x=MeanEstimate(cost, 3),
            y=MeanEstimate(accuracy, 1)
            if half is None
            else MeanEstimate(accuracy, 3, half, accuracy - half, accuracy + half),
            front=front,
        )
        for number, (cost, accuracy, half, role, front) in enumerate(rows, start=1)
    ]
    svg = ElementTree.fromstring(plots.pareto_plot(points, "cost", format_count))
    _, _, width, height = map(float, svg.get("viewBox", "").split())
    assert all(math.isfinite(number) for row in path_numbers(svg) for number in row)
    assert len(dots(svg)) == len(points)
    boxes = []
    for text, anchor, x, y in words_of(svg):
        half = 3.3 * len(text)
        middle = {"end": x - half, "start": x + half, "middle": x}[anchor]
        assert middle - half >= -1
        assert middle + half <= width + 1
        assert 0 <= y <= height
        if text in {str(point.number) for point in points}:
            boxes.append((middle - half, y - 9, middle + half, y + 1))
    for place, one in enumerate(boxes):
        for other in boxes[place + 1 :]:
            assert not (one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3])


def answered(folder: Path) -> Comparison:
    """The example read from its folders, so that it has an answer."""
    found = comparisons.example(folder)
    comparisons.write_results_of(replace(found, variants=found.variants[1:]))
    return compare(folder)


def test_the_page_opens_with_the_answer_and_its_differences(tmp_path: Path) -> None:
    found = answered(tmp_path)
    assert found.answer is not None
    html = render_comparison(found)
    page = Page(html)
    assert page.text.index(found.answer.sentence) < page.text.index("Every variant as it ships")
    svg = svgs(html)[0]
    assert "by budget of parameters" in (svg.get("aria-label") or "")
    assert [text for text, *_ in words_of(svg) if text.endswith("k")] == ["10.0k", "20.0k", "30.0k"]
    gaps = {one.name: one.difference for one in found.answer.contenders}
    controls = {one.name: one.difference(["dense"], "accuracy") for one in found.variants if one.role != "dense"}
    # All stand on one scale: two differences and their heights give those of the others, and of the dashed line.
    heights = {found.variants[number - 1].name: y for number, (_, y, _) in dots(svg).items()}
    assert heights.keys() == {name for name, one in controls.items() if one is not None}
    points = {name: (gaps[name] if name in gaps else controls[name].estimate).mean for name in heights}  # type: ignore[union-attr]
    slope, offset = np.polyfit([points[name] for name in heights], list(heights.values()), 1)
    for name, height in heights.items():
        assert height == pytest.approx(slope * points[name] + offset, abs=0.3)
    (line,) = [group.find("path") for group in svg.iter("g") if group.get("class") == "tolerance"]
    assert float(re.findall(r"-?[\d.]+", line.get("d", ""))[1]) == pytest.approx(offset - 0.01 * slope, abs=0.3)  # type: ignore[union-attr]


def test_axes_end_where_shares_end_and_fit_the_costs() -> None:
    points = [
        plots.Point(1, "variant", 0, MeanEstimate(20_000, 2, 1.0, 0.0, 90_000), MeanEstimate(0.97, 2, 0.1, 0, 1), True),
        plots.Point(2, "variant", 0, MeanEstimate(21_000, 1), MeanEstimate(0.99, 1), False),
    ]
    svg = ElementTree.fromstring(plots.pareto_plot(points, "parameters", format_count))
    words = words_of(svg)
    shares = [float(text) for text, anchor, *_ in words if anchor == "end"]
    assert (min(shares), max(shares)) == (0, 100)
    places = dots(svg)
    assert abs(places[1][0] - places[2][0]) > 200  # of some 270


# Odd input


EVIL = "<script>alert(1)</script>\"'&</style><img src=x onerror=alert(2)>"


def poisoned(value: Any) -> Any:
    """The same with every text in keys and values made hostile, where the layout lets it be any text."""
    layout = "int8 dense_int8 dense pruned schema accuracy artefacts per_class per_device classes confusion clips"
    fixed = {*layout.split(), "interval", "parity", "cost", "widths", "versions", "data", "recipe", "latency"}
    if isinstance(value, dict):
        return {key if key in fixed else f"{key}{EVIL}": poisoned(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [poisoned(inner) for inner in value]
    return f"{value}{EVIL}" if isinstance(value, str) else value


def test_text_is_never_markup(example: Comparison) -> None:
    variants = []
    for number, variant in enumerate(example.variants):
        name = f"{variant.name}{EVIL}"
        folder = Path(f"runs/{number}{EVIL.replace('/', '')}")
        runs = tuple(
            run_of(folder, poisoned(raw(run)), run.seed, run.network)
            if run.result
            else run_of(folder, None, run.seed, failure=f"{run.failure}{EVIL}")
            for run in variant.runs
        )
        variants.append(
            replace(
                variant,
                name=name,
                role=variant.role if variant.role != "scratch" else EVIL,
                settings={f"{key}{EVIL}": f"{value}{EVIL}" for key, value in variant.settings.items()},
                latency=tuple(
                    replace(one, device=f"{one.device}{EVIL}", kind=EVIL, unit=EVIL) for one in variant.latency
                ),
                differences=tuple(replace(one, against=f"{one.against}{EVIL}") for one in variant.differences),
                runs=runs,
            )
        )
    evil = Comparison(tuple(variants), "int8", (EVIL,), EVIL, (EVIL,))
    html = render_comparison(evil)
    page = Page(html)
    assert len(page.all("script")) == 1
    assert not page.all("img")
    assert html.count("</style>") == 1
    assert page.text.count(EVIL) > 100
    told = [group.findtext("title") or "" for svg in svgs(html) for group in points_of(svg)]
    assert told
    assert all(EVIL in title for title in told)
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)


def test_control_characters_do_not_break_the_drawing(example: Comparison) -> None:
    odd = replace(example.variants[1], name="bell \x07 and \x00 nothing")
    assert svgs(render_comparison(replace(example, variants=(example.variants[0], odd))))


@pytest.mark.parametrize(
    "result", [{}, {"schema": 1}, {"artefacts": None}, {"artefacts": {"int8": {}}}, {"widths": {}, "versions": None}]
)
def test_results_may_say_nothing(result: dict[str, Any]) -> None:
    runs = (run_of(Path("r"), result), ComparedRun(RunFolder(Path("s")), 1, 1, {}, RunState.UNFINISHED))
    found = page_of(Comparison((Variant("quiet", "variant", {}, runs=runs),), "int8", (), "", ()))
    assert found.table(SHIPPED)[1][:3] == ["1 quiet has not finished", "1 1 unfinished", "\N{EN DASH}"]
    assert "1 variant, 1 run finished, 1 unfinished" in found.text
    assert "Accuracy against cost" not in found.text


def test_null_numbers_become_dashes(example: Comparison) -> None:
    def nulled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: nulled(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [nulled(inner) for inner in value]
        return None if isinstance(value, int | float) else value

    variants = [
        replace(
            variant,
            runs=tuple(
                run_of(run.folder.path, nulled(raw(run)) | {"schema": 1}, run.seed, run.network) if run.result else run
                for run in variant.runs
            ),
        )
        for variant in example.variants
    ]
    text = page_of(replace(example, variants=tuple(variants))).text
    assert "None" not in text
    assert "nan" not in text.replace("finance", "")


def test_a_comparison_may_be_of_failures_alone(example: Comparison) -> None:
    found = page_of(replace(example, variants=(example.variants[2],), controls=()))
    assert "0 runs finished, 3 failed" in found.text
    assert "3 l1" not in found.text
    assert "1 l1, params 10k failed" in found.text


def test_every_table_has_as_many_cells_as_columns(page: Page) -> None:
    assert len(page.tables) == 10
    for caption, rows in page.tables.items():
        assert len({len(row) for row in rows}) == 1, caption


def test_headings_go_down_step_by_step(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


# From folders


def test_a_report_of_run_folders(tmp_path: Path) -> None:
    found = comparisons.example(tmp_path / "runs")
    comparisons.write_results_of(replace(found, variants=found.variants[1:]))
    page = page_of(compare(tmp_path / "runs"))
    _, *rows = page.table(SHIPPED)
    names = {row[0].partition(" ")[2] for row in rows}
    assert {"dense dense", "operator_norm, params 20k", "random, params 10k random"} <= names
    assert {row[2] for row in rows if "operator_norm, params 20k" in row[0]} != {"\N{EN DASH}"}
    assert "sign-flip permutation test" in page.text
