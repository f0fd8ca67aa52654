"""The Pareto front as a figure holds the comparison's figures."""

from pathlib import Path

import comparisons
import pytest
from calls import call

import edgeprune
from edgeprune.comparing.report.pareto_points import quantities
from edgeprune.errors import EdgepruneError


@pytest.mark.parametrize("cost", ["macs", "bytes", "host", "cortex-m4"])
def test_points_are_where_the_variants_are(cost: str) -> None:
    found = comparisons.example()
    known = [variant for variant in found.variants if "int8" in variant.accuracy]
    of = quantities(found)[cost].of
    (axes,) = edgeprune.plots.pareto(found, cost).axes
    drawn = {line.get_gid(): line.get_xydata()[0] for line in axes.lines if (line.get_gid() or "").startswith("point")}
    assert len(drawn) == len(known)
    for number, variant in enumerate(found.variants, start=1):
        if variant in known:
            estimate = of(variant)
            assert estimate is not None
            assert drawn[f"point{number}"] == pytest.approx((estimate.mean, 100 * variant.accuracy["int8"].mean))


def test_front_runs_through_the_variants_that_are_on_it() -> None:
    found = comparisons.example()
    figure = edgeprune.plots.pareto(found)
    (line,) = [line for line in figure.axes[0].lines if line.get_gid() == "front"]
    on_front = [variant for variant in found.variants if "macs" in variant.pareto]
    assert sorted(line.get_xdata()) == sorted(variant.cost["macs"].mean for variant in on_front)
    bold = [text.get_text() for text in figure.texts if text.get_fontweight() == "bold"]
    assert bold[1::2] == [variant.name for variant in on_front]
    assert [found.variants[int(number) - 1] for number in bold[::2]] == on_front


def test_a_cost_that_is_not_known_is_refused() -> None:
    with pytest.raises(EdgepruneError, match="perhaps you meant 'macs'"):
        edgeprune.plots.pareto(comparisons.example(), "mac")


def test_names_fit_beside_the_plot_and_those_left_out_are_counted(tmp_path: Path) -> None:
    figure = edgeprune.plots.pareto(comparisons.large(tmp_path))
    assert len(figure.texts) == 2 * 18  # numbers and names
    assert figure.axes[0].get_title(loc="right") == "named: 18 of 27"


def test_a_sweep_is_drawn_from_the_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    comparisons.write_results_of(comparisons.example(tmp_path / "sweep"))
    out = tmp_path / "pareto.svg"
    code, _, err = call(capsys, "plot", "pareto", tmp_path / "sweep", "--out", out, "--cost", "params")
    assert code == 0, err
    assert ">parameters<" in out.read_text()
