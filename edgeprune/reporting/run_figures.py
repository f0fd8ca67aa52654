"""Figures of a run on white: its training, its confusion matrix, what its layers cost."""

from typing import TYPE_CHECKING

import numpy as np

from edgeprune.errors import EdgepruneError
from edgeprune.reporting import plots
from edgeprune.reporting.drawing import WHITE, short, white_figure
from edgeprune.reporting.layers import layer_changes
from edgeprune.reporting.tables import confusion_of
from edgeprune.results.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_COUNTED = 25
"""Classes of a confusion matrix whose cells hold their counts; of more they would touch."""


def history_figure(result: Result) -> "Figure":
    """Loss above validation accuracy, a column for each training; what was not recorded is left out."""
    rows = {"loss": (plots.LOSS, 1.0), "validation accuracy, %": (plots.ACCURACY, 100.0)}
    stages = [
        (stage, history)
        for stage, history in plots.stages(result)
        if any(plots.recorded(history, curves) for curves, _ in rows.values())
    ]
    if not stages:
        raise EdgepruneError(f"{result.name}: its result holds no history of a training; draw that of another run.")
    with white_figure(4.8 * len(stages), 5.2) as figure:
        panels = figure.subplots(len(rows), len(stages), squeeze=False, sharex="col")
        for column, (stage, history) in enumerate(stages):
            for axes, (name, (curves, scale)) in zip(panels[:, column], rows.items(), strict=True):
                plots.draw_curves(axes, history, name, plots.recorded(history, curves), scale, WHITE)
            panels[0, column].set_title(stage)
            panels[0, column].set_xlabel("")
    return figure


def layer_figure(result: Result) -> "Figure":
    """MACs and parameters of the costliest layers, before and after pruning."""
    layers = plots.costliest(layer_changes(result))
    if not layers:
        raise EdgepruneError(f"{result.name}: its result holds no costs by layer; draw those of another run.")
    with white_figure(9.6, plots.layers_height_in(layers)) as figure:
        for axes, quantity in zip(figure.subplots(1, 2, sharey=True), ("macs", "params"), strict=True):
            plots.draw_layers(axes, layers, quantity, WHITE)
    return figure


def confusion_figure(result: Result, form: str | None = None) -> "Figure":
    """Clips by true class (rows) and predicted class (columns); the shade is the share of the true class.

    `form` is a label such as `pruned int8`; None takes the form that ships.
    """
    matrix = confusion_of(result, form)
    if matrix is None:
        what = "holds no confusion matrix" if form is None else f"holds none of '{form}'"
        raise EdgepruneError(f"{result.name}: its result {what}; tell one class a clip, and evaluate that file.")
    shown, names, counts = matrix
    table = np.array(counts, dtype=np.float64)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    names = [short(name) for name in names]
    size_in = 2.2 + 0.36 * min(len(names), MOST_COUNTED)
    with white_figure(size_in + 0.8, size_in) as figure:
        axes = figure.add_subplot()
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(length=0)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        axes.set_title(f"{shown.label}, clips")
        axes.spines[:].set_visible(False)
        figure.colorbar(image, ax=axes, shrink=0.6, label="share of the true class")
        if len(names) <= MOST_COUNTED:
            for true, predicted in np.argwhere(table > 0):
                dark = shares[true, predicted] > 0.55
                color = WHITE.ground if dark else WHITE.ink
                text = f"{table[true, predicted]:.0f}"
                axes.text(predicted, true, text, ha="center", va="center", color=color, fontsize="small")
    return figure
