"""The journey of a run: data, dense training, pruning, fine-tuning, export, evaluation, latency, report.

Every stage leaves whole files in the run folder and is skipped where they are there, so a run that was killed goes on
where it stopped and ends with the same result. `result.json` comes last: where it is, the run is done.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from edgeprune import console
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.files import cannot_write, read_json, sha256_file, write_json
from edgeprune.recipe import Budget, Data, LogMel, Recipe, Train
from edgeprune.recipe_files import RECIPE, differences, from_dict
from edgeprune.version import __version__

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from edgeprune.data.image_data import ImageData
    from edgeprune.data.scene_data import SceneData
    from edgeprune.devices.request import Inputs
    from edgeprune.models.checkpoint import Checkpoint
    from edgeprune.models.registry import ModelSpec
    from edgeprune.pruning.allocation.pruning_steps import PruningStep
    from edgeprune.pruning.prune import ScoredNetwork

    RunData: TypeAlias = SceneData | ImageData

SCHEMA = 1
RESULT, LATENCY = "result.json", "latency.json"
PREFIXES = {"dense": "dense", "pruned": "model"}
"""How the names of exported files begin, by network."""
PARITY_PATCHES = 200
"""Patches of the evaluation part, evenly spaced, on which an exported file is compared with its network."""

_MACHINE_FIELDS = {"data": ("root", "cache", "workers"), "train": ("threads",), "finetune": ("threads",)}
_PACKAGES = (
    "torch", "lightning", "torch-pruning", "librosa", "numpy", "scipy", "pandas", "soundfile", "soxr", "onnx",
    "onnxruntime", "onnx2tf", "tensorflow", "ai-edge-litert",
)  # fmt: skip


def run(recipe: Recipe) -> dict[str, Any]:
    """Do or resume everything a recipe says; returns the content of `result.json`.

    Raises:
        EdgepruneError: wrong input of any kind; the folder holds another recipe's run, or another process works in it.
        InfeasibleBudgetError: no allocation meets the budget.
        CheckFailedError: an exported file does not compute what its network does.
    """
    check(recipe)
    folder = recipe.folder()
    with run_folder(folder):
        _keep_recipe(folder, recipe)
        if (folder / RESULT).is_file():
            console.say(f"{folder}: this run is done; its result is read, nothing is computed again")
            done: dict[str, Any] = read_json(folder / RESULT)
            return done
        return Journey(recipe, folder).go()


def check(recipe: Recipe) -> None:
    """Raise EdgepruneError for what can be known to be wrong before hours of work."""
    from edgeprune.convert.tflite_export import check_formats
    from edgeprune.models.registry import entry
    from edgeprune.pruning.scores import criterion

    entry(recipe.model.name)
    if criterion(recipe.prune.criterion).needs == "batch_norm":
        _check_batch_norm(recipe)
    check_formats(recipe.export.formats)
    if recipe.export.dense_formats:
        check_formats(recipe.export.dense_formats)
    thread_counts(recipe)
    recipe.frontend.check()
    recipe.prune.check()
    _check_plan(recipe)
    _check_devices(recipe)
    for name, value in (("train.epochs", recipe.train.epochs), ("finetune.epochs", recipe.finetune.epochs)):
        if value < 0:
            raise EdgepruneError(f"{name}: {value} epochs; give 0 or more.")
    for name, value in (("train.shift", recipe.train.shift), ("finetune.shift", recipe.finetune.shift)):
        if value < 0:
            raise EdgepruneError(f"{name}: {value} pixels; give 0 or more.")
    if has_images(recipe.data):
        _check_images(recipe)
    if recipe.bench.runs < 1:
        raise EdgepruneError(f"bench.runs: {recipe.bench.runs}; give at least 1 (50 for a figure to publish).")


def _check_plan(recipe: Recipe) -> None:
    from edgeprune.pruning.allocation.objective import check_objective

    check_objective(recipe.prune.objective)
    _network_budget(recipe)
    limit = recipe.budget.latency()
    if limit is not None and limit[1] != "host" and recipe.prune.profile is None:
        raise EdgepruneError(
            f"budget.latency_ms: device '{limit[1]}' cannot be profiled in a run; give its table with --prune.profile."
        )


def _network_budget(recipe: Recipe) -> Budget:
    """What the budget leaves the network beside its front-end."""
    from edgeprune.firmware.frontend_budget import left_for_network

    return left_for_network(recipe.budget, None if has_images(recipe.data) else recipe.frontend)


def _check_devices(recipe: Recipe) -> None:
    """A device that cannot be used is told now; whether a board answers is seen when it is asked."""
    from edgeprune.devices.find import require_device

    bench = recipe.bench
    if not bench.timeout_s > 0:
        raise EdgepruneError(f"bench.timeout_s: {bench.timeout_s:g}; give seconds above 0.")
    for name in bench.devices:
        require_device(name)
        if name != "host" and "int8" not in recipe.export.formats:
            raise EdgepruneError(f"bench.devices: {name} takes the int8 file; put int8 among --export.formats.")


def _check_batch_norm(recipe: Recipe) -> None:
    from edgeprune.graph.cost import graph_of
    from edgeprune.models.registry import make_spec

    graph = graph_of(make_spec(recipe.model.name, width=0.1))
    layers = {path for group in graph.prunable(recipe.prune.dense_layers).values() for path in group.layers}
    bare = [operator.name for operator in graph.operators if operator.path in layers and not operator.norm]
    if bare:
        raise EdgepruneError(
            f"prune.criterion {recipe.prune.criterion}: no batch norm follows {', '.join(bare)} of "
            f"{recipe.model.name}; choose another criterion."
        )


def _check_images(recipe: Recipe) -> None:
    for part, train in (("train", recipe.train), ("finetune", recipe.finetune)):
        if train.epochs and train.time_roll:
            raise EdgepruneError(
                f"{part}.time_roll: rolls clips in time, and {recipe.data.name} holds images; turn it off with "
                f"--{part}.no-time-roll."
            )


def thread_counts(recipe: Recipe) -> list[int]:
    """`bench.threads` as numbers.

    Raises:
        EdgepruneError: one is not a whole number above 0.
    """
    for text in recipe.bench.threads:
        if not text.isdigit() or int(text) < 1:
            raise EdgepruneError(f"bench.threads: '{text}' is no number of threads; write 1 or 1,2,4.")
    return [int(text) for text in recipe.bench.threads]


@contextmanager
def run_folder(folder: Path) -> Iterator[None]:
    """The folder made, locked against other processes, and its log open."""
    import filelock

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / ".lock", timeout=0), console.logging_to(folder / "log.txt"):
            yield
    except filelock.Timeout as error:
        raise EdgepruneError(
            f"{folder}: another process works in this run folder; wait for it or choose --out."
        ) from error
    except OSError as error:
        raise cannot_write(error.filename or folder, error) from error


def identity(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe's fields that decide the result: not where the data lie, nor how many threads are used."""
    kept = {name: value for name, value in recipe.items() if name != "out"}
    for part, fields in _MACHINE_FIELDS.items():
        kept[part] = {name: value for name, value in kept[part].items() if name not in fields}
    return kept


