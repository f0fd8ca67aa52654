"""Evidence on pruning: one grid of networks, data sets, folds and seeds, every network's predictions kept.

    python benchmarks/evidence.py --work FOLDER --root-tut2017 DIR --root-esc10 DIR [--seeds 0,1,2,3,4] [--threads 1]
    python benchmarks/evidence.py --work FOLDER --pack benchmarks/evidence/predictions.csv.gz
    python benchmarks/evidence.py --show [--json | --markdown] [--plots DIR] [--read FILE | --work FOLDER]

DCASE21_Net is trained on every fold of TUT Acoustic Scenes 2017 and of ESC-10. Each criterion then keeps the given
share of each layer's filters, and the network is evaluated as it is (cut), after its remaining weights were re-fitted
to the dense network's outputs on training clips (reconstructed), and after fine-tuning, with the dense one as teacher.

The dense network is trained for N epochs (`--epochs`), a pruned one for M more (`--finetune-epochs`). Controls have the
same total: the dense network continued for M epochs as a pruned one is, with itself as teacher (`dense-continued`), and
the same widths from random weights for N + M epochs, without a teacher (`scratch`) and with the same teacher all the
time (`distilled_scratch`). Nothing is validated and nothing is chosen on the evaluation part: the last epoch counts.

Work goes by seed, then stage, then fold. What is there is not made again, a killed training resumes, and several
processes may share one folder: each claims a network before it makes it. `--pack` puts all predictions into one small
file, from which `--show` computes every figure again.

Accuracies pool the clips of all folds, of the seeds that have them all. Differences are paired by clip, seed and fold.
Intervals are bootstraps over recordings and seeds, and p-values are corrected by Holm within each question
(`edgeprune.evaluation.statistics`).
"""

import argparse
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evidence_grid import SETS, STAGES, Cell, Choices, cells, needed_for

from edgeprune.console import print_table, say
from edgeprune.errors import EdgepruneError
from edgeprune.files import read_json, write_json
from edgeprune.recipe import Recipe
from edgeprune.recipe_files import differences, from_dict, identity, load_recipe

PACKED = Path(__file__).parent / "evidence" / "predictions.csv.gz"


@dataclass(frozen=True)
class Experiment:
    """The folder of a grid and the recipe of each data set, but for fold and seed."""

    folder: Path
    recipes: dict[str, Recipe]

    def place(self, cell: Cell) -> Path:
        return self.folder / cell.data_set / f"seed{cell.seed}" / f"fold{cell.fold}"

    def is_made(self, cell: Cell) -> bool:
        return (self.place(cell) / f"{cell.network}.csv").is_file()

    def check_settings(self, data_set: str, stages: list[str]) -> None:
        """Refuse a folder whose networks were trained with other settings; fine-tuning's play no part in dense ones."""
        path, recipe = self.folder / data_set / "settings.json", self.recipes[data_set]
        parts = ["frontend", "model", "train"] + ["finetune"] * (stages != ["dense"])
        settings = {part: identity(recipe.to_dict())[part] for part in parts}
        stored = read_json(path) if path.is_file() else {}
        known = identity(from_dict({"name": recipe.name, **stored}).to_dict())  # later fields have their defaults
        old = {part: known[part] for part in parts if part in stored}
        changed = differences(old, {part: settings[part] for part in old})
        if changed:
            raise EdgepruneError(
                f"{path}: its networks have other settings ({'; '.join(changed)}); give another --work."
            )
        write_json(path, {**stored, **settings})

    def make(self, missing: list[Cell]) -> None:
        """Make the networks that no other process makes; then wait for those that others make."""
        import filelock

        for seconds in (0, -1):
            workplace: tuple[Path, Any] | None = None
            for cell in missing:
                folder = self.place(cell)
                folder.mkdir(parents=True, exist_ok=True)
                try:
                    with filelock.FileLock(folder / f".{cell.network}.lock", timeout=seconds):
                        if self.is_made(cell) or (seconds == 0 and self._must_wait(cell)):
                            continue
                        if workplace is None or workplace[0] != folder:
                            workplace = folder, self._workplace(cell)
                        workplace[1].make(cell.network)
                except filelock.Timeout:
                    say(f"{folder / cell.network}: another process makes it")

    def _must_wait(self, cell: Cell) -> bool:
        needed = needed_for(cell.network)
        return needed is not None and not self.is_made(replace(cell, network=needed))

    def _workplace(self, cell: Cell) -> Any:
        from evidence_networks import Workplace

        from edgeprune.data.scene_data import load_scenes
        from edgeprune.models.registry import entry

        recipe = self.recipes[cell.data_set]
        recipe = replace(recipe, seed=cell.seed, data=replace(recipe.data, fold=cell.fold))
        data = load_scenes(recipe.data, recipe.frontend, entry(recipe.model.name).layout, cell.seed)
        recordings = dict(zip(data.test["filename"], data.test["group"], strict=True))
        write_json(self.folder / cell.data_set / f"recordings-fold{cell.fold}.json", recordings)
        return Workplace(recipe, data, self.place(cell))


