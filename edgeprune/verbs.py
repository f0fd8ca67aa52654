"""What each verb does: a dataclass whose fields are its flags; called, it does the work and returns the exit code.

Results go to standard output, as tables or with `--json` as JSON; everything else goes to standard error. Heavy
packages are imported inside the calls, so that parsing and `--help` stay quick.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

from tyro.conf import Positional
from tyro.constructors import PrimitiveConstructorSpec

from edgeprune.console import print_table, say
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.files import sha256_file, to_jsonable
from edgeprune.recipe import FORMATS, Data, Limit, Names
from edgeprune.recipe import Budget as Limits
from edgeprune.recipe import Prune as Rules

if TYPE_CHECKING:
    from torch import nn

    from edgeprune.models.registry import ModelSpec
    from edgeprune.pruning.budget import Plan
    from edgeprune.pruning.cost import LayerCost

COUNTING = (
    "MACs: multiply-accumulates of convolutions and dense layers. Parameters: what ships, batch norm folded, zeros "
    "included. Flash: int8 weights and int32 biases. RAM: int8 input plus output of a layer."
)
SHOWN = 20
"""Clips of a kind that `data verify` prints; --json has all."""


def _shape(args: list[str]) -> tuple[int, int, int]:
    sizes = [int(part) for part in args[0].lower().split("x") if part.isdecimal()]
    if len(sizes) != 3 or min(sizes) < 1 or not re.fullmatch(r"\d+x\d+x\d+", args[0].lower()):
        raise ValueError(f"'{args[0]}' is not a shape; write channels x height x width, as 1x40x51.")
    return sizes[0], sizes[1], sizes[2]


def _counts(args: list[str]) -> tuple[int, ...]:
    if not re.fullmatch(r"\d+(,\d+)*", args[0]):
        raise ValueError(f"'{args[0]}' is not a list of whole numbers; write it like 1,2,4.")
    return tuple(int(part) for part in args[0].split(","))


Shape = Annotated[
    tuple[int, int, int] | None,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="1x40x51",
        instance_from_str=_shape,
        is_instance=lambda value: value is None or isinstance(value, tuple),
        str_from_instance=lambda value: ["own" if value is None else "x".join(map(str, value))],
    ),
]
Counts = Annotated[
    tuple[int, ...],
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="1,2,...",
        instance_from_str=_counts,
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda value: [",".join(map(str, value))],
    ),
]


def print_json(value: Any) -> None:
    """Print `value` to standard output as strict JSON."""
    print(json.dumps(value, indent=2, default=to_jsonable, allow_nan=False))


def only_results() -> redirect_stdout[TextIO]:
    """Keep what libraries print out of standard output, which is for results."""
    return redirect_stdout(sys.stderr)


# Data sets


@dataclass(frozen=True)
class DataList:
    """List the data sets that have a card."""

    json: bool = False
    """Print whole cards as JSON."""

    def __call__(self) -> int:
        from edgeprune.audio.cards import list_cards

        cards = list_cards()
        if self.json:
            print_json([asdict(card) for card in cards])
            return 0
        columns = ("name", "title", "classes", "folds", "sample rate", "download", "licence")
        print_table(
            "",
            columns,
            (
                (
                    card.name,
                    card.title,
                    len(card.classes) or "yours",
                    len(card.folds) or (1 if card.kind == "images" else "yours"),
                    "images" if card.kind == "images" else f"{card.sample_rate} Hz" if card.sample_rate else "any",
                    _download_size(card.archives),
                    card.licence,
                )
                for card in cards
            ),
        )
        return 0


def _download_size(archives: Sequence[Any]) -> str:
    sizes = [archive.bytes for archive in archives]
    if not archives:
        return "none"
    known = f"{sum(size or 0 for size in sizes) / 1e9:.2f} GB"
    return known if all(sizes) else "size unknown" if not any(sizes) else f"over {known}"


@dataclass(frozen=True)
class DataMake:
    """Write the synthetic scenes, which need no download; nothing is done where they are there already."""

    root: Path
    """Folder to write them to."""
    clips_per_scene: int = Data.clips_per_scene
    """Clips of each of the ten scenes."""
    clip_s: float = 1.0
    """Seconds a clip."""
    sample_rate: int = 16000
    """Hz."""
    seed: int = 0
    """Another seed, other clips."""

    def __call__(self) -> int:
        from edgeprune.audio.synthetic import ensure

        written = ensure(self.root, self.clips_per_scene, self.clip_s, self.sample_rate, self.seed)
        say(f"{self.root}: the synthetic scenes {'are written' if written else 'were there already'}")
        return 0


@dataclass(frozen=True)
class DataFetch:
    """Download, check and unpack a data set; called again it goes on where it stopped."""

    name: Positional[str]
    """A name from `edgeprune data list` or the path of a card of your own; `synthetic` is made, not downloaded."""
    root: Path
    """Folder to put the data set in."""
    only: tuple[str, ...] = ()
    """Only the archives whose names contain one of these texts, such as meta."""

    def __call__(self) -> int:
        from edgeprune.audio.cards import load_card
        from edgeprune.audio.fetch import fetch

        if self.name == "synthetic":
            if self.only:
                raise EdgepruneError("synthetic: has no archives to choose from; leave out --only.")
            return DataMake(self.root)()
        report = fetch(load_card(self.name), self.root, self.only or None)
        done = f"{len(report.downloaded)} downloaded, {len(report.unpacked)} unpacked"
        say(f"{self.name}: {done}, {len(report.done_before)} done before; check it with `edgeprune data verify`")
        return 0


@dataclass(frozen=True)
class DataVerify:
    """Check every clip of a data set on disk: exit code 4 if any is missing or corrupt."""

    name: Positional[str]
    """A name from `edgeprune data list` or the path of a card of your own."""
    root: Path
    """Folder of the data set."""
    json: bool = False
    """Print all findings as JSON."""

    def __call__(self) -> int:
        from edgeprune.audio.cards import load_card
        from edgeprune.audio.verify import verify
        from edgeprune.images.verify import verify_images

        card = load_card(self.name)
        report = verify_images(card, self.root) if card.kind == "images" else verify(card, self.root)
        if self.json:
            print_json({"name": card.name, "root": str(self.root), "ok": report.ok, **asdict(report)})
        else:
            corrupt = [f"{clip} {fault}" for clip, fault in report.corrupt]
            for title, found in (("missing", report.missing), ("extra", report.extra), ("corrupt", corrupt)):
                _print_findings(title, found)
            print(f"{card.name}: {report.clips:,} {'images' if card.kind == 'images' else 'clips'} are whole")
        return 0 if report.ok else CheckFailedError.exit_code


def _print_findings(title: str, found: Sequence[str]) -> None:
    print(f"{title}: {len(found):,}")
    for line in found[:SHOWN]:
        print(f"  {line}")
    if len(found) > SHOWN:
        print(f"  and {len(found) - SHOWN:,} more (--json lists all)")


# Networks


@dataclass(frozen=True)
class Network:
    """What a MODEL on the command line stands for; `path` is None for a registry name, whose weights are random."""

    spec: "ModelSpec"
    path: Path | None

    def model(self) -> "nn.Module":
        """The network in evaluation mode; random weights are the same each time, and are said to be random."""
        if self.path is not None:
            from edgeprune.models import checkpoint

            return checkpoint.load(self.path).model
        import torch

        from edgeprune.models.registry import build

        say(f"warning: {self.spec.name} is a registry name, so its weights, and all scores of them, are random")
        torch.manual_seed(0)
        return build(self.spec).eval()

    def describe(self) -> dict[str, Any]:
        """Where it came from and what it takes, for JSON."""
        shape = list(self.spec.input_shape)
        checkpoint = None if self.path is None else str(self.path)
        return {"model": self.spec.name, "checkpoint": checkpoint, "input_shape": shape, "classes": self.spec.classes}

    def title(self) -> str:
        """One line for the head of a table."""
        shape = "x".join(str(size) for size in self.spec.input_shape)
        where = f" ({self.path})" if self.path else ""
        return f"{self.spec.name}{where}, input {shape}, {self.spec.classes} classes"


def find_network(
    model: str, stages: Sequence[str], shape: tuple[int, int, int] | None = None, classes: int | None = None
) -> Network:
    """Resolve a registry name, a run folder or a checkpoint.

    Args:
        stages: which checkpoint of a run folder to take, the first that is there: `pruned`, `dense`.
        shape: input of a registry's network, `(channels, height, width)`; a checkpoint has its own.
        classes: outputs of a registry's network; a checkpoint has its own.

    Raises:
        EdgepruneError: there is no such model, or it is a file that is not read here.
    """
    from edgeprune.models import checkpoint, registry

    path = Path(model)
    if model not in registry.ENTRIES and (path.is_dir() or path.suffix == ".ckpt"):
        path = _checkpoint_of(path, stages) if path.is_dir() else path
        if shape is not None or classes is not None:
            raise EdgepruneError(
                f"{path}: a checkpoint has its own input and classes; leave out --input and --classes."
            )
        return Network(checkpoint.load(path).spec, path)
    if path.suffix in (".onnx", ".tflite"):
        raise EdgepruneError(
            f"{model}: this version reads no {path.suffix} files here; give the run folder or the .ckpt it is from."
        )
    if path.exists() or path.parent != Path("."):
        raise EdgepruneError(f"{model}: is no run folder and no .ckpt file; give one of these or a registry name.")
    return Network(registry.make_spec(model, 10 if classes is None else classes, shape), None)


def _checkpoint_of(folder: Path, stages: Sequence[str]) -> Path:
    found = [folder / f"{stage}.ckpt" for stage in stages if (folder / f"{stage}.ckpt").is_file()]
    if not found:
        names = " nor ".join(f"{stage}.ckpt" for stage in stages)
        raise EdgepruneError(f"{folder}: holds neither {names}; give a run folder whose training has finished.")
    return found[0]


@dataclass(frozen=True)
class Cost:
    """What a network costs, layer by layer: parameters, MACs, flash and RAM."""

    model: Positional[str]
    """A registry name (dcase21, vggish, cnn14, vgg16, resnet50, resnet50_cifar), a run folder (its pruned.ckpt, else
    dense.ckpt) or a .ckpt file."""
    input: Shape = None
    """Input of a registry's network, channels x height x width."""
    classes: int | None = None
    """Classes of a registry's network (default: 10)."""
    json: bool = False
    """Print JSON."""

    def __call__(self) -> int:
        network = find_network(self.model, ("pruned", "dense"), self.input, self.classes)
        from edgeprune.pruning.cost import cost

        total = cost(network.spec)
        if self.json:
            print_json({**network.describe(), **total.to_dict(), "counting": COUNTING})
            return 0
        columns = ("layer", "kind", "filters", "parameters", "MACs", "flash, B", "RAM, B", "output")
        sums = ("total", "", "", *_counted(total.params, total.macs, total.flash_bytes, total.peak_ram_bytes), "")
        print(network.title())
        print_table("", columns, [*(_layer_row(layer) for layer in total.by_layer), sums])
        print(
            f"Parameters: {total.params:,} (batch norm folded); trainable {total.params_trainable:,}; "
            f"with moving statistics {total.params_with_statistics:,}. The total of RAM is its peak."
        )
        print(COUNTING)
        return 0