def _keep_recipe(folder: Path, recipe: Recipe) -> None:
    """Write `recipe.json`, or refuse a folder that holds the run of another recipe."""
    path, new = folder / RECIPE, recipe.to_dict()
    if path.is_file():
        changed = differences(identity(to_known_fields(read_json(path))), identity(new))
        if changed:
            raise EdgepruneError(
                f"{folder}: holds a run with other settings ({'; '.join(changed)}); choose another --out."
            )
    write_json(path, new)


def to_known_fields(stored: dict[str, Any]) -> dict[str, Any]:
    """A stored recipe with fields that are newer than it at their defaults."""
    return from_dict(stored).to_dict()


@dataclass
class Journey:
    """One run on its way; each method is a stage that reads what the stages before it left in `folder`."""

    recipe: Recipe
    folder: Path

    def go(self) -> dict[str, Any]:
        from edgeprune.reporting.report import write_report
        from edgeprune.training.fit import use_threads

        recipe = self.recipe
        console.say(f"run {recipe.name}: folder {self.folder}, seed {recipe.seed}")
        data: RunData = load_data(recipe.data, recipe.frontend, recipe.seed)
        refuse_unlabelled_test(data.card.name, data.test)
        if not (self.folder / "pruned.ckpt").is_file():
            self._given_profile(model_spec(recipe, data))  # a wrong one is told before hours of training
        use_threads(recipe.train.threads)
        dense = self.dense(data)
        data = data.with_normalisation(normalisation_of(dense))
        pruned = self.pruned(data, dense)
        networks = {"dense": dense, "pruned": pruned}
        formats = {"dense": recipe.export.dense_formats, "pruned": recipe.export.formats}
        for stage, network in networks.items():
            if formats[stage]:
                export_network(self.folder, network, data, formats[stage], PREFIXES[stage], recipe)
        artefacts = self.evaluate(data, formats)
        latency = self.latency(artefacts, data)
        result = self.result(data, networks, artefacts, latency)
        write_report(result, self.folder / "report.html")
        write_json(self.folder / RESULT, result)
        console.say(f"done: {self.folder / RESULT} and {self.folder / 'report.html'}")
        return result

    def dense(self, data: RunData) -> Checkpoint:
        """The unpruned network: trained, or taken from `dense_from`."""
        from edgeprune.models import checkpoint
        from edgeprune.models.registry import build

        path = self.folder / "dense.ckpt"
        if path.is_file():
            return checkpoint.load(path)
        if self.recipe.dense_from is not None:
            found = self._adopted(data, self.recipe.dense_from)
            checkpoint.save(path, found.spec, found.model, found.extra)
            return found
        spec = model_spec(self.recipe, data)
        import torch

        torch.manual_seed(self.recipe.seed)
        model = build(spec)
        if self.recipe.model.audioset_weights is not None:
            self._load_audioset(model, data)
        history = self._fit(model, data, "dense")
        checkpoint.save(path, spec, model, self._extra(data, history))
        self._forget_training("dense")
        return checkpoint.load(path)

    def pruned(self, data: RunData, dense: Checkpoint) -> Checkpoint:
        """The dense network without the filters the budget has no room for, fine-tuned; in one step or several."""
        from edgeprune.graph.cost import cost, graph_of
        from edgeprune.models import checkpoint
        from edgeprune.pruning.allocation.pruning_steps import pruning_steps

        recipe = self.recipe
        if (self.folder / "pruned.ckpt").is_file():
            return checkpoint.load(self.folder / "pruned.ckpt")
        table = self._latency_table(data, dense)
        groups = graph_of(dense.spec).prunable(recipe.prune.dense_layers)
        filters = {name: group.filters for name, group in groups.items()}
        whole_ms = None if table is None else float(table.latency_ms([list(filters.values())], list(filters))[0])
        network = dense
        for step in pruning_steps(
            cost(dense.spec), filters, _network_budget(recipe), recipe.prune, self._finetuning().epochs, whole_ms
        ):
            path = self.folder / ("pruned.ckpt" if step.last else f"pruned_{step.number}.ckpt")
            if not path.is_file():
                self._prune(path, data, dense, network, step, table)
            network = checkpoint.load(path)
        return network

    def _prune(
        self, path: Path, data: RunData, dense: Checkpoint, network: Checkpoint, step: PruningStep, table: Any
    ) -> None:
        """Score, choose, cut and fine-tune: one step of the way from `network` to the budget."""
        import torch

        from edgeprune.evaluation.predict import torch_probabilities
        from edgeprune.graph import surgery
        from edgeprune.models import checkpoint
        from edgeprune.models.registry import build

        recipe = self.recipe
        torch.manual_seed(recipe.seed + step.number - 1)
        scored = self._score(data, network)
        plan = scored.allocate(step.budget, table, step.caps)
        kept = scored.kept(plan)
        model, spec = surgery.remove_filters(network.model, network.spec, kept)
        console.say(
            f"pruned by {recipe.prune.criterion}{'' if step.of == 1 else f', step {step.number} of {step.of}'}: "
            f"{_changes(network.spec.widths, plan.widths)}; {plan.cost.params:,} parameters, {plan.cost.macs:,} MACs"
        )
        untuned = scores_of(
            torch_probabilities(model, data.patches(data.test), time_first(spec.name)), data.test, data.classes
        )
        torch.manual_seed(recipe.seed + step.number)
        if recipe.prune.restart:
            console.say("its weights are drawn anew: the control that is trained from scratch")
            model = build(spec)
        part = "finetune" if step.last else f"finetune_{step.number}"
        before = [] if step.number == 1 else network.extra["history"]
        history = [*before, *self._fit(model, data, part, dense, step.epochs)]
        extra = self._extra(data, history) | {
            "budget": {**plan.to_dict(), "asked": asdict(step.budget)},
            "kept": kept,
            "before_finetuning": untuned,
        }
        checkpoint.save(path, spec, model, extra)
        self._forget_training(part)

    def _score(self, data: RunData, network: Checkpoint) -> ScoredNetwork:
        """The network with its filters scored, on training clips where the criterion looks at clips."""
        import torch

        from edgeprune.graph.cost import graph_of
        from edgeprune.pruning.prune import score_filters
        from edgeprune.pruning.scores import criterion

        prune = self.recipe.prune
        batches = score_batches(data, self.recipe, prune.criterion) if criterion(prune.criterion).active else None
        example = torch.zeros(1, *network.spec.input_shape)
        clips = sensitivity_batches(data, self.recipe)
        return score_filters(network.model, example, graph_of(network.spec), prune, batches, clips)

    def _latency_table(self, data: RunData, dense: Checkpoint) -> Any:
        """The profile a limit on latency is held to: the recipe's, or one of the dense network's int8 file."""
        limit = self.recipe.budget.latency()
        if limit is None:
            return None
        from edgeprune.devices.latency_profile import LatencyProfile
        from edgeprune.devices.profiling import profile
        from edgeprune.graph.cost import graph_of

        given = self._given_profile(dense.spec)
        if given is not None:
            return given
        stored = self.folder / f"profile_{limit[1]}.json"
        if not stored.is_file():
            path = export_network(self.folder, dense, data, ("int8",), PREFIXES["dense"], self.recipe)["int8"]
            profile(path, graph_of(dense.spec), limit[1]).save(stored)
        return LatencyProfile.load(stored)

    def _given_profile(self, spec: ModelSpec) -> Any:
        """The recipe's profile of the device whose latency is limited; None where there is none."""
        from edgeprune.devices.latency_profile import LatencyProfile
        from edgeprune.graph.cost import graph_of

        limit, path = self.recipe.budget.latency(), self.recipe.prune.profile
        if limit is None or path is None:
            return None
        return LatencyProfile.load(path).of(limit[1], graph_of(spec), path)

    def evaluate(self, data: RunData, formats: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Any]]:
        """Run every exported file over the evaluation part; predictions are kept as CSV, metrics come from those."""
        artefacts = {}
        for stage, prefix in PREFIXES.items():
            for format in formats[stage]:
                key = format if stage == "pruned" else f"dense_{format}"
                path = self.folder / f"{prefix}_{format}.tflite"
                artefacts[key] = self._evaluate_file(key, path, data)
        return artefacts

    def _evaluate_file(self, key: str, path: Path, data: RunData) -> dict[str, Any]:
        from edgeprune.evaluation.predictions import read_predictions, write_predictions
        from edgeprune.tflite.cost import cost_of_tflite, costs_of
        from edgeprune.tflite.sidecar import read_sidecar

        sidecar = read_sidecar(path)
        table = self.folder / f"predictions_{key}.csv"
        names, labels = list(data.test["filename"]), list(data.test["label"])
        if not table.is_file():
            write_predictions(table, names, labels, file_predictions(path, data, data.test), data.classes)
        predictions = read_predictions(table, data.classes)
        if predictions.filenames != names or predictions.labels != labels:
            raise EdgepruneError(f"{table}: holds other clips than the split; delete it and run again.")
        scores = scores_of(predictions.probabilities, data.test, data.classes)
        console.say(f"{path.name}: accuracy {scores['accuracy']:.4f}, log loss {scores['log_loss']:.4f}")
        return {
            "path": path.name,
            "bytes": sidecar["bytes"],
            "sha256": sidecar["sha256"],
            "cost": costs_of(cost_of_tflite(path)),
            "accuracy": scores,
            "parity": sidecar["extra"]["parity"],
        }

    def latency(self, artefacts: Mapping[str, Mapping[str, Any]], data: RunData) -> list[dict[str, Any]]:
        """The files on every device of the recipe; measured once and kept with the hashes of the files.

        What one device told is kept before the next is asked.
        """
        from edgeprune.devices.bench import bench as measure

        stored, bench = self.folder / LATENCY, self.recipe.bench
        kept: list[dict[str, Any]] = read_json(stored) if stored.is_file() else []
        rows: list[dict[str, Any]] = []
        for device in bench.devices:
            paths = [self.folder / artefact["path"] for artefact in _taken(artefacts, device)]
            hashes = {sha256_file(path) for path in paths}
            of_device = [row for row in kept if row["device"] == device and row["sha256"] in hashes]
            if {row["sha256"] for row in of_device} != hashes:
                threads = tuple(thread_counts(self.recipe)) if device == "host" else (1,)
                clips = self._device_inputs(data)
                measured = measure(
                    paths, device, runs=bench.runs, threads=threads, clips=clips, timeout_s=bench.timeout_s
                )
                of_device = measured.to_json()
            rows += of_device
            write_json(stored, rows)
        return rows

    def frontend(self) -> dict[str, Any] | None:
        """What the log-mel front-end in C takes beside the network; None for images, and where C does not take it.

        Instructions a hop are counted on the emulated processors among the recipe's devices.
        """
        if has_images(self.recipe.data):
            return None
        from edgeprune.devices.find import find_device
        from edgeprune.devices.frontend_cost import instructions_per_hop
        from edgeprune.firmware.frontend import frontend_cost

        spec = self.recipe.frontend
        try:
            found = frontend_cost(spec, quantised="int8" in self.recipe.export.formats)
        except EdgepruneError as error:
            console.say(f"no front-end in C: {error}")
            return None
        boards = [name for name in self.recipe.bench.devices if find_device(name).module == "cortex_m"]
        return {
            "ram_bytes": found.ram_bytes,
            "flash_bytes": found.flash_bytes,
            "hop_s": spec.hop_samples / spec.sample_rate,
            "emulated": [asdict(instructions_per_hop(spec, board, self.recipe.bench.timeout_s)) for board in boards],
        }

    def _device_inputs(self, data: RunData) -> Inputs:
        """Evaluation clips, evenly spaced, in TFLite's layout."""
        from edgeprune.data.scene_data import evenly
        from edgeprune.devices.request import CLIPS, Inputs
        from edgeprune.evaluation.predict import evenly_spaced_inputs

        patches = data.patches(evenly(data.test, CLIPS))
        values = evenly_spaced_inputs(patches, CLIPS, time_first(self.recipe.model.name)).transpose(0, 2, 3, 1)
        return Inputs(values.copy(), f"{len(values)} test inputs of {data.card.name}, fold {self.recipe.data.fold}")

    def result(
        self,
        data: RunData,
        networks: Mapping[str, Checkpoint],
        artefacts: Mapping[str, Any],
        latency: Sequence[Mapping[str, Any]],
    ) -> dict[str, Any]:
        """The content of `result.json`."""
        from edgeprune.evaluation.predict import torch_probabilities
        from edgeprune.graph.cost import cost

        stages: dict[str, Any] = {}
        for stage, network in networks.items():
            probabilities = torch_probabilities(network.model, data.patches(data.test), time_first(network.spec.name))
            stages[stage] = {
                "cost": cost(network.spec).to_dict(),
                "accuracy": scores_of(probabilities, data.test, data.classes),
            }
            onnx_path = self.folder / f"{PREFIXES[stage]}.onnx"
            if onnx_path.is_file():
                stages[stage]["onnx"] = {"path": onnx_path.name, "sha256": sha256_file(onnx_path)}
        pruned = networks["pruned"]
        stages["pruned"]["before_finetuning"] = pruned.extra["before_finetuning"]
        return {
            "schema": SCHEMA,
            "recipe": self.recipe.to_dict(),
            "seed": self.recipe.seed,
            "versions": versions(),
            "data": {
                "name": data.card.name,
                "split": f"fold{self.recipe.data.fold}"
                + (f"-{self.recipe.data.subset}" if self.recipe.data.subset else ""),
                "clips": _clip_counts(data),
                "sha256": data.sha256,
            },
            **stages,
            "budget": self._budget(pruned, artefacts),
            "artefacts": dict(artefacts),
            "latency": list(latency),
            "frontend": self.frontend(),
            "widths": {stage: dict(network.spec.widths) for stage, network in networks.items()},
            "history": {"dense": networks["dense"].extra["history"], "finetune": pruned.extra["history"]},
        }

    def _budget(self, pruned: Checkpoint, artefacts: Mapping[str, Any]) -> dict[str, Any]:
        """Asked and reached; the latter read from a file that ships, if there is one."""
        from edgeprune.graph.cost import cost
        from edgeprune.pruning.allocation.allocate import COSTS

        kept = pruned.extra["budget"]
        shipped = [artefacts[name] for name in ("int8", *self.recipe.export.formats) if name in artefacts]
        found = shipped[0]["cost"] if shipped else cost(pruned.spec).to_dict()
        reached = {name: found[field] for name, field in COSTS.items()}
        planned = kept.get("reached", {})  # runs begun by an earlier version kept less
        if "latency_ms" in planned:
            reached["latency_ms"] = planned["latency_ms"]
        shared = self._frontend_bytes()
        for name, taken in shared.items():
            reached[name] += taken
        limits = self.recipe.budget.sizes()
        for name, value in limits.items():
            if reached[name] > value:
                where = shipped[0]["path"] if shipped else "the network"
                raise CheckFailedError(f"{where}: takes {name} {reached[name]:,} of {value:,} that the budget allows.")
        slack = {name: value - reached[name] for name, value in limits.items()}
        return {
            **kept,
            "asked": asdict(self.recipe.budget),
            "reached": reached,
            "slack": {**kept.get("slack", {}), **slack},
            "frontend": shared or None,
            "read_from": shipped[0]["path"] if shipped else "the network",
        }

    def _frontend_bytes(self) -> dict[str, int]:
        """RAM and flash of the front-end, where the budget counts them."""
        from edgeprune.firmware.frontend_budget import frontend_bytes

        counts = self.recipe.budget.include_frontend and not has_images(self.recipe.data)
        return frontend_bytes(self.recipe.frontend) if counts else {}

    def _fit(
        self, model: Any, data: RunData, part: str, teacher: Checkpoint | None = None, epochs: int | None = None
    ) -> list[dict[str, float]]:
        from edgeprune.training.fit import fit

        train = self.recipe.train if part == "dense" else self._finetuning()
        train = train if epochs is None else replace(train, epochs=epochs)
        if train.epochs == 0:
            model.eval()
            return []
        return fit(
            model,
            data.patches(data.train),
            None if data.validation is None else data.patches(data.validation),
            train,
            classes=len(data.classes),
            time_first=time_first(self.recipe.model.name),
            seed=self.recipe.seed,
            folder=self.folder / "training" / part,
            title="training" if part == "dense" else "fine-tuning",
            teacher=teacher.model if teacher is not None and train.distillation else None,
        )

    def _finetuning(self) -> Train:
        """How the network is trained after pruning."""
        recipe = self.recipe
        if not recipe.prune.restart:
            return recipe.finetune
        return replace(recipe.train, epochs=recipe.train.epochs + recipe.finetune.epochs)

    def _forget_training(self, part: str) -> None:
        """The states a killed training resumes from are large and no longer needed; its history stays."""
        for path in (self.folder / "training" / part).glob("*.ckpt"):
            path.unlink()

    def _extra(self, data: RunData, history: list[dict[str, float]]) -> dict[str, Any]:
        return {**data.describe(), "data_sha256": data.sha256, "history": history}

    def _adopted(self, data: RunData, path: Path) -> Checkpoint:
        """A dense network of another run, if it was trained on this split with this front-end."""
        from edgeprune.models import checkpoint

        found = checkpoint.load(path)
        spec = model_spec(self.recipe, data)
        ours = data.describe()["frontend"]
        same_input = {**found.extra["frontend"], "patch_hop_frames": 0} == {**ours, "patch_hop_frames": 0}
        if found.spec != spec or not same_input:
            raise EdgepruneError(
                f"{path}: is a network of another kind, input or front-end than the recipe's; train one."
            )
        if found.extra["data_sha256"] != data.sha256:
            raise EdgepruneError(
                f"{path}: was trained on another split, which may hold this one's evaluation clips; train one on this."
            )
        return found

    def _load_audioset(self, model: Any, data: RunData) -> None:
        from edgeprune.models import vggish

        name, path = self.recipe.model.name, self.recipe.model.audioset_weights
        assert path is not None
        if name == "vggish":
            loaded = vggish.load_audioset_weights(model, path)
        elif name == "cnn14":
            from edgeprune.models import cnn14

            loaded = cnn14.load_panns_weights(model, path, data.normalisation.mean, data.normalisation.std)
        else:
            raise EdgepruneError(
                f"model.audioset_weights: only vggish and cnn14 can start from AudioSet weights, not {name}."
            )
        console.say(f"AudioSet weights loaded: {', '.join(loaded)}")


