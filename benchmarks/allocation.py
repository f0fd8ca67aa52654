"""Which objective allocates best? The same dense networks, budgets and fine-tuning; judged on validation clips alone.

    python benchmarks/allocation.py RECIPE --work FOLDER [--seeds 0,1,2] [--budgets macs=0.25:params=0.25] \
        [--objectives log_mass,mass,log_width,sensitivity,uniform] [-- flags of the recipe]
    python benchmarks/allocation.py --work FOLDER --show [--markdown]

Budgets are shares of what the dense network takes; several limits of one budget are joined by `+`. `uniform` is the
control: the same share of every layer. Clips are held out of the training part for validation, so that the default
objective is chosen without a look at the evaluation part; the last epoch counts. What is in FOLDER is not run again.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeprune.console import print_table, say
from edgeprune.errors import EdgepruneError
from edgeprune.files import read_json, write_json
from edgeprune.flags import parse_flags
from edgeprune.models.checkpoint import Checkpoint
from edgeprune.recipe import Budget, Recipe
from edgeprune.recipe_files import load_recipe

UNIFORM = "uniform"


def budget_of(text: str, dense: Any) -> Budget:
    """`macs=0.25+params=0.3` as limits, in shares of a network's cost."""
    from edgeprune.pruning.allocation.limits import COSTS

    limits = {}
    for part in text.split("+"):
        name, _, share = part.partition("=")
        limits[name] = int(getattr(dense, COSTS[name]) * float(share))
    return Budget(**limits)


def run(recipe: Recipe, folder: Path, budgets: list[str], objectives: list[str]) -> None:
    """All budgets and objectives of one seed."""
    from edgeprune.results.run_folder import RunFolder
    from edgeprune.running.data import load_run_data
    from edgeprune.running.train_dense import train_dense
    from edgeprune.training.threads import use_threads

    data = load_run_data(recipe)
    if data.validation is None:
        raise EdgepruneError(f"{recipe.name}: holds no clips out; give -- --data.validation 0.2.")
    use_threads(recipe.train.threads)
    (folder / "dense").mkdir(parents=True, exist_ok=True)
    dense = train_dense(recipe, data, RunFolder(folder / "dense"))
    data = data.with_normalisation(dense.normalisation)
    judge(folder / "dense.json", dense.model, data, recipe, {"budget": "", "objective": "dense"})
    for text in budgets:
        for objective in objectives:
            path = folder / f"{text}-{objective}.json"
            if not path.is_file():
                prune(path, dense, data, recipe, text, objective)


def prune(path: Path, dense: Checkpoint, data: Any, recipe: Recipe, text: str, objective: str) -> None:
    """One budget by one objective: planned, cut, fine-tuned, judged."""
    import torch

    from edgeprune.data.load import sensitivity_batches
    from edgeprune.graph.cost import cost, graph_of
    from edgeprune.graph.surgery import remove_filters
    from edgeprune.pruning.prune import score_filters
    from edgeprune.training.fit import fit

    torch.manual_seed(recipe.seed)
    graph = graph_of(dense.spec)
    rules = replace(recipe.prune, keep=1.0, allocation=UNIFORM if objective == UNIFORM else "solver")
    rules = rules if objective == UNIFORM else replace(rules, objective=objective)
    example = torch.zeros(1, *dense.spec.input_shape)
    scored = score_filters(
        dense.model, example, graph, rules, loss_batches=sensitivity_batches(data, recipe.prune.clips)
    )
    found = scored.allocate(budget_of(text, cost(dense.spec)))
    described = {"budget": text, "objective": objective, "widths": found.widths, "reached": found.reached}
    for twin in sorted(path.parent.glob(f"{text}-*.json")):  # the same filters, so the same network
        other = read_json(twin)
        if other["widths"] == found.widths:
            write_json(path, {**other, **described})
            say(f"{path.stem}: as {twin.stem}")
            return
    model, _ = remove_filters(dense.model, dense.spec, scored.kept(found))
    torch.manual_seed(recipe.seed + 1)
    fit(
        model,
        (data.patches(data.train), None),
        replace(recipe.finetune, choose="last"),
        seed=recipe.seed,
        folder=path.with_suffix(""),
        title=path.stem,
        teacher=dense.model if recipe.finetune.distillation else None,
    )
    for state in path.with_suffix("").glob("*.ckpt"):
        state.unlink()
    judge(path, model, data, recipe, described)


def judge(path: Path, model: Any, data: Any, recipe: Recipe, described: dict[str, Any]) -> None:
    """Accuracy and log loss on the validation clips."""
    from edgeprune.evaluation.predict import torch_probabilities
    from edgeprune.evaluation.scene import evaluate

    if path.is_file():
        return
    clips = data.validation
    found = torch_probabilities(model, data.patches(clips))
    scores = evaluate(list(clips["label"]), found, data.classes)
    kept = {"accuracy": scores["accuracy"], "log_loss": scores["log_loss"], "clips": len(clips)}
    say(f"{path.stem}: {kept}")
    write_json(path, {**described, **kept, "seed": recipe.seed})


def show(work: Path, markdown: bool) -> None:
    """By budget and objective: means over seeds, and how the log loss differs from the uniform allocation's."""
    results: dict[tuple[str, str, str], dict[int, dict[str, Any]]] = {}
    for path in sorted(work.glob("*/seed*/*.json")):
        result = read_json(path)
        key = (path.parts[-3], result["budget"], result["objective"])
        results.setdefault(key, {})[result["seed"]] = result
    rows = []
    for (recipe, budget, objective), own in sorted(results.items()):
        control = results.get((recipe, budget, UNIFORM), {})
        shared = sorted(own.keys() & control.keys())
        behind = [own[seed]["log_loss"] - control[seed]["log_loss"] for seed in shared]
        widths = " / ".join(", ".join(map(str, r["widths"].values())) for r in own.values() if "widths" in r)
        rows.append(
            (
                recipe,
                budget or "none",
                objective,
                f"{100 * np.mean([r['accuracy'] for r in own.values()]):.1f}",
                f"{np.mean([r['log_loss'] for r in own.values()]):.3f}",
                f"{np.mean(behind):+.3f} ({min(behind):+.3f} to {max(behind):+.3f})" if behind else "",
                widths,
            )
        )
    columns = ("recipe", "budget", "objective", "accuracy, %", "log loss", "log loss - uniform's", "widths by seed")
    if markdown:
        print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
        for row in rows:
            print("| " + " | ".join(row) + " |")
    else:
        print_table("", columns, rows)


def main() -> None:
    given, _, flags = " ".join(sys.argv[1:]).partition(" -- ")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", default="0,1,2", type=lambda text: [int(seed) for seed in text.split(",")])
    parser.add_argument("--budgets", default="macs=0.25:params=0.25:peak_ram=0.5")
    parser.add_argument("--objectives", default=f"log_mass,mass,log_width,sensitivity,{UNIFORM}")
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args(given.split())
    if options.show:
        show(options.work, options.markdown)
        return
    base = parse_flags(load_recipe(options.recipe), flags.split())
    for seed in options.seeds:
        folder = options.work / base.name / f"seed{seed}"
        recipe = replace(base, seed=seed)
        run(recipe, folder, options.budgets.split(":"), options.objectives.split(","))


if __name__ == "__main__":
    main()
