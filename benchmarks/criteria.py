"""Do the scores matter? Every criterion prunes the same dense networks to the same widths, with the same fine-tuning.

    python benchmarks/criteria.py tut2017_dcase21 --root DATA --work FOLDER [--seeds 0,1,2] [--keep 0.75,0.5,0.25]
    python benchmarks/criteria.py --work FOLDER --show tut2017_dcase21 [--json | --markdown]

For each seed one dense network is trained. Every criterion then keeps the given share of each layer's filters, and the
network is evaluated three ways: as it is (oneshot), with its batch-norm statistics taken anew from training clips and
nothing trained (recalibrated), and fine-tuned. Two controls: `random`, and `scratch`, the same widths trained from
random weights for as many epochs as dense training and fine-tuning together. Nothing is chosen on the evaluation part.

Predictions of every network are kept in FOLDER as CSV; what is there is not computed again. Accuracies are pooled over
seeds; intervals are bootstraps over recordings, since neither a recording's clips nor one clip under several seeds are
independent. They say how far the clips at hand carry, not how far other folds would differ.
"""

import argparse
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeprune.console import print_table, say
from edgeprune.data.scene_data import SceneData, load_scenes
from edgeprune.errors import EdgepruneError
from edgeprune.evaluation.predictions import read_predictions, write_predictions
from edgeprune.evaluation.statistics import paired_bootstrap
from edgeprune.files import read_json, write_json
from edgeprune.models.checkpoint import Checkpoint
from edgeprune.models.registry import entry
from edgeprune.recipe import Recipe
from edgeprune.recipe_files import load_recipe

STAGES = ("oneshot", "recalibrated", "finetuned")
SCRATCH = "scratch"
REFERENCE = "operator_norm"


@dataclass(frozen=True)
class Experiment:
    """The recipe at one seed, its data and its folder."""

    recipe: Recipe
    data: SceneData
    folder: Path
    finetune_keep: tuple[float, ...]
    with_scratch: bool

    def run(self, criteria: list[str], shares: list[float]) -> None:
        dense = self.dense()
        self.predict("dense", dense.model)
        for share in shares:
            for name in criteria:
                self.prune(dense, name, share)
            if share in self.finetune_keep and self.with_scratch:
                self.scratch(dense, share)

    def dense(self) -> Checkpoint:
        from edgeprune.results.run_folder import RunFolder
        from edgeprune.running.train_dense import train_dense

        folder = self.folder / "dense"
        folder.mkdir(parents=True, exist_ok=True)
        found = train_dense(self.recipe, self.data, RunFolder(folder))
        assert found.normalisation.to_dict() == self.data.normalisation.to_dict()
        return found

    def path(self, key: str) -> Path:
        return self.folder / f"{key}.csv"

    def predict(self, key: str, model: Any) -> None:
        """Evaluate a network and keep its predictions."""
        from edgeprune.evaluation.predict import torch_probabilities

        if self.path(key).is_file():
            return
        clips = self.data.test
        found = torch_probabilities(model, self.data.patches(clips))
        write_predictions(self.path(key), list(clips["filename"]), list(clips["label"]), found, self.data.classes)
        right = (np.asarray(self.data.classes)[found.argmax(1)] == clips["label"].to_numpy()).mean()
        say(f"{self.recipe.name} seed {self.recipe.seed}: {key} {100 * right:.1f} %")

    def prune(self, dense: Checkpoint, name: str, share: float) -> None:
        stages = STAGES if share in self.finetune_keep else STAGES[:2]
        keys = {stage: f"{stage}-{share:g}-{name}" for stage in stages}
        if all(self.path(key).is_file() for key in keys.values()):
            return
        model = self.pruned(dense, name, share)
        self.predict(keys["oneshot"], model)
        if not self.path(keys["recalibrated"]).is_file():
            self.predict(keys["recalibrated"], self.recalibrated(model))
        if "finetuned" in keys and not self.path(keys["finetuned"]).is_file():
            self.fit(model, self.recipe.finetune, keys["finetuned"], dense.model)
            self.predict(keys["finetuned"], model)

    def pruned(self, dense: Checkpoint, name: str, share: float) -> Any:
        import torch

        from edgeprune.graph.cost import graph_of
        from edgeprune.graph.surgery import remove_filters
        from edgeprune.pruning.group_scores import choose_filters, score_groups

        torch.manual_seed(self.recipe.seed)  # for the criterion `random`
        graph = graph_of(dense.spec)
        scores = score_groups(dense.model, graph, name, batches=self.batches(name))
        kept = choose_filters(scores, self.widths(dense, share))
        return remove_filters(dense.model, dense.spec, kept)[0]

    def batches(self, name: str) -> Any:
        """Training clips for active criteria and for batch-norm statistics: network inputs and labels."""
        from edgeprune.data.load import score_batches

        return score_batches(self.data, self.recipe.prune.clips, name)

    def recalibrated(self, model: Any) -> Any:
        """A copy whose batch-norm statistics are the plain mean over training clips."""
        import copy

        import torch
        from torch.optim.swa_utils import update_bn

        found = copy.deepcopy(model)
        with torch.no_grad():
            update_bn((x for x, _ in self.batches("batch norm")), found)
        return found.eval()

    def scratch(self, dense: Checkpoint, share: float) -> None:
        import torch

        from edgeprune.models.registry import build

        key = f"finetuned-{share:g}-{SCRATCH}"
        if self.path(key).is_file():
            return
        spec = replace(dense.spec, widths={**dense.spec.widths, **self.widths(dense, share)})
        torch.manual_seed(self.recipe.seed + 1000)
        model = build(spec)
        epochs = self.recipe.train.epochs + self.recipe.finetune.epochs
        self.fit(model, replace(self.recipe.train, epochs=epochs), key, None)
        self.predict(key, model)

    def widths(self, dense: Checkpoint, share: float) -> dict[str, int]:
        """Filters each layer keeps, whoever judges them: without a budget the scores play no part."""
        from edgeprune.graph.cost import graph_of
        from edgeprune.pruning.allocation.allocate import allocate
        from edgeprune.recipe import Budget, Prune

        graph = graph_of(dense.spec)
        equal = {name: [1.0] * group.filters for name, group in graph.prunable().items()}
        return allocate(graph, Budget(), Prune(keep=share), equal).widths

    def fit(self, model: Any, train: Any, key: str, teacher: Any) -> None:
        import torch

        from edgeprune.training.fit import fit

        torch.manual_seed(self.recipe.seed + 1)
        fit(
            model,
            (self.data.patches(self.data.train), None),
            train,
            seed=self.recipe.seed,
            folder=self.folder / "training" / key,
            title=key,
            teacher=teacher if train.distillation else None,
        )
        for state in (self.folder / "training" / key).glob("*.ckpt"):
            state.unlink()