def load_data(data: Data, frontend: LogMel, seed: int = 0) -> RunData:
    """Clips or images, as the card says, made ready for a network; the front-end plays no part for images.

    Raises:
        EdgepruneError: the data cannot be used (see `audio.scene_data` and `images.image_data`).
    """
    if has_images(data):
        from edgeprune.data.image_data import load_images

        return load_images(data, seed)
    from edgeprune.data import scene_data

    return scene_data.load_data(data, frontend, seed)


def has_images(data: Data) -> bool:
    """Whether a data set holds images rather than clips."""
    from edgeprune.data.cards import load_card

    return load_card(data.name).kind == "images"


def _changes(before: Mapping[str, int], after: Mapping[str, int], most: int = 12) -> str:
    """Widths in words: each of a few, the sum of many."""
    if len(after) > most:
        return f"{sum(after.values()):,} of {sum(before[name] for name in after):,} filters stay in {len(after)} groups"
    return ", ".join(f"{name} {before[name]} -> {width}" for name, width in after.items())


def model_spec(recipe: Recipe, data: RunData) -> Any:
    """The spec of the recipe's unpruned network for these classes and patches or images."""
    from edgeprune.models.registry import make_spec

    channels, height, width = data.input_shape
    shape = (channels, width, height) if time_first(recipe.model.name) else data.input_shape
    return make_spec(recipe.model.name, len(data.classes), shape, recipe.model.width)