def _counted(*values: int) -> tuple[str, ...]:
    return tuple(f"{value:,}" for value in values)


def _layer_row(layer: "LayerCost") -> tuple[str, ...]:
    counts = _counted(layer.params, layer.macs, layer.flash_bytes, layer.ram_bytes)
    return layer.name, layer.kind, str(layer.filters), *counts, "x".join(str(size) for size in layer.output_shape)


def _scores(network: Network, criteria: Sequence[str], dense_layers: bool) -> dict[str, dict[str, list[float]]]:
    """Scores by criterion of the filters of each layer (or layers that belong together) that may be pruned."""
    import torch

    from edgeprune.pruning.cost import graph_of
    from edgeprune.pruning.groups import score_groups
    from edgeprune.pruning.scores import criterion

    # a wrong name, or missing data, is told before a large network is made
    active = [name for name in criteria if criterion(name).active]
    batches = _score_batches(network, active[0]) if active else lambda _: None
    model, graph = network.model(), graph_of(network.spec)
    scores = {}
    for name in criteria:
        torch.manual_seed(0)  # for the criterion `random`, whatever was scored before it
        found = score_groups(model, graph, name, dense_layers, batches(name))
        scores[name] = {layer: values.tolist() for layer, values in found.items()}
    return scores


def _score_batches(network: Network, active: str) -> Callable[[str], Any]:
    """For each criterion anew, training clips of the run a checkpoint lies in, as the network takes them."""
    from edgeprune.models import checkpoint
    from edgeprune.pruning.scores import criterion
    from edgeprune.recipe_files import load_recipe
    from edgeprune.run import load_data, normalisation_of, score_batches

    if network.path is None or not (network.path.parent / "recipe.json").is_file():
        raise EdgepruneError(
            f"{active}: judges filters by what training clips make of them; give a run folder, whose recipe says which."
        )
    recipe = load_recipe(str(network.path.parent))
    data = load_data(recipe.data, recipe.frontend, recipe.seed)
    data = data.with_normalisation(normalisation_of(checkpoint.load(network.path)))
    return lambda name: score_batches(data, recipe, name) if criterion(name).active else None


