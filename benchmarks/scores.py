"""What scoring a network's filters costs: every criterion, and the operator norm as its paper states it.

    python benchmarks/scores.py [--models vggish,resnet50] [--only A,B] [--clips 200] [--data NAME --root DIR] [--json]

Times are of all convolutions of a randomly initialised network, medians of several runs after a warm-up; what takes
longer than a few seconds runs once. Active criteria see `--clips` network inputs, log-mel patches of a data set where
one is given and fits the network, noise otherwise. Two more rows, `svd loop` and `svd loop, reduced`, are the operator
norm written down as published: for each input channel NumPy's singular value decomposition of all filters' slices,
with and without its full square matrix of left vectors, here in double precision. On ResNet-50 the
former takes a quarter of an hour; `--only` leaves it out. Ends with exit code 1 if one of them ranks the filters of a
layer otherwise.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from edgeprune import console
from edgeprune.data.scene_data import evenly, load_scenes
from edgeprune.errors import EdgepruneError
from edgeprune.models.registry import ENTRIES, build, entry, make_spec
from edgeprune.pruning.scores import CRITERIA, criterion, score
from edgeprune.pruning.scores.layer_scores import score_network
from edgeprune.recipe import Data, LogMel

OURS = "operator_norm"
REFERENCES = {"svd loop": True, "svd loop, reduced": False}
SLOW_S = 3.0
BATCH = 10
Batches = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Row:
    """One contestant; `seconds` is None where it cannot score the network, and `note` says why."""

    name: str
    needs: str
    seconds: float | None = None
    runs: int = 0
    ratio: float | None = None
    same_ranking: str = ""
    note: str = ""


def svd_loop(weight: np.ndarray, full_matrices: bool) -> np.ndarray:
    """Operator-norm scores `[filters]` of `[filters, channels, *kernel]`, channel by channel as published."""
    total = np.zeros(len(weight))
    for channel in range(weight.shape[1]):
        rows = weight[:, channel].reshape(len(weight), -1)
        rows = rows - rows.mean(axis=0)
        left, values, right = np.linalg.svd(rows, full_matrices=full_matrices)
        rank_one = values[0] * np.outer(left[:, 0], right[0])
        total += rows @ (rank_one[0] / np.linalg.norm(rank_one[0]))
    squared = total**2
    return np.asarray(squared / squared.max())


def svd_loops(weights: list[np.ndarray], full_matrices: bool) -> list[np.ndarray]:
    return [svd_loop(weight, full_matrices) for weight in weights]


def timed(work: Callable[[], Any], repeats: int) -> tuple[float, int, Any]:
    """Median seconds, number of runs it is of, and what `work` returned; slow work runs once, without a warm-up."""

    def once() -> tuple[float, Any]:
        start = time.perf_counter()
        found = work()
        return time.perf_counter() - start, found

    seconds, found = once()
    if seconds > SLOW_S:
        return seconds, 1, found
    return statistics.median(once()[0] for _ in range(repeats)), repeats, found


def peak_bytes(work: Callable[[], object]) -> int:
    """The most memory PyTorch held at one time for `work`, beyond what it held before (CPU)."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return max(accumulate(event.nbytes() for event in events))