def score_batches(data: RunData, recipe: Recipe, name: str) -> Iterator[tuple[Any, Any]]:
    """What active criteria look at: network inputs and labels of evenly spaced training clips, batch by batch.

    Args:
        name: of the criterion, for the progress bar.
    """
    yield from _batches(data, data.train, recipe, f"scoring by {name}")


def sensitivity_batches(data: RunData, recipe: Recipe) -> Iterator[tuple[Any, Any]]:
    """The same of validation clips, for the objective sensitivity; of training clips where none are held out."""
    yield from _batches(data, data.train if data.validation is None else data.validation, recipe, "reading clips")


def _batches(
    data: RunData, clips: pd.DataFrame, recipe: Recipe, title: str, size: int = 20
) -> Iterator[tuple[Any, Any]]:
    from edgeprune.data.scene_data import evenly
    from edgeprune.evaluation.predict import to_network

    patches = data.patches(evenly(clips, recipe.prune.clips))
    first = time_first(recipe.model.name)
    starts = range(0, len(patches), size)
    for start in console.track(starts, title, len(starts)):
        x, labels, _ = patches.__getitems__(range(start, min(start + size, len(patches))))
        yield to_network(x, first), labels


def time_first(model_name: str) -> bool:
    """Whether a network takes `[1, frames, mels]`."""
    from edgeprune.models.registry import entry

    return entry(model_name).time_first


