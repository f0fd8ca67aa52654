"""Verbs about a network as it is: what it costs, and how its filters score."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from edgeprune.cli.model_argument import Network, find_network, seconds_of
from edgeprune.cli.verbs import print_json
from edgeprune.console import print_table, say
from edgeprune.errors import EdgepruneError
from edgeprune.flags import Names, Shape
from edgeprune.recipe import Prune as Rules
from edgeprune.reporting.numbers import MISSING, format_exact

if TYPE_CHECKING:
    from edgeprune.graph.cost import Cost as NetworkCost
    from edgeprune.graph.cost import LayerCost
    from edgeprune.submitting.rules import Verdict

COUNTING = (
    "MACs: multiply-accumulates of convolutions and dense layers. Parameters: what ships, batch norm folded, zeros "
    "included. Flash: int8 weights and int32 biases. RAM: int8 activations in memory while an operator runs. See "
    "docs/counting.md."
)
PruneDense = Annotated[bool, arg(aliases=["--prune-dense"])]
Bits = Literal[8, 16, 32]
_BITS = {"int8": 8, "float16": 16, "float32": 32}


@dataclass(frozen=True)
class Cost:
    """What a network costs, layer by layer: parameters, MACs, flash and RAM."""

    model: Positional[str]
    """A registry name (dcase21, vggish, cnn14, vgg16, resnet50, resnet50_cifar), a run folder (its pruned.ckpt, else
    dense.ckpt), a .ckpt, .onnx or .tflite file."""
    input: Shape = None
    """Input of a registry's network, channels x height x width."""
    classes: int | None = None
    """Classes of a registry's network (default: 10)."""
    rules: str | None = None
    """Judge by the limits of a challenge: dcase2021, dcase2022, dcase2023, dcase2024."""
    bits: Bits = 8
    """Bits a weight is stored in, for the rules; a .tflite file has its own."""
    json: bool = False
    """Print JSON."""

    def __call__(self) -> int:
        if self.rules is not None:
            from edgeprune.submitting.rules import find_rules

            find_rules(self.rules)  # a wrong name is told before anything is computed
        subject = _Subject.find(self)
        verdicts = subject.judge(self.rules) if self.rules is not None else []
        if self.json:
            rules = {} if self.rules is None else {"rules": judged(self.rules, verdicts)}
            print_json({**subject.described, **subject.cost.to_dict(), "counting": COUNTING, **rules})
            return 0
        _print_cost(subject)
        if self.rules is not None:
            print_verdicts(self.rules, verdicts)
        return 0


@dataclass(frozen=True)
class _Subject:
    """What is asked about: its cost, how to call it, and what the rules need to know."""

    title: str
    described: dict[str, Any]
    cost: "NetworkCost"
    bits: int
    input_s: float | None

    @staticmethod
    def find(asked: Cost) -> "_Subject":
        path = Path(asked.model)
        if path.suffix in (".onnx", ".tflite") and asked.model not in ("", "."):
            if asked.input is not None or asked.classes is not None:
                raise EdgepruneError(f"{path}: a file has its own input and classes; leave out --input and --classes.")
            return _Subject.of_tflite(path) if path.suffix == ".tflite" else _Subject.of_onnx(path, asked.bits)
        network = find_network(asked.model, ("pruned", "dense"), asked.input, asked.classes)
        from edgeprune.graph.cost import cost

        return _Subject(network.title(), network.describe(), cost(network.spec), asked.bits, network.input_s())

    @staticmethod
    def of_tflite(path: Path) -> "_Subject":
        from edgeprune.tflite.cost import cost_of_tflite, file_facts
        from edgeprune.tflite.metadata import read_metadata

        cost, facts = cost_of_tflite(path), file_facts(path)
        title = (
            f"{path}: {facts.bytes:,} B in all, {facts.weight_bytes:,} B of them parameters "
            f"({facts.weight_type or 'several types'}; activations {facts.activation_type})"
        )
        try:
            seconds = seconds_of(read_metadata(path).get("frontend"))
        except EdgepruneError:  # the file of others, or one without a front-end
            seconds = None
        bits = _BITS.get(facts.weight_type or "", 32)
        return _Subject(title, {"model": str(path), "file": asdict(facts)}, cost, bits, seconds)

    @staticmethod
    def of_onnx(path: Path, bits: int) -> "_Subject":
        from edgeprune.convert.onnx_graph import cost_of_onnx

        return _Subject(str(path), {"model": str(path)}, cost_of_onnx(path), bits, None)

    def judge(self, rules: str) -> "list[Verdict]":
        from edgeprune.submitting.rules import check_rules

        return check_rules(rules, self.cost, self.bits, input_s=self.input_s)


