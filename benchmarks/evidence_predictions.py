"""The predictions of the evidence grid as one table: from the grid's folder, or from one packed file."""

from pathlib import Path

import numpy as np
import pandas as pd

from edgeprune.errors import EdgepruneError
from edgeprune.evaluation.predictions import read_predictions
from edgeprune.files import atomic_path, read_json

COLUMNS = ("set", "fold", "clip", "recording", "label", "seed", "network", "predicted", "log_probability")
"""A row is one clip decided by one network; `log_probability` is that of the clip's label, at least `FLOOR`."""
FLOOR = float(np.log(1e-15))
"""Where a probability is zero; the same floor as `evaluation.scene.log_loss` has."""


def from_folder(folder: Path) -> pd.DataFrame:
    """Every network's predictions that are there."""
    parts = [_of_network(path) for path in sorted(folder.glob("*/seed*/fold*/*.csv"))]
    if not parts:
        raise EdgepruneError(f"{folder}: holds no predictions; make some networks first.")
    return pd.concat(parts, ignore_index=True)


def _of_network(path: Path) -> pd.DataFrame:
    """The rows of one network; its path is SET/seedS/foldF/NETWORK.csv."""
    fold, seed, data_set = path.parent, path.parent.parent, path.parent.parent.parent
    recordings = read_json(data_set / f"recordings-{fold.name}.json")
    found = read_predictions(path)
    if list(recordings) != found.filenames:
        raise EdgepruneError(f"{path}: holds other clips than its fold has; delete it and make it anew.")
    of_label = found.probabilities[np.arange(len(found.labels)), [found.classes.index(name) for name in found.labels]]
    return pd.DataFrame(
        {
            "set": data_set.name,
            "fold": int(fold.name.removeprefix("fold")),
            "clip": found.filenames,
            "recording": list(recordings.values()),
            "label": found.labels,
            "seed": int(seed.name.removeprefix("seed")),
            "network": path.stem,
            "predicted": found.predicted,
            "log_probability": np.log(of_label.clip(np.exp(FLOOR))),
        }
    )


def pack(table: pd.DataFrame, path: Path) -> None:
    """Write the table as gzip CSV; the same table gives the same bytes."""
    # sorted so that neighbouring rows are alike, which halves the file
    rows = table.sort_values(["set", "fold", "clip", "network", "seed"], kind="stable")[list(COLUMNS)]
    with atomic_path(path) as temporary:
        rows.to_csv(temporary, index=False, float_format="%.2f", compression={"method": "gzip", "mtime": 1})


def unpack(path: Path) -> pd.DataFrame:
    """The table that `pack` wrote."""
    try:
        table = pd.read_csv(path, dtype={"clip": str, "recording": str, "label": str, "predicted": str})
    except (OSError, ValueError) as error:
        raise EdgepruneError(f"{path}: cannot be read as packed predictions ({error}).") from error
    if tuple(table.columns) != COLUMNS:
        raise EdgepruneError(f"{path}: has not the columns {', '.join(COLUMNS)}; give a file of --pack.")
    return table
