"""Figures of a run hold the numbers of its result: what is drawn is read back from the axes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calls import call

import edgeprune
from edgeprune.errors import EdgepruneError
from edgeprune.files import write_json
from edgeprune.results.result import Result


def test_history_has_a_column_a_training_and_every_epoch(whole: dict[str, Any]) -> None:
    figure = edgeprune.plots.history(Result.from_json(whole))
    rows = whole["history"]
    loss, finetune_loss, accuracy, finetune_accuracy = figure.axes
    assert [axes.get_title() for axes in (loss, finetune_loss)] == ["dense network", "fine-tuning"]
    for stage, above, below in (("dense", loss, accuracy), ("finetune", finetune_loss, finetune_accuracy)):
        training, validation = above.lines
        assert training.get_xdata().tolist() == [row["epoch"] for row in rows[stage]]
        assert training.get_ydata().tolist() == [row["train_loss"] for row in rows[stage]]
        assert validation.get_ydata().tolist() == [row["val_log_loss"] for row in rows[stage]]
        assert below.lines[0].get_ydata() == pytest.approx([100 * row["val_accuracy"] for row in rows[stage]])
    assert accuracy.get_ylabel() == "validation accuracy, %"


def test_layers_have_a_bar_before_and_after_pruning(whole: dict[str, Any]) -> None:
    macs, params = edgeprune.plots.layer_costs(Result.from_json(whole)).axes
    for axes, quantity in ((macs, "macs"), (params, "params")):
        for bars, network in zip(axes.containers, ("dense", "pruned"), strict=True):
            asked = [row[quantity] for row in whole[network]["cost"]["by_layer"] if row["kind"] != "pool"]
            assert [bar.get_width() for bar in bars] == asked
    assert [label.get_text() for label in macs.get_yticklabels()] == ["conv1", "conv2", "conv3", "dense1", "dense2"]


@pytest.mark.parametrize(("form", "key"), [(None, "int8"), ("pruned float16", "float16"), ("dense int8", "dense_int8")])
def test_confusion_has_the_counts_of_the_form_asked_for(whole: dict[str, Any], form: str | None, key: str) -> None:
    axes, bar = edgeprune.plots.confusion(Result.from_json(whole), form).axes
    counts = np.array(whole["artefacts"][key]["accuracy"]["confusion"])
    assert np.asarray(axes.images[0].get_array()) == pytest.approx(counts / 60)  # 60 clips a class
    drawn = {(round(y), round(x)): int(text.get_text()) for text in axes.texts for x, y in [text.get_position()]}
    assert drawn == {(int(y), int(x)): counts[y, x] for y, x in np.argwhere(counts)}
    assert axes.get_title().startswith(form or "pruned int8")
    assert bar.get_ylabel() == "share of the true class"


@pytest.mark.parametrize("draw", [edgeprune.plots.history, edgeprune.plots.layer_costs, edgeprune.plots.confusion])
def test_what_a_result_does_not_hold_is_said(draw: Any) -> None:
    with pytest.raises(EdgepruneError, match="its result holds no"):
        draw(Result.from_json({"schema": 1, "recipe": {"name": "bare"}}))


def test_a_form_that_is_not_there_is_said(whole: dict[str, Any]) -> None:
    with pytest.raises(EdgepruneError, match="holds none of 'pruned int4'"):
        edgeprune.plots.confusion(Result.from_json(whole), "pruned int4")


def test_a_notebook_shows_a_figure_and_the_users_style_leaves_it_alone(whole: dict[str, Any]) -> None:
    import matplotlib

    figure = edgeprune.plots.layer_costs(Result.from_json(whole))
    shown = figure._repr_png_()  # type: ignore[attr-defined]
    assert shown.startswith(b"\x89PNG")
    with matplotlib.rc_context({"axes.labelcolor": "red", "xtick.labelcolor": "red", "font.size": 30}):
        assert figure._repr_png_() == shown  # type: ignore[attr-defined]


@pytest.fixture
def run_folder(whole: dict[str, Any], tmp_path: Path) -> Path:
    write_json(tmp_path / "run" / "recipe.json", whole["recipe"])
    write_json(tmp_path / "run" / "result.json", whole)
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (["history"], "fine-tuning"),
        (["layers"], "dense1"),
        (["confusion"], "pruned int8, clips"),
        (["confusion", "--form", "dense float32"], "dense float32, clips"),
    ],
)
def test_a_run_is_drawn_from_the_command_line(capsys: Any, run_folder: Path, argv: list[str], word: str) -> None:
    out = run_folder / "new" / "plot.svg"
    what, *flags = argv
    assert call(capsys, "plot", what, run_folder, "--out", out, *flags)[:2] == (0, "")
    assert f">{word}<" in out.read_text()


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["history", "{run}", "{run}", "--out", "a.svg"], "draws one run, and 2 are given"),
        (["layers", "{run}", "--out", "a.pdf"], "a.pdf: a plot is written as .svg or .png"),
        (["confusion", "{run}", "--out", "a.svg", "--form", "int8"], "holds none of 'int8'"),
        (["history", "nowhere", "--out", "a.svg"], "nowhere: is not a run folder"),
    ],
)
def test_what_is_wrong_is_said(capsys: Any, run_folder: Path, argv: list[str], complaint: str) -> None:
    code, out, err = call(capsys, "plot", *(word.format(run=run_folder) for word in argv))
    assert (code, out) == (2, "")
    assert complaint in err