@dataclass(frozen=True)
class Score:
    """Score the filters of every layer; the lowest would be pruned first."""

    model: Positional[str]
    """A run folder (its dense.ckpt, else pruned.ckpt), a .ckpt file, or a registry name (random weights)."""
    criterion: Names = (Rules.criterion,)
    """How filters are judged: operator_norm, l1, hrank, random ...; of several, how they agree is shown too. Criteria
    that look at data take the training clips of the run."""
    dense_layers: bool = False
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
        scores = _scores(network, criteria, self.dense_layers)
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
        from edgeprune.reporting.tables import MISSING

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


@dataclass(frozen=True)
class Budget:
    """Find how many filters each layer may keep within a budget; nothing is trained. Exit code 3 if none fits."""

    model: Positional[str]
    """A registry name (random weights), a run folder (its dense.ckpt, else pruned.ckpt) or a .ckpt file."""
    params: Limit = None
    """Parameters, batch norm folded, zeros included."""
    macs: Limit = None
    """Multiply-accumulates a network input."""
    peak_ram: Limit = None
    """Peak int8 activation memory, bytes."""
    flash: Limit = None
    """int8 weights and int32 biases, bytes."""
    keep: float = Rules.keep
    """No layer keeps more than this share of its filters."""
    min_filters: int = Rules.min_filters
    """No layer goes below."""
    dense_layers: bool = False
    """Prune hidden units of dense layers too."""
    criterion: str = Rules.criterion
    """How filters are judged: operator_norm, l1, l2, random ..."""
    input: Shape = None
    """Input of a registry's network, channels x height x width."""
    classes: int | None = None
    """Classes of a registry's network (default: 10)."""
    json: bool = False
    """Print JSON."""

    def __call__(self) -> int:
        limits = Limits(self.params, self.macs, self.peak_ram, self.flash)
        if limits == Limits() and self.keep == 1:
            raise EdgepruneError("budget: no limit is given; give --params, --macs, --peak-ram, --flash or --keep.")
        from edgeprune.pruning.budget import plan
        from edgeprune.pruning.cost import count, graph_of

        network = find_network(self.model, ("dense", "pruned"), self.input, self.classes)
        scores = _scores(network, [self.criterion], self.dense_layers)[self.criterion]
        graph = graph_of(network.spec)
        rules = Rules(self.criterion, self.keep, self.dense_layers, self.min_filters)
        found = plan(graph, limits, rules, scores)
        answer = {
            **network.describe(),
            "random_weights": network.path is None,
            "criterion": self.criterion,
            "asked": found.asked,
            "reached": found.reached,
            "slack": {name: found.asked[name] - found.reached[name] for name in found.asked},
            "binding": found.binding,
            "widths": {"dense": dict(network.spec.widths), "pruned": {**network.spec.widths, **found.widths}},
            "cost": {"dense": count(graph).to_dict(), "pruned": found.cost.to_dict()},
        }
        if self.json:
            print_json(answer)
        else:
            _print_plan(network, found, answer)
        return 0


