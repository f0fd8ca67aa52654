"""How long a plan takes, how much of the budget it uses, and how far it may be from the optimum.

    python benchmarks/budget.py [--models vggish,resnet50] [--objective log_mass] [--json]

Networks have random weights, the same each time; scores and trace are made before the clock starts. Seconds are those
of the plan alone, with one thread.
"""

import argparse
import time
from typing import Any

from edgeprune.cli.output import print_json
from edgeprune.console import print_table
from edgeprune.recipe import Budget, Prune

SHARES = (
    {"macs": 0.25},
    {"params": 0.25},
    {"macs": 0.1, "params": 0.1},
    {"peak_ram": 0.5},
    {"peak_ram": 0.5, "macs": 0.25, "flash": 0.3},
)
MODELS = ("dcase21", "vggish", "vgg16", "cnn14", "resnet50")


def plans(model: str, objective: str, dense_layers: bool) -> list[dict[str, Any]]:
    """All budgets of one network, in shares of what it takes."""
    import torch

    from edgeprune.graph.cost import count, graph_of
    from edgeprune.models.registry import build, make_spec
    from edgeprune.pruning.allocation.limits import COSTS
    from edgeprune.pruning.prune import score_filters

    torch.manual_seed(0)
    torch.set_num_threads(1)
    spec = make_spec(model, 10)
    graph, whole = graph_of(spec), count(graph_of(spec))
    settings = Prune(objective=objective, dense_layers=dense_layers)
    scored = score_filters(build(spec).eval(), torch.zeros(1, *spec.input_shape), graph, settings)
    rows = []
    for shares in SHARES:
        budget = Budget(**{name: int(getattr(whole, COSTS[name]) * share) for name, share in shares.items()})
        start = time.perf_counter()
        found = scored.allocate(budget)
        rows.append(
            {
                "model": model + (" with dense layers" if dense_layers else ""),
                "groups": len(scored.scores),
                "budget": ", ".join(f"{name} {share:g}" for name, share in shares.items()),
                "seconds": time.perf_counter() - start,
                "used": {name: found.reached[name] / found.asked[name] for name in shares},
                "value": found.value,
                "gap": found.gap,
                "proven": found.proven,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--objective", default=Prune.objective)
    parser.add_argument("--dense-layers", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [row for model in options.models.split(",") for row in plans(model, options.objective, options.dense_layers)]
    if options.json:
        print_json(rows)
        return
    print_table(
        options.objective,
        ("network", "groups", "budget, shares", "s", "used, %", "value", "gap"),
        [
            (
                row["model"],
                row["groups"],
                row["budget"],
                f"{row['seconds']:.2f}",
                ", ".join(f"{100 * share:.2f}" for share in row["used"].values()),
                f"{row['value']:.4f}",
                "proven" if row["proven"] else f"{row['gap']:.4f}",
            )
            for row in rows
        ],
    )


if __name__ == "__main__":
    main()