def normalisation_of(network: Checkpoint) -> Any:
    """The normalisation a checkpoint was trained with."""
    from edgeprune.data.normalisation import Normalisation

    return Normalisation.from_dict(network.extra["normalisation"])


def export_network(
    folder: Path, network: Checkpoint, data: RunData, formats: Sequence[str], prefix: str, recipe: Recipe
) -> dict[str, Path]:
    """Write `<prefix>.onnx` and `<prefix>_<format>.tflite` with their sidecars, parity checked; whole ones are kept.

    Raises:
        CheckFailedError: a file does not compute what the network does.
    """
    from edgeprune.convert.onnx_export import export_onnx
    from edgeprune.convert.parity import check_onnx, check_tflite, reference_outputs
    from edgeprune.convert.tflite_export import convert
    from edgeprune.data.scene_data import evenly
    from edgeprune.evaluation.predict import evenly_spaced_inputs
    from edgeprune.graph.cost import cost
    from edgeprune.tflite.cost import check_cost
    from edgeprune.tflite.description import Description
    from edgeprune.tflite.sidecar import write_sidecar

    paths = {format: folder / f"{prefix}_{format}.tflite" for format in formats}
    missing = [format for format, path in paths.items() if not _is_exported(path)]
    if not missing:
        return paths
    console.say(f"exporting {prefix}: {', '.join(missing)}")
    first = time_first(network.spec.name)
    onnx_path = export_onnx(network.model, network.spec.input_shape, folder / f"{prefix}.onnx")
    inputs = evenly_spaced_inputs(data.patches(data.test), PARITY_PATCHES, first)
    parity_onnx = asdict(check_onnx(network.model, onnx_path, inputs))
    calibration_clips = evenly(data.train, recipe.export.calibration_clips)
    calibration = evenly_spaced_inputs(data.patches(calibration_clips), PARITY_PATCHES, first)
    described: dict[str, Any] = {**data.describe(), "model": network.spec.to_dict()}
    convert(onnx_path, folder, missing, calibration, {**described, "edgeprune": __version__}, prefix=prefix)
    reference = reference_outputs(network.model, inputs)
    promised = cost(network.spec)
    for format in missing:
        check_cost(promised, paths[format])
        parity = check_tflite(reference, paths[format], inputs, format)
        extra = {"parity": asdict(parity), "parity_onnx": parity_onnx}
        write_sidecar(paths[format], Description.from_dict(described), extra)
    return paths