def _print_cost(subject: _Subject) -> None:
    total = subject.cost
    columns = ("layer", "kind", "filters", "parameters", "MACs", "flash, B", "RAM, B", "output")
    sums = map(format_exact, (total.params, total.macs, total.flash_bytes, total.peak_ram_bytes))
    print(subject.title)
    print_table("", columns, [*(_layer_row(layer) for layer in total.by_layer), ("total", "", "", *sums, "")])
    peak = max(total.by_layer, key=lambda layer: layer.ram_bytes)
    if total.params_trainable is None or total.params_with_statistics is None:
        norms = "what batch norm had before it was folded is not in the file"
    else:
        norms = f"trainable {total.params_trainable:,}; with moving statistics {total.params_with_statistics:,}"
    print(f"Parameters: {total.params:,} (batch norm folded); {norms}. The total of RAM is its peak, in '{peak.name}'.")
    if total.unknown:
        print(f"Not known, and not in the sums: {', '.join(total.unknown)}.")
    print(COUNTING)


def _layer_row(layer: "LayerCost") -> tuple[str, ...]:
    counts = map(format_exact, (layer.params, layer.macs, layer.flash_bytes, layer.ram_bytes))
    return layer.name, layer.kind, str(layer.filters), *counts, "x".join(str(size) for size in layer.output_shape)


def judged(rules: str, verdicts: "Sequence[Verdict]") -> dict[str, Any]:
    """The verdicts as JSON values."""
    return {"name": rules, "verdicts": [asdict(verdict) for verdict in verdicts]}


def print_verdicts(rules: str, verdicts: "Sequence[Verdict]") -> None:
    """A row for each rule, how it was counted, and where it is from."""
    rows = [(v.rule, *map(format_exact, (v.limit, v.counted)), v.word, v.how) for v in verdicts]
    print_table(f"rules of {rules}", ("rule", "limit", "counted", "", "how"), rows)
    for source in dict.fromkeys(verdict.source for verdict in verdicts):
        print(f"Source: {source}")


def scores_of(network: Network, criteria: Sequence[str], dense_layers: bool) -> dict[str, dict[str, list[float]]]:
    """Scores by criterion of the filters of each layer (or layers that belong together) that may be pruned."""
    import torch

    from edgeprune.graph.cost import graph_of
    from edgeprune.pruning.group_scores import score_groups

    # a wrong name, or missing data, is told before a large network is made
    batches = score_batches_of(network, criteria)
    model, graph = network.model(), graph_of(network.spec)
    scores = {}
    for name in criteria:
        torch.manual_seed(0)  # for the criterion `random`, whatever was scored before it
        found = score_groups(model, graph, name, dense_layers, batches(name))
        scores[name] = {layer: values.tolist() for layer, values in found.items()}
    return scores


def score_batches_of(network: Network, criteria: Sequence[str]) -> Callable[[str], Any]:
    """For each criterion anew, training clips of the run a checkpoint lies in; None for those that need no clips."""
    from edgeprune.pruning.scores import criterion
    from edgeprune.run.run import score_batches

    active = [name for name in criteria if criterion(name).active]
    if not active:
        return lambda _: None
    recipe, data = data_of(network, f"{active[0]}: judges filters by what training clips make of them")
    return lambda name: score_batches(data, recipe, name) if criterion(name).active else None


