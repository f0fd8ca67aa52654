"""Comparisons as a report meets them: 3 budgets x 3 criteria x 3 seeds, controls, a failure, a single run."""

import hashlib
import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from edgeprune.comparing.comparison import ComparedRun, Comparison, Latency, MeanEstimate, PairedDifference, Variant
from edgeprune.evaluation.predictions import write_predictions
from edgeprune.files import write_json
from edgeprune.results.result import NetworkName, Result
from edgeprune.results.run_folder import RunFolder, RunState

SCENES = ("airport", "bus", "metro", "metro_station", "park", "public_square", "shopping_mall", "street_pedestrian",
          "street_traffic", "tram")  # fmt: skip
PHONES = ("a", "b", "c", "s1", "s2", "s3")
CRITERIA = ("operator_norm", "l1", "geometric_median")
BUDGETS = {"10k": 10_000, "20k": 20_000, "30k": 30_000}
SEEDS = (0, 1, 2)
CLIPS_A_SCENE = 30
DENSE = {"params": 46_495, "macs": 29_204_060, "flash_bytes": 47_032, "peak_ram_bytes": 65_280}
WIDTHS = {"conv1": 16, "conv2": 16, "conv3": 32, "fc1": 100}
COMMON_SETTINGS = {"train": {"epochs": 30, "lr": 0.003}, "frontend": {"mels": 40}}
TEST = "p is of a two-sided paired t-test over the runs that share seed and fold, Holm-corrected over the variants."


def estimate(values: Sequence[float]) -> MeanEstimate:
    """Mean with Student's 95 % interval."""
    mean, n = statistics.fmean(values), len(values)
    if n == 1:
        return MeanEstimate(mean, 1)
    std = statistics.stdev(values)
    half = float(stats.t.ppf(0.975, n - 1)) * std / math.sqrt(n)
    return MeanEstimate(mean, n, std, mean - half, mean + half)


def scores(accuracy: float, log_loss: float, seed: int) -> dict[str, Any]:
    """Metrics of a system with about this accuracy; its mistakes go to the next scene."""
    random = np.random.default_rng(seed)
    right = random.binomial(CLIPS_A_SCENE, np.clip(accuracy + random.normal(0, 0.12, len(SCENES)), 0.05, 0.98))
    confusion = np.diag(right)
    for scene, hits in enumerate(right):
        confusion[scene, (scene + 1) % len(SCENES)] += CLIPS_A_SCENE - hits
    total = float(right.sum()) / confusion.sum()
    return {
        "accuracy": total,
        "macro_accuracy": total,
        "log_loss": log_loss,
        "interval": [total - 0.05, total + 0.05],
        "per_class": {
            scene: {"accuracy": int(hits) / CLIPS_A_SCENE, "log_loss": log_loss, "clips": CLIPS_A_SCENE}
            for scene, hits in zip(SCENES, right, strict=True)
        },
        "per_device": {
            phone: {"accuracy": total + 0.05 - 0.02 * place, "log_loss": log_loss, "clips": 50}
            for place, phone in enumerate(PHONES)
        },
        "per_city": {},
        "confusion": confusion.tolist(),
        "classes": list(SCENES),
        "clips": int(confusion.sum()),
    }


def costs(share: float) -> dict[str, float]:
    """What a network costs that keeps this share of the parameters."""
    width = math.sqrt(share)
    return {
        "params": round(DENSE["params"] * share),
        "macs": round(DENSE["macs"] * share**1.1),
        "flash_bytes": round(DENSE["flash_bytes"] * share),
        "peak_ram_bytes": round(DENSE["peak_ram_bytes"] * width),
    }


