"""Folds pooled: the accuracy of every exported file over the runs of all folds, and paired differences with intervals.

    python benchmarks/folds.py RUN... [--root DATA] [--json]

Reads `predictions_<format>.csv` of finished runs that differ in the fold alone. A clip counts once, so folds of unequal
size weigh as they should. Intervals of accuracies are Wilson's, those of differences a bootstrap over recordings (the
groups of the data set, read from `--root` or where the runs found their data).
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from edgeprune.console import print_table
from edgeprune.data.cards import load_card
from edgeprune.data.splits import load_split
from edgeprune.errors import EdgepruneError
from edgeprune.evaluation.predictions import Predictions, read_predictions
from edgeprune.evaluation.scene import accuracy, log_loss, macro_accuracy
from edgeprune.evaluation.statistics import paired_bootstrap, wilson_interval
from edgeprune.files import read_json
from edgeprune.recipe_files import differences

PAIRS = (("float32", "dense_float32"), ("int8", "float32"), ("dense_int8", "dense_float32"))


def check_alike(results: dict[Path, dict[str, Any]]) -> None:
    """Refuse runs that differ in more than the fold, or test on the same clips."""
    first, *others = results.values()
    for folder, result in zip(list(results)[1:], others, strict=True):
        changed = [
            text
            for text in differences(first["recipe"], result["recipe"])
            if not text.startswith(("data.fold", "out:"))
        ]
        if changed:
            raise EdgepruneError(
                f"{folder}: is a run of another recipe ({'; '.join(changed)}); pool runs that differ in the fold."
            )
    if len({result["recipe"]["data"]["fold"] for result in results.values()}) != len(results):
        raise EdgepruneError("two runs test on the same fold; give one run a fold.")


def pooled(folders: list[Path], key: str) -> Predictions:
    """The predictions of one kind of file over all runs."""
    parts = [read_predictions(folder / f"predictions_{key}.csv") for folder in folders]
    rows = np.concatenate([part.probabilities for part in parts])
    names, labels, decided = (
        [value for part in parts for value in getattr(part, field)] for field in ("filenames", "labels", "predicted")
    )
    return Predictions(names, labels, decided, rows, parts[0].classes)


def recordings(results: dict[Path, dict[str, Any]], root: Path | None) -> list[str]:
    """The recording of every evaluation clip, runs in order."""
    found: list[str] = []
    for result in results.values():
        data = result["recipe"]["data"]
        found += (
            load_split(load_card(data["name"]), root or data["root"], data["fold"], data["subset"])
            .test["group"]
            .tolist()
        )
    return found


def summarise(results: dict[Path, dict[str, Any]], root: Path | None) -> dict[str, Any]:
    check_alike(results)
    groups = recordings(results, root)
    keys = list(next(iter(results.values()))["artefacts"])
    table, right = {}, {}
    for key in keys:
        found = pooled(list(results), key)
        right[key] = np.asarray(found.labels) == np.asarray(found.predicted)
        scores = (found.labels, found.probabilities, found.classes)
        table[key] = {
            "clips": len(found.labels),
            "accuracy": accuracy(*scores),
            "interval": wilson_interval(int(right[key].sum()), len(right[key])),
            "macro_accuracy": macro_accuracy(*scores),
            "log_loss": log_loss(*scores),
            "by_run": [result["artefacts"][key]["accuracy"]["accuracy"] for result in results.values()],
        }
    pairs = {}
    for a, b in PAIRS:
        if a in right and b in right:
            found_pair = paired_bootstrap(right[a], right[b], groups=groups)
            pairs[f"{a} - {b}"] = [found_pair.difference, found_pair.low, found_pair.high]
    return {"files": table, "differences": pairs}


def main() -> int:
    parser = argparse.ArgumentParser(description="Accuracy over folds, pooled.")
    parser.add_argument("runs", nargs="+", type=Path, help="finished run folders, one a fold")
    parser.add_argument("--root", type=Path, help="the data set, where it has moved since the runs")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    try:
        summary = summarise({folder: read_json(folder / "result.json") for folder in options.runs}, options.root)
    except EdgepruneError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if options.json:
        print(json.dumps(summary, indent=2))
        return 0
    rows = [
        (
            key,
            row["clips"],
            f"{100 * row['accuracy']:.2f} %",
            f"{100 * row['interval'][0]:.1f} to {100 * row['interval'][1]:.1f} %",
            f"{100 * row['macro_accuracy']:.2f} %",
            f"{row['log_loss']:.3f}",
            ", ".join(f"{100 * value:.1f}" for value in row["by_run"]),
        )
        for key, row in summary["files"].items()
    ]
    print_table("", ("file", "clips", "accuracy", "95 % interval", "macro accuracy", "log loss", "by run"), rows)
    changes = [(name, *(f"{100 * value:+.2f}" for value in values)) for name, values in summary["differences"].items()]
    print_table("points", ("difference", "estimate", "from", "to"), changes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