def network_inputs(name: str, options: argparse.Namespace) -> tuple[Batches, str, int]:
    """Batches of network inputs and labels, what they are, and how many classes they have."""
    found = entry(name)
    if options.data and (fitting := frontend(found.frontend)) is not None:
        data = load_scenes(Data(options.data, Path(options.root) if options.root else None), fitting, found.layout)
        patches = data.patches(evenly(data.train, options.clips))
        clip, first = np.unique(patches.clip.numpy(), return_index=True)
        rows = np.array_split(first, -(-len(clip) // BATCH))
        batches = [(patches.network_inputs(row), patches.labels[patches.clip[row]]) for row in rows]
        return batches, f"log-mel patches of {len(clip)} training clips of {options.data}", len(data.classes)
    generator = torch.Generator().manual_seed(options.seed)
    x = torch.randn(options.clips, *found.input_shape, generator=generator)
    labels = torch.randint(0, 10, (len(x),), generator=generator)
    return list(zip(x.split(BATCH), labels.split(BATCH), strict=True)), f"noise, {len(x)} inputs", 10


def frontend(name: str) -> LogMel | None:
    return {"vggish": LogMel.vggish(), "dcase21": LogMel.dcase21()}.get(name)


def references(layers: Mapping[str, nn.Module], names: list[str], repeats: int) -> list[Row]:
    """The operator norm as published, in double precision, and in how many layers it ranks all filters as ours does."""
    weights = [layer.weight.detach().double().numpy() for layer in layers.values()]  # type: ignore[operator]
    ours = [score(layer.weight).argsort().numpy() for layer in layers.values()]  # type: ignore[arg-type]
    rows = []
    for name in names:
        seconds, runs, found = timed(partial(svd_loops, weights, REFERENCES[name]), repeats)
        same = sum(np.array_equal(np.argsort(one), order) for one, order in zip(found, ours, strict=True))
        rows.append(Row(name, "weight", seconds, runs, same_ranking=f"{same}/{len(ours)}"))
        console.say(f"  {name}: {seconds:.3g} s")
    return rows


def measure(name: str, wanted: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """All contestants on one network."""
    active = any(each in CRITERIA and criterion(each).active for each in wanted)
    batches, source, classes = network_inputs(name, options) if active else ([], "none", 10)
    torch.manual_seed(options.seed)
    model = build(make_spec(name, classes))
    layers = {path: layer for path, layer in model.named_modules() if isinstance(layer, nn.Conv2d)}
    console.say(f"{name}: {len(layers)} convolutions; active criteria see {source}")
    rows = []
    for each in (each for each in wanted if each in CRITERIA):
        needs, data = criterion(each).needs, batches if criterion(each).active else None
        try:
            seconds, runs, _ = timed(partial(score_network, model, each, layers, data), options.repeats)
        except EdgepruneError as error:
            rows.append(Row(each, needs, note=str(error)))
            continue
        rows.append(Row(each, needs, seconds, runs))
        console.say(f"  {each}: {seconds:.3g} s")
    rows += references(layers, [each for each in wanted if each in REFERENCES], options.repeats)
    base = next((row.seconds for row in rows if row.name == OURS), None)
    return {
        "convolutions": len(layers),
        "filters": sum(len(layer.weight) for layer in layers.values()),  # type: ignore[arg-type]
        "input": source,
        "memory": memory(layers),
        "rows": [asdict(row) | {"ratio": row.seconds / base if base and row.seconds else None} for row in rows],
    }


def memory(layers: Mapping[str, nn.Module]) -> dict[str, Any]:
    """What the operator norm holds at one time beside the weights, and that and the largest weight relative to it."""
    weights: list[Tensor] = [layer.weight for layer in layers.values()]  # type: ignore[misc]
    largest = max(weight.numel() * weight.element_size() for weight in weights)
    peak = max(peak_bytes(partial(score, weight)) for weight in weights)
    return {"largest_weight_bytes": largest, "peak_extra_bytes": peak, "with_weight_ratio": 1 + peak / largest}


def show(name: str, result: Mapping[str, Any]) -> None:
    columns = ["", "needs", "s", "runs", f"times {OURS}", "same ranking, layers", ""]
    rows = []
    for row in result["rows"]:
        seconds = "" if row["seconds"] is None else f"{row['seconds']:.4f}"
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.3g}"
        note = "no batch norm" if "batch norm" in row["note"] else row["note"]
        rows.append((row["name"], row["needs"], seconds, row["runs"] or "", ratio, row["same_ranking"], note))
    title = f"{name}: {result['convolutions']} convolutions, {result['filters']} filters; active: {result['input']}"
    console.print_table(title, columns, rows)
    held = result["memory"]
    print(
        f"{OURS} holds {held['peak_extra_bytes'] / 2**20:.2f} MiB beside the weights; the largest is "
        f"{held['largest_weight_bytes'] / 2**20:.2f} MiB, with it {held['with_weight_ratio']:.2f} times as much.\n"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="What scoring a network's filters costs, by criterion.")
    parser.add_argument("--models", default="vggish,resnet50", help=f"of {', '.join(ENTRIES)} (vggish,resnet50)")
    parser.add_argument(
        "--only", default="", help="criteria, and 'svd loop' and 'svd loop, reduced' as svd, svd-reduced"
    )
    parser.add_argument("--clips", type=int, default=200, help="network inputs that active criteria see (200)")
    parser.add_argument("--data", default="", help="data set whose clips they see (default: noise)")
    parser.add_argument("--root", help="folder of the data set")
    parser.add_argument("--repeats", type=int, default=7, help="runs after a warm-up, of which the median counts (7)")
    parser.add_argument("--threads", type=int, default=0, help="threads (default: PyTorch's choice)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and noise (0)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args()
    known = {**{name: name for name in CRITERIA}, "svd": "svd loop", "svd-reduced": "svd loop, reduced"}
    try:
        wanted = [known.get(each) or criterion(each).name for each in options.only.split(",") if each]
        if options.threads:
            torch.set_num_threads(options.threads)
        models = options.models.split(",")
        results = {name: measure(name, wanted or list(known.values()), options) for name in models}
    except EdgepruneError as error:
        sys.exit(str(error))
    if options.json:
        print(json.dumps({"threads": torch.get_num_threads(), "networks": results}, indent=2))
    else:
        print(f"{torch.get_num_threads()} threads, PyTorch {torch.__version__}, NumPy {np.__version__}")
        for name, result in results.items():
            show(name, result)
    differ = [
        row
        for result in results.values()
        for row in result["rows"]
        if row["same_ranking"] and row["same_ranking"] != f"{result['convolutions']}/{result['convolutions']}"
    ]
    return int(bool(differ))


if __name__ == "__main__":
    sys.exit(main())