def recipe_of(data_set: str, options: argparse.Namespace) -> Recipe:
    base = load_recipe(SETS[data_set][0])
    machine = {name: getattr(options, name) for name in ("threads", "precision", "accelerator")}
    settings: dict[str, Any] = {"choose": "last", **machine}
    epochs, more = options.epochs.get(data_set, base.train.epochs), options.finetune_epochs.get(data_set)
    return replace(
        base,
        data=replace(base.data, root=getattr(options, f"root_{data_set}"), validation=0.0, cache=options.cache),
        train=replace(base.train, epochs=epochs, **settings),
        finetune=replace(base.finetune, epochs=more or base.finetune.epochs, **settings),
    )


def _names(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def _integers(text: str) -> list[int]:
    return [] if text == "all" else [int(part) for part in text.split(",")]


def _shares(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def _by_set(text: str) -> dict[str, int]:
    """A number for all sets, or one a set, as tut2017=160,esc10=200."""
    if "=" not in text:
        return {data_set: int(text) for data_set in SETS}
    return {name: int(number) for name, number in (part.split("=") for part in text.split(","))}


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--work", type=Path, help="folder of the networks and their predictions")
    for data_set in SETS:
        parser.add_argument(f"--root-{data_set}", type=Path, help=f"folder of {data_set}")
    parser.add_argument("--cache", type=Path, help="folder of the feature cache")
    parser.add_argument("--sets", type=_names, default=list(SETS))
    parser.add_argument("--folds", type=_integers, default=[], help="default: all")
    parser.add_argument("--seeds", type=_integers, default=[0, 1, 2, 3, 4])
    parser.add_argument("--stages", type=_names, default=list(STAGES), help=f"default: {','.join(STAGES)}")
    parser.add_argument("--keep", type=_shares, default=[0.5, 0.25], help="shares of the filters")
    parser.add_argument("--criteria", type=_names, default=["operator_norm", "l1", "random"])
    parser.add_argument("--main", type=_names, default=["operator_norm"], help="criteria of finetune_cut and int8")
    parser.add_argument("--epochs", type=_by_set, default={}, help="of dense training: 160, or tut2017=160,esc10=200")
    parser.add_argument("--finetune-epochs", type=_by_set, default={}, help="the same of fine-tuning")
    parser.add_argument("--precision", choices=("32", "bf16"), default="32", help="of training")
    parser.add_argument("--accelerator", choices=("cpu", "gpu", "auto"), default="cpu", help="of training")
    parser.add_argument("--threads", type=int, default=0, help="0: one a core")
    parser.add_argument("--pack", type=Path, metavar="FILE", help="put all predictions of --work into one file")
    parser.add_argument("--show", action="store_true", help="print the tables, make no network")
    parser.add_argument("--read", type=Path, default=PACKED, help="packed predictions, where --work is not given")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--markdown", action="store_true", help="print tables for a document")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="write the plots of a document")
    return parser.parse_args(arguments)


def _work(options: argparse.Namespace) -> Path:
    if options.work is None:
        raise EdgepruneError("--work: say which folder has the networks.")
    return Path(options.work)


def run(options: argparse.Namespace) -> None:
    """Make every network of the grid that is not there yet."""
    from edgeprune.pruning.scores import criterion
    from edgeprune.training.threads import use_threads

    for kind, names, known in (("stages", options.stages, STAGES), ("sets", options.sets, SETS)):
        for name in names:
            if name not in known:
                raise EdgepruneError(f"--{kind}: {name} is none; there are {', '.join(known)}.")
    for name in (*options.criteria, *options.main):
        criterion(name)
    use_threads(options.threads)
    experiment = Experiment(_work(options), {name: recipe_of(name, options) for name in options.sets})
    for data_set in options.sets:
        experiment.check_settings(data_set, options.stages)
    choices = Choices(options.keep, options.criteria, options.main)
    grid = cells(options.sets, options.seeds, options.folds, options.stages, choices)
    missing = [cell for cell in grid if not experiment.is_made(cell)]
    say(f"{len(grid)} networks, {len(missing)} of them are not there yet")
    experiment.make(missing)


def show(options: argparse.Namespace) -> None:
    """Print the tables, and draw the plots where asked to."""
    from evidence_predictions import from_folder, unpack
    from evidence_summary import summarise
    from evidence_tables import as_markdown, tables

    summary = summarise(unpack(options.read) if options.work is None else from_folder(options.work))
    if options.plots is not None:
        from evidence_plots import write_plots

        for path in write_plots(summary, options.plots):
            say(f"{path} written")
    if options.json:
        print(json.dumps(summary, indent=2))
    elif options.markdown:
        print("\n".join(as_markdown(table) for table in tables(summary)))
    else:
        for table in tables(summary):
            print_table(table.title, table.columns, table.rows)


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    try:
        if options.pack is not None:
            from evidence_predictions import from_folder, pack

            pack(from_folder(_work(options)), options.pack)
        elif options.show or options.json or options.markdown or options.plots:
            show(options)
        else:
            run(options)
    except EdgepruneError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
