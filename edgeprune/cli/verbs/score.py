"""`edgeprune score`: how a criterion judges the filters of a network."""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any

from tyro.conf import Positional

from edgeprune.cli.model_argument import ModelArgument, resolve_model
from edgeprune.cli.output import check_plot, print_json
from edgeprune.console import print_table, say
from edgeprune.errors import EdgepruneError
from edgeprune.flags import Names, PruneDense
from edgeprune.recipe import Prune
from edgeprune.reporting.numbers import format_decimal


@dataclass(frozen=True)
class ScoreCommand:
    """Score the filters of every layer; the lowest would be pruned first."""

    model: Positional[str]
    """A run folder (its dense.ckpt, else pruned.ckpt), a .ckpt file, or a registry name (random weights)."""
    criterion: Names = (Prune.criterion,)
    """How filters are judged: operator_norm, l1, hrank, random ...; of several, how they agree is shown too. Criteria
    that look at data take the training clips of the run."""
    dense_layers: PruneDense = False
    """Score the hidden units of dense layers too."""
    plot: Path | None = None
    """Draw the sorted scores of each layer into this .svg or .png file."""
    json: bool = False
    """Print every score as JSON."""

    def __call__(self) -> int:
        criteria = list(dict.fromkeys(self.criterion))
        if not criteria:
            raise EdgepruneError("score: no criterion is given; name one, or several as --criterion operator_norm,l1.")
        check_plot(self.plot)
        network = resolve_model(self.model, ("dense", "pruned"))
        scores = network.scores(criteria, self.dense_layers)
        if self.plot is not None:
            from edgeprune.reporting.drawing import write_figure
            from edgeprune.reporting.network_figures import score_figure

            write_figure(score_figure(scores), self.plot)
            say(f"{self.plot}: sorted scores of {len(scores[criteria[0]])} layers")
        tables = {
            name: {
                layer: {
                    "filters": len(values),
                    "min": min(values),
                    "median": median(values),
                    "max": max(values),
                    "scores": values,
                }
                for layer, values in layers.items()
            }
            for name, layers in scores.items()
        }
        described = {**network.describe(), "random_weights": network.path is None}
        if len(criteria) > 1:
            self._show_several(network, described, tables)
        elif self.json:
            print_json({**described, "criterion": criteria[0], "layers": tables[criteria[0]]})
        else:
            print(f"{criteria[0]}: {network.title()}")
            rows = [(layer, *_score_row(row)) for layer, row in tables[criteria[0]].items()]
            print_table("", ("layer", *_SCORE_COLUMNS), rows)
        return 0

    def _show_several(
        self, network: ModelArgument, described: dict[str, Any], criteria: dict[str, dict[str, Any]]
    ) -> None:
        from edgeprune.pruning.scores import rank_correlation

        names = list(criteria)
        layers = list(criteria[names[0]])
        rank: dict[tuple[str, str], dict[str, float | None]] = {
            (one, other): {
                layer: rank_correlation(criteria[one][layer]["scores"], criteria[other][layer]["scores"])
                for layer in layers
            }
            for one, other in combinations(names, 2)
        }
        if self.json:
            pairs = [{"criteria": list(pair), "layers": values} for pair, values in rank.items()]
            print_json({**described, "criteria": criteria, "rank_correlation": pairs})
            return
        print(network.title())
        rows = [(name, layer, *_score_row(criteria[name][layer])) for name in names for layer in layers]
        print_table("", ("criterion", "layer", *_SCORE_COLUMNS), rows)

        def cell(layer: str, one: str, other: str) -> str:
            pair = rank.get((one, other))  # the other half of the table stays empty
            return "" if pair is None else format_decimal(pair[layer])

        print_table(
            "rank correlation (Spearman)",
            ("layer", "criterion", *names[1:]),
            [(layer, one, *(cell(layer, one, other) for other in names[1:])) for layer in layers for one in names[:-1]],
        )


_SCORE_COLUMNS = ("filters", "min", "median", "max")


def _score_row(layer: dict[str, Any]) -> tuple[Any, ...]:
    return layer["filters"], *(f"{layer[key]:.4g}" for key in _SCORE_COLUMNS[1:])