def experiments(options: argparse.Namespace) -> list[Experiment]:
    """One experiment a seed."""
    base = load_recipe(options.recipe)
    settings = {"threads": options.threads, "choose": "last"}
    found = []
    for seed in options.seeds:
        recipe = replace(
            base,
            seed=seed,
            data=replace(base.data, root=options.root, validation=0.0, cache=options.cache),
            train=replace(base.train, epochs=options.epochs or base.train.epochs, **settings),
            finetune=replace(base.finetune, epochs=options.finetune_epochs or base.finetune.epochs, **settings),
        )
        data = load_scenes(recipe.data, recipe.frontend, entry(recipe.model.name).layout, seed)
        folder = options.work / options.recipe
        write_json(folder / "groups.json", dict(zip(data.test["filename"], data.test["group"], strict=True)))
        found.append(
            Experiment(recipe, data, folder / f"seed{seed}", tuple(options.finetune_keep), not options.no_scratch)
        )
    return found


def summarise(folder: Path) -> dict[str, Any]:
    """Accuracy of every kind of network over the seeds that have it, and its difference to the operator norm's."""
    groups: dict[str, str] = read_json(folder / "groups.json")
    keys = sorted({path.stem for path in folder.glob("seed*/*.csv")})
    right: dict[str, dict[str, np.ndarray]] = {
        key: {path.parent.name: _right(path, groups) for path in sorted(folder.glob(f"seed*/{key}.csv"))}
        for key in keys
    }
    recordings = list(groups.values())
    table = {}
    for key, seeds in right.items():
        pooled = np.concatenate(list(seeds.values()))
        clustered = recordings * len(seeds)
        own = paired_bootstrap(pooled, np.zeros_like(pooled), groups=clustered)
        row: dict[str, Any] = {
            "seeds": len(seeds),
            "accuracy": own.difference,
            "interval": [own.low, own.high],
            "by_seed": [float(values.mean()) for values in seeds.values()],
        }
        stage, _, rest = key.partition("-")
        other = right.get(f"{stage}-{rest.partition('-')[0]}-{REFERENCE}", {})
        if rest and other.keys() == seeds.keys():
            found = paired_bootstrap(pooled, np.concatenate(list(other.values())), groups=clustered)
            row["to_operator_norm"] = [found.difference, found.low, found.high]
        table[key] = row
    return {"clips": len(groups), "recordings": len(set(recordings)), "networks": table}


def _right(path: Path, groups: dict[str, str]) -> np.ndarray:
    found = read_predictions(path)
    if found.filenames != list(groups):
        raise EdgepruneError(f"{path}: holds other clips than the others; give each data set a folder of its own.")
    return np.asarray(found.labels) == np.asarray(found.predicted)