def _print_plan(network: Network, found: "Plan", answer: dict[str, Any]) -> None:
    print(network.title())
    if found.asked:
        rows = [
            (
                name.replace("_", " "),
                *_counted(asked, found.reached[name], answer["slack"][name]),
                "binding" if name in _names_of(found.binding) else "",
            )
            for name, asked in found.asked.items()
        ]
        print_table("", ("limit", "asked, at most", "reached", "slack", ""), rows)
    before, after = answer["widths"]["dense"], answer["widths"]["pruned"]
    widths = [(name, before[name], after[name], f"{100 * after[name] / before[name]:.1f} %") for name in before]
    print_table("filters", ("layer", "before", "after", "kept"), widths)
    dense = answer["cost"]["dense"]
    costs = [
        (title, *_counted(dense[key], getattr(found.cost, key)))
        for title, key in (
            ("parameters", "params"),
            ("MACs", "macs"),
            ("peak RAM, B", "peak_ram_bytes"),
            ("flash, B", "flash_bytes"),
        )
    ]
    print_table("cost", ("", "before", "after"), costs)


def _names_of(binding: str | Iterable[str]) -> set[str]:
    return {binding} if isinstance(binding, str) else set(binding)


# Files


@dataclass(frozen=True)
class Export:
    """Make the TFLite files of a finished run."""

    run: Positional[str]
    """Run folder."""
    formats: Names = FORMATS
    """float32, float16, dynamic, int8, int16x8."""
    json: bool = False
    """Print JSON."""

    def __call__(self) -> int:
        from edgeprune.run import export

        with only_results():
            paths = export(self.run, self.formats)
        files = {
            name: {"path": str(path), "bytes": path.stat().st_size, "sha256": sha256_file(path)}
            for name, path in paths.items()
        }
        if self.json:
            print_json(files)
        else:
            rows = [(name, f"{file['bytes']:,}", file["path"]) for name, file in files.items()]
            print_table("", ("format", "bytes", "file"), rows)
        return 0