def data_of(network: Network, why: str) -> tuple[Any, Any]:
    """Recipe and data of the run a checkpoint lies in.

    Raises:
        EdgepruneError: it lies in none; the sentence begins with `why` data are needed.
    """
    from edgeprune.recipe_files import load_recipe
    from edgeprune.run.run import load_data, normalisation_of

    path = network.path
    if path is None or network.checkpoint is None or not (path.parent / "recipe.json").is_file():
        raise EdgepruneError(f"{why}; give a run folder, whose recipe says which.")
    recipe = load_recipe(str(path.parent))
    data = load_data(recipe.data, recipe.frontend, recipe.seed)
    return recipe, data.with_normalisation(normalisation_of(network.checkpoint))


@dataclass(frozen=True)
class Score:
    """Score the filters of every layer; the lowest would be pruned first."""

    model: Positional[str]
    """A run folder (its dense.ckpt, else pruned.ckpt), a .ckpt file, or a registry name (random weights)."""
    criterion: Names = (Rules.criterion,)
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
        if self.plot is not None and self.plot.suffix not in (".svg", ".png"):
            raise EdgepruneError(f"{self.plot}: a plot is written as .svg or .png; give it one of these endings.")
        network = find_network(self.model, ("dense", "pruned"))
        scores = scores_of(network, criteria, self.dense_layers)
        if self.plot is not None:
            from edgeprune.files import write_bytes
            from edgeprune.reporting.plots import score_plot

            write_bytes(self.plot, score_plot(scores, self.plot.suffix[1:]))
            say(f"{self.plot}: sorted scores of {len(scores[criteria[0]])} layers")
        found = {name: _describe_layers(layers) for name, layers in scores.items()}
        described = {**network.describe(), "random_weights": network.path is None}
        if len(criteria) == 1:
            self._show_one(network, described, criteria[0], found[criteria[0]])
        else:
            self._show_several(network, described, found)
        return 0

    def _show_one(self, network: Network, described: dict[str, Any], name: str, layers: dict[str, Any]) -> None:
        if self.json:
            print_json({**described, "criterion": name, "layers": layers})
            return
        print(f"{name}: {network.title()}")
        print_table("", ("layer", *_SCORE_COLUMNS), [(layer, *_score_row(found)) for layer, found in layers.items()])

    def _show_several(self, network: Network, described: dict[str, Any], found: dict[str, dict[str, Any]]) -> None:
        from itertools import combinations

        from edgeprune.pruning.scores import rank_correlation

        names = list(found)
        layers = list(found[names[0]])
        rank: dict[tuple[str, str], dict[str, float | None]] = {
            (one, other): {
                layer: rank_correlation(found[one][layer]["scores"], found[other][layer]["scores"]) for layer in layers
            }
            for one, other in combinations(names, 2)
        }
        if self.json:
            pairs = [{"criteria": list(pair), "layers": values} for pair, values in rank.items()]
            print_json({**described, "criteria": found, "rank_correlation": pairs})
            return
        print(network.title())
        rows = [(name, layer, *_score_row(found[name][layer])) for name in names for layer in layers]
        print_table("", ("criterion", "layer", *_SCORE_COLUMNS), rows)

        def cell(layer: str, one: str, other: str) -> str:
            if (one, other) not in rank:  # the other half of the table
                return ""
            value = rank[one, other][layer]
            return MISSING if value is None else f"{value:.3f}"

        print_table(
            "rank correlation (Spearman)",
            ("layer", "criterion", *names[1:]),
            [(layer, one, *(cell(layer, one, other) for other in names[1:])) for layer in layers for one in names[:-1]],
        )


_SCORE_COLUMNS = ("filters", "min", "median", "max")


def _describe_layers(layers: dict[str, list[float]]) -> dict[str, dict[str, Any]]:
    from statistics import median

    return {
        name: {
            "filters": len(values),
            "min": min(values),
            "median": median(values),
            "max": max(values),
            "scores": values,
        }
        for name, values in layers.items()
    }


def _score_row(layer: dict[str, Any]) -> tuple[Any, ...]:
    return layer["filters"], *(f"{layer[key]:.4g}" for key in _SCORE_COLUMNS[1:])