def result(share: float, accuracy: float, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    """`result.json` of a run, without its largest parts."""
    cost, width = costs(share), math.sqrt(share)
    forms = {
        "int8": ("model_int8.tflite", share, accuracy),
        "dense_int8": ("dense_int8.tflite", 1.0, 0.64 + seed / 200),
    }
    artefacts = {
        name: {
            "path": path,
            "bytes": round(11_000 + DENSE["flash_bytes"] * of),
            "sha256": hashlib.sha256(f"{path} {of} {seed} {right}".encode()).hexdigest(),
            "cost": costs(of),
            "accuracy": scores(right, 2.2 - 1.8 * right, seed + round(1000 * of)),
            "parity": {"max_abs_error": 0.02 + seed / 1000, "label_flips": 3 + seed, "transposes": 0, "clips": 200},
        }
        for name, (path, of, right) in forms.items()
    }
    return {
        "schema": 1,
        "seed": seed,
        "recipe": {
            "name": "tau2020_dcase21",
            "model": {"name": "dcase21"},
            "data": {"name": "tau2020_mobile", "fold": 1},
        }
        | COMMON_SETTINGS
        | settings,
        "versions": {"edgeprune": "0.1.0", "python": "3.11.7", "torch": "2.13.0+cpu", "tensorflow": "2.21.0"},
        "data": {
            "name": "tau2020_mobile",
            "split": "fold1",
            "clips": {"train": 13_962, "test": 300},
            "sha256": "a3" * 32,
        },
        "pruned": {"cost": cost},
        "dense": {"cost": dict(DENSE)},
        "artefacts": artefacts,
        "latency": latency_rows(share, seed),
        "widths": {
            "dense": dict(WIDTHS),
            "pruned": {name: max(1, round(of * width) - seed % 2) for name, of in WIDTHS.items()} | {"fc1": 100},
        },
    }


def run_of(
    folder: Path,
    result: dict[str, Any] | None = None,
    seed: int = 0,
    network: NetworkName = "pruned",
    failure: str = "",
) -> ComparedRun:
    """A run of fold 1 whose `result.json` has this content; a failed one without a result."""
    if result is None:
        return ComparedRun(RunFolder(folder), seed, 1, {}, RunState.FAILED, failure=failure)
    parsed = Result.from_json(result, folder)
    return ComparedRun(RunFolder(folder), seed, 1, parsed.recipe, RunState.DONE, parsed, network=network)


def latency_rows(share: float, seed: int) -> list[dict[str, Any]]:
    rows = []
    for model, of in (("model_int8.tflite", share), ("dense_int8.tflite", 1.0)):
        measured = {"device": "host", "kind": "measured", "unit": "ms", "median": 0.2 + of + 0.01 * seed}
        counted = {"device": "cortex-m4", "kind": "emulated", "unit": "instructions", "median": 68_800_000 * of}
        rows += [row | {"model": model, "runs": 50, "threads": 1} for row in (measured, counted)]
    return rows


def variant(
    name: str,
    role: str,
    share: float,
    accuracy: float,
    folder: Path,
    seeds: Sequence[int] = SEEDS,
    settings: dict[str, Any] | None = None,
    pareto: tuple[str, ...] = (),
) -> Variant:
    """A variant all of whose runs finished; each seed is a little better than the one before."""
    slug = name.replace(", ", "-").replace(" ", "-").replace("/", "-")
    rights = [accuracy + 0.006 * (seed - 1) + 0.003 * math.sin(37 * accuracy + seed) for seed in seeds]
    network: NetworkName = "dense" if role == "dense" else "pruned"
    runs = tuple(
        run_of(folder / f"{slug}-seed{seed}", result(share, right, seed, _nested(settings or {})), seed, network)
        for seed, right in zip(seeds, rights, strict=True)
    )
    losses = [2.2 - 1.8 * right for right in rights]
    return Variant(
        name=name,
        role=role,
        settings=settings or {},
        cost={
            key: estimate([value + (seed if share < 1 else 0) for seed in seeds]) for key, value in costs(share).items()
        },
        accuracy={"int8": estimate(rights)},
        log_loss={"int8": estimate(losses)},
        bytes={"int8": estimate([11_000 + DENSE["flash_bytes"] * share] * len(seeds))},
        latency=(
            Latency("host", "measured", "ms", estimate([0.2 + share + 0.01 * seed for seed in seeds])),
            Latency("cortex-m4", "emulated", "instructions", estimate([68_800_000 * share] * len(seeds))),
        ),
        pareto=pareto,
        runs=runs,
    )


def _nested(settings: dict[str, Any]) -> dict[str, Any]:
    """`{"budget.params": 1}` as `{"budget": {"params": 1}}`."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        group, _, field = name.partition(".")
        found.setdefault(group, {})[field] = value
    return found


def failed(name: str, folder: Path, reason: str, settings: dict[str, Any]) -> Variant:
    runs = tuple(run_of(folder / f"failed-seed{seed}", seed=seed, failure=reason) for seed in SEEDS)
    return Variant(name=name, role="variant", settings=settings, runs=runs)


def fronts(one: Variant, others: Sequence[Variant]) -> tuple[str, ...]:
    """Costs for which no other variant is at least as cheap and more accurate, or cheaper and as accurate."""
    there = [other for other in others if other.accuracy and other.role in ("dense", "variant")]
    if one not in there:
        return ()
    mine = one.accuracy["int8"].mean
    return tuple(
        key
        for key in DENSE
        if not any(
            (other.cost[key].mean <= one.cost[key].mean and other.accuracy["int8"].mean > mine)
            or (other.cost[key].mean < one.cost[key].mean and other.accuracy["int8"].mean >= mine)
            for other in there
        )
    )


def with_differences(found: Variant, controls: Sequence[Variant], fmt: str = "int8") -> Variant:
    """The variant with its paired differences to each control, of accuracy and log loss."""
    differences = []
    for control in controls:
        if control.name == found.name:
            continue
        for metric, sign in (("accuracy", 1.0), ("log_loss", -1.8)):
            base = getattr(control, metric).get(fmt)
            mine = getattr(found, metric).get(fmt)
            if base is None or mine is None:
                continue
            gap = mine.mean - base.mean
            paired = estimate([gap + sign * 0.002 * (place - (mine.n - 1) / 2) for place in range(mine.n)])
            differences.append(
                PairedDifference(control.name, metric, paired, None if mine.n == 1 else 0.003 + abs(gap))
            )
    return replace(found, differences=tuple(differences))


def example(folder: Path = Path("sweeps/tau2020")) -> Comparison:
    """3 budgets x 3 criteria x 3 seeds, dense, scratch and random; `l1, params 10k` failed, one has a single run."""
    dense = variant("dense", "dense", 1.0, 0.645, folder)
    found = [dense]
    for place, (budget, params) in enumerate(BUDGETS.items()):
        share = params / DENSE["params"]
        for rank, criterion in enumerate(CRITERIA):
            name = f"{criterion}, params {budget}"
            settings = {"prune.criterion": criterion, "budget.params": params}
            if (criterion, budget) == ("l1", "10k"):
                reason = "no allocation keeps 10,000 parameters and 2,000,000 MACs at once"
                found.append(failed(name, folder, reason, settings))
                continue
            seeds = (0,) if (criterion, budget) == ("geometric_median", "30k") else SEEDS
            front = ("macs", "params", "flash_bytes", "peak_ram_bytes") if rank == 0 else ()
            accuracy = 0.60 + 0.025 * place - 0.012 * rank
            found.append(
                variant(name, "variant", share * (0.97 - 0.01 * rank), accuracy, folder, seeds, settings, front)
            )
        for role, loss in (("scratch", 0.03), ("random", 0.05)):
            settings = {"prune.criterion": "random" if role == "random" else "operator_norm", "budget.params": params}
            name = f"{role}, params {budget}"
            found.append(variant(name, role, share * 0.97, 0.60 + 0.025 * place - loss, folder, settings=settings))
    found = [replace(one, pareto=fronts(one, found)) for one in found]
    controls = [one for one in found if one.role != "variant"]
    return Comparison(
        variants=tuple(with_differences(one, _controls_of(one, controls)) for one in found),
        format="int8",
        controls=tuple(one.name for one in controls),
        test=TEST,
        notes=(
            "l1, params 10k: 3 of 3 runs failed.",
            "geometric_median, params 30k: one seed only, so it has no interval and no p-value.",
        ),
    )


def _controls_of(one: Variant, controls: Sequence[Variant]) -> list[Variant]:
    """A control is compared with the unpruned network alone, a variant also with those of its budget."""
    budget = one.name.rpartition(" ")[2]
    near = [other for other in controls if other.role == "dense" or other.name.endswith(budget)]
    return near if one.role == "variant" else near[:1]


def large(folder: Path = Path("sweeps/large")) -> Comparison:
    """27 variants of 3 runs each, all on the front: the most that a report is asked to hold."""
    front = ("macs", "params", "flash_bytes", "peak_ram_bytes")
    found = [variant("dense", "dense", 1.0, 0.66, folder, pareto=front)]
    for place in range(26):
        name = f"criterion_{place % 3}, params {5 + place}k, keep {0.3 + place / 50:.2f}"
        settings = {"prune.criterion": f"criterion_{place % 3}", "budget.params": 5000 + 1000 * place}
        accuracy = 0.55 + 0.004 * place
        found.append(variant(name, "variant", 0.1 + place / 40, accuracy, folder, settings=settings, pareto=front))
    return Comparison(
        variants=tuple(with_differences(one, found[:1]) for one in found),
        format="int8",
        controls=("dense",),
        test=TEST,
    )


def write_predictions_of(comparison: Comparison) -> None:
    """The predictions of every finished run: the first 20 (and a clip a seed) of a scene right, the rest `tram`."""
    for one in comparison.variants:
        for run in one.runs:
            if run.result is None:
                continue
            labels = [scene for scene in SCENES for _ in range(CLIPS_A_SCENE)]
            probabilities = np.full((len(labels), len(SCENES)), 0.05)
            for clip, label in enumerate(labels):
                right = clip % CLIPS_A_SCENE < 20 + run.seed
                probabilities[clip, SCENES.index(label) if right else -1] = 0.55
            run.folder.path.mkdir(parents=True, exist_ok=True)
            names = [f"clip{clip}.wav" for clip in range(len(labels))]
            write_predictions(run.folder.predictions(run.network, "int8"), names, labels, probabilities, SCENES)


def write_results_of(comparison: Comparison) -> None:
    """The recipe and the result of every finished run."""
    for one in comparison.variants:
        for run in one.runs:
            if run.result is not None:
                write_json(run.folder.recipe_file, {**run.recipe, "seed": run.seed})
                write_json(run.folder.result_file, run.result.to_json())