def show(summary: dict[str, Any]) -> None:
    networks = summary["networks"]
    dense = networks["dense"]
    print(
        f"{summary['clips']} clips, {summary['recordings']} recordings; dense {100 * dense['accuracy']:.1f} % "
        f"({100 * dense['interval'][0]:.1f} to {100 * dense['interval'][1]:.1f}), by seed {_seeds(dense)}"
    )
    shares = sorted({key.split("-")[1] for key in networks if "-" in key}, key=float, reverse=True)
    for share in shares:
        for stage in STAGES:
            rows = [
                (
                    key.split("-", 2)[2],
                    f"{100 * row['accuracy']:.1f}",
                    f"{100 * row['interval'][0]:.1f} to {100 * row['interval'][1]:.1f}",
                    _seeds(row),
                    " ".join(f"{100 * value:+.1f}" for value in row.get("to_operator_norm", [])),
                )
                for key, row in networks.items()
                if key.startswith(f"{stage}-{share}-")
            ]
            rows.sort(key=lambda row: -float(row[1]))
            if rows:
                columns = ("criterion", "accuracy, %", "95 %", "by seed", "to the operator norm (95 %)")
                print_table(f"{share} of the filters kept, {stage}", columns, rows)


def markdown(summary: dict[str, Any]) -> None:
    """A table a stage: a row a criterion, and the accuracy with its interval at every share of the filters."""
    networks = summary["networks"]
    shares = sorted({key.split("-")[1] for key in networks if "-" in key}, key=float, reverse=True)
    for stage in STAGES:
        found = [share for share in shares if any(key.startswith(f"{stage}-{share}-") for key in networks)]
        if not found:
            continue
        middle = "0.5" if "0.5" in found else found[0]
        names = {key.split("-", 2)[2] for key in networks if key.startswith(f"{stage}-")}
        order = sorted(names, key=lambda name: -networks.get(f"{stage}-{middle}-{name}", {"accuracy": 0})["accuracy"])
        print(f"| {stage} | " + " | ".join(f"{share} kept" for share in found) + " |")
        print("|---|" + "---:|" * len(found))
        for name in order:
            cells = [_cell(networks.get(f"{stage}-{share}-{name}"), stage) for share in found]
            print(f"| `{name}` | " + " | ".join(cells) + " |")
        print()


def _cell(row: dict[str, Any] | None, stage: str) -> str:
    if row is None:
        return ""
    text = f"{100 * row['accuracy']:.1f} ({100 * row['interval'][0]:.0f} to {100 * row['interval'][1]:.0f})"
    if stage == "finetuned" and "to_operator_norm" in row and row["to_operator_norm"][0]:
        text += "; {:+.1f} ({:+.1f} to {:+.1f})".format(*(100 * value for value in row["to_operator_norm"]))
    return text


def _seeds(row: dict[str, Any]) -> str:
    return ", ".join(f"{100 * value:.1f}" for value in row["by_seed"])


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Criteria compared on the same dense networks.")
    parser.add_argument("recipe", nargs="?", help="a recipe whose network has batch norm, as tut2017_dcase21")
    parser.add_argument("--root", type=Path, help="folder of the data set")
    parser.add_argument("--work", type=Path, required=True, help="folder of the experiment")
    parser.add_argument("--cache", type=Path, help="folder of the feature cache")
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[0, 1, 2])
    parser.add_argument("--criteria", type=lambda text: text.split(","), help="default: all there are")
    parser.add_argument("--keep", type=_numbers, default=[0.75, 0.5, 0.25], help="shares of the filters")
    parser.add_argument("--finetune-keep", type=_numbers, default=[0.5, 0.25], help="those that are fine-tuned")
    parser.add_argument("--no-scratch", action="store_true", help="leave out the control that is trained from scratch")
    parser.add_argument("--epochs", type=int, help="of dense training (default: the recipe's)")
    parser.add_argument("--finetune-epochs", type=int, help="of fine-tuning (default: the recipe's)")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--show", metavar="RECIPE", help="only print what is there")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--markdown", action="store_true", help="print tables for a document")
    return parser.parse_args()


def main() -> int:
    options = _options()
    try:
        if options.show is None:
            from edgeprune.pruning.scores import CRITERIA, criterion
            from edgeprune.training.fit import use_threads

            criteria = options.criteria or list(CRITERIA)
            for name in criteria:
                criterion(name)
            for experiment in experiments(options):
                use_threads(options.threads)
                experiment.run(criteria, options.keep)
        summary = summarise(options.work / (options.show or options.recipe))
    except EdgepruneError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if options.json:
        print(json.dumps(summary, indent=2))
    elif options.markdown:
        markdown(summary)
    else:
        show(summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