def _is_exported(path: Path) -> bool:
    """Whether an exported file lies beside the sidecar that was written once it had passed its checks."""
    from edgeprune.tflite.sidecar import read_sidecar, sidecar_path

    if not path.is_file() or not sidecar_path(path).is_file():
        return False
    read_sidecar(path)
    return True


def file_predictions(path: Path, data: RunData, clips: pd.DataFrame) -> np.ndarray:
    """Class probabilities `[clips, classes]` that a .tflite gives the clips."""
    import os

    from edgeprune.evaluation.predict import file_probabilities
    from edgeprune.tflite.interpreter import TFLiteModel
    from edgeprune.tflite.metadata import read_description

    model = TFLiteModel(path, threads=os.cpu_count() or 1)
    first = read_description(path).layout == "frames_mels"
    return file_probabilities(model, data.patches(clips), first, title=f"evaluating {path.name}")


def refuse_unlabelled_test(name: str, test: pd.DataFrame) -> None:
    """Raise EdgepruneError if clips of the evaluation part have no label, as a publisher's test list may."""
    bare = test["filename"][test["label"] == ""]
    if len(bare):
        raise EdgepruneError(
            f"{name}: {len(bare)} clips of the evaluation part have no label, {bare.iloc[0]} first; "
            "use the publisher's list that has them (fold1_evaluate)."
        )


def scores_of(probabilities: np.ndarray, clips: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """Metrics of some clips' probabilities `[clips, classes]`, those of `evaluation.scene.evaluate`."""
    from edgeprune.evaluation.scene import evaluate as metrics

    known = {kind: list(clips[kind]) if clips[kind].ne("").all() else None for kind in ("device", "city")}
    return metrics(list(clips["label"]), probabilities, classes, known["device"], known["city"])


def _taken(artefacts: Mapping[str, Mapping[str, Any]], device: str) -> list[Mapping[str, Any]]:
    """The files a device is asked about: all on the host, the int8 ones elsewhere."""
    if device == "host":
        return list(artefacts.values())
    return [artefacts[name] for name in ("dense_int8", "int8") if name in artefacts]


def _clip_counts(data: RunData) -> dict[str, int]:
    held = 0 if data.validation is None else len(data.validation)
    return {"train": len(data.train), "validation": held, "test": len(data.test)}


def versions() -> dict[str, str]:
    """Versions of what computed a result."""
    found = {"edgeprune": __version__, "python": platform.python_version(), "platform": sys.platform}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