@dataclass(frozen=True)
class Evaluate:
    """Accuracy of an exported file, or of a run, on a data set's split."""

    target: Positional[str]
    """A .tflite file or a run folder."""
    data: Data = field(default_factory=Data)
    split: Literal["test", "train"] = "test"
    """Which part of the official split."""
    json: bool = False
    """Print JSON."""

    def default_data(self) -> Data | None:
        """The data of the run that the target is or lies in; None where it is in none."""
        target = Path(self.target)
        folder = target if target.is_dir() else target.parent
        if not (folder / "recipe.json").is_file():
            return None
        from edgeprune.recipe_files import load_recipe

        return load_recipe(str(folder)).data

    def __call__(self) -> int:
        from edgeprune.reporting.tables import format_decimal, format_interval, format_percent, interval_of
        from edgeprune.run import evaluate

        with only_results():
            found = evaluate(self.target, self.data, self.split)
        if self.json:
            print_json(found)
            return 0
        rows = [
            ("accuracy", format_percent(found["accuracy"])),
            ("95 % interval", format_interval(interval_of(found))),
            ("macro accuracy", format_percent(found["macro_accuracy"])),
            ("log loss", format_decimal(found["log_loss"])),
            ("clips", f"{found['clips']:,}"),
        ]
        print(f"{self.target} on {self.data.name}, {self.split}")
        print_table("", ("", ""), rows)
        for group in ("class", "device", "city"):
            parts = found[f"per_{group}"].items()
            rows_of = [(n, p["clips"], format_percent(p["accuracy"]), format_decimal(p["log_loss"])) for n, p in parts]
            if rows_of:
                print_table("", (group, "clips", "accuracy", "log loss"), rows_of)
        return 0


@dataclass(frozen=True)
class Bench:
    """Measure the latency and memory of TFLite files against each other."""

    models: Positional[tuple[Path, ...]]
    """.tflite files."""
    device: str = "host"
    """Where to run: host is this machine."""
    threads: Counts = (1,)
    """Numbers of threads to measure."""
    runs: int = 50
    """Timed runs of each file, interleaved."""
    json: bool = False
    """Print JSON."""

    def __call__(self) -> int:
        if self.device != "host":
            raise EdgepruneError(f"device '{self.device}': this version measures on host only; use --device host.")
        from edgeprune.devices.host import measure
        from edgeprune.reporting.tables import latency_table

        latency = {"latency": [record.to_dict() for record in measure(self.models, self.threads, self.runs)]}
        if self.json:
            print_json(latency)
        else:
            table = latency_table(latency)
            print_table("", table.columns, table.rows)
        return 0


@dataclass(frozen=True)
class Doctor:
    """Say what is installed here: Python, packages, TFLite interpreter, optional tools."""

    json: bool = False
    """Print JSON."""

    def __call__(self) -> int:
        from edgeprune.doctor import examine, print_findings

        found = examine()
        if self.json:
            print_json(found)
        else:
            print_findings(found)
        return 0
