"""The meta file: figures and settings of the run in the fields of a challenge."""

from collections.abc import Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from edgeprune.audio.logmel import Frontend, patch_starts
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.recipe import Recipe
from edgeprune.recipe_files import differences
from edgeprune.results.figures import GroupScores
from edgeprune.submitting.rules import check_rules
from edgeprune.submitting.shipped import Shipped, nonzero_params
from edgeprune.submitting.template import ChallengeTemplate
from edgeprune.tflite.cost import cost_of_tflite


def complexity(shipped: Shipped, template: ChallengeTemplate) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Figures of the file in the template's fields, and the verdicts of the year's rules."""
    cost, nonzero = cost_of_tflite(shipped.path), nonzero_params(shipped.path)
    nonzero = nonzero if nonzero is not None and nonzero <= cost.params else None
    verdicts = check_rules(template.name, cost, shipped.bits, nonzero, shipped.recipe.frontend.patch_s)
    failed = [verdict for verdict in verdicts if not verdict.passed]
    if failed:
        which = "; ".join(f"{each.rule} {each.counted:,} of at most {each.limit:,} ({each.how})" for each in failed)
        raise CheckFailedError(f"{shipped.path}: breaks the rules of {template.name}: {which}; prune it further.")
    counted = {verdict.rule: verdict.counted for verdict in verdicts}
    known = {
        "total_model_size": counted.get("memory"),
        "total_parameters": cost.params,
        "total_parameters_non_zero": nonzero,
        "memory_use": cost.peak_ram_bytes,
        "macs": counted.get("macs", cost.macs),
    }
    names = template.required["system.complexity"]
    figures = {name: value for name in names if (value := known[name]) is not None}
    return figures, [{**asdict(verdict), "word": verdict.word} for verdict in verdicts]


def results(shipped: Shipped, template: ChallengeTemplate) -> dict[str, Any]:
    """Accuracy, percent, and log loss, nats, of the run's evaluation part: overall, by class and by device.

    The overall values are means over the classes, as in the baselines. What is not known is left out.
    """
    groups = shipped.file.scores.groups

    def metrics(scores: GroupScores) -> dict[str, float]:
        known = {"accuracy": None if scores.accuracy is None else 100 * scores.accuracy, "logloss": scores.log_loss}
        return {name: round(value, 4) for name in template.metrics if (value := known[name]) is not None}

    by_class, by_device = (
        {name: metrics(groups[kind][name]) for name in names if name in groups.get(kind, {})}
        for kind, names in (("class", template.classes), ("device", template.devices))
    )
    overall = {}
    if all(len(by_class.get(name, ())) == len(template.metrics) for name in template.classes):
        overall = {
            metric: round(fmean(by_class[name][metric] for name in template.classes), 4) for metric in template.metrics
        }
    return {"overall": overall, "class_wise": by_class, "device_wise": by_device}


def description(shipped: Shipped, template: ChallengeTemplate, runs: Sequence[Shipped]) -> dict[str, Any]:
    """The system in the template's words, from the recipe; null if it has nothing of the kind.

    `runs` are all of the submission, in 2024 one for each training subset.
    """
    recipe = shipped.recipe
    known = {
        "input_sampling_rate": f"{recipe.frontend.sample_rate / 1000:g}kHz",
        "acoustic_features": "log-mel energies",
        "embeddings": None,
        "data_augmentation": augmentation(recipe),
        "machine_learning_method": "ResNet" if "resnet" in recipe.model.name else "CNN",
        "ensemble_method_subsystem_count": None,
        "decision_making": None if _is_one_patch(shipped) else "average",
        "external_data_usage": "pre-trained model" if recipe.model.audioset_weights is not None else None,
        "complexity_management": management(shipped),
        "pipeline": pipeline(shipped),
        "framework": "pytorch",
        "split_adaptations": adaptations(runs),
        "device_information": None,
        "num_models_at_inference": 1,
        "model_weight_sharing": "fully shared",
    }
    return {name: known[name] for name in template.required["system.description"] if name in known}


def augmentation(recipe: Recipe) -> str | None:
    """The augmentations of training and fine-tuning, as `mixup, time rolling`."""
    stages = [train for train in (recipe.train, recipe.finetune) if train.epochs]
    is_used = {
        "mixup": any(train.mixup > 0 for train in stages),
        "time rolling": any(train.time_roll for train in stages),
        "SpecAugment": any(train.freq_mask > 0 or train.time_mask > 0 for train in stages),
        "Freq-MixStyle": any(train.mixstyle > 0 for train in stages),
    }
    return ", ".join(name for name, used in is_used.items() if used) or None


def management(shipped: Shipped) -> str | None:
    """How the network became small, as `filter pruning (operator_norm), weight quantization (int8)`."""
    recipe, methods = shipped.recipe, []
    if _is_pruned(shipped):
        methods.append(f"filter pruning ({recipe.prune.criterion})")
    if recipe.finetune.epochs > 0 and recipe.finetune.distillation > 0:
        methods.append("knowledge distillation (from the unpruned network)")
    if shipped.format != "float32":
        methods.append(f"weight quantization ({'int8' if shipped.format == 'dynamic' else shipped.format})")
    return ", ".join(methods) or None


def pipeline(shipped: Shipped) -> str:
    """The stages in order, as `training, pruning, fine-tuning, conversion to int8`."""
    recipe = shipped.recipe
    stages = {
        "pre-training (AudioSet)": recipe.model.audioset_weights is not None,
        "training": True,
        "pruning": _is_pruned(shipped),
        "fine-tuning": recipe.finetune.epochs > 0,
        f"conversion to {shipped.format}": True,
    }
    return ", ".join(name for name, is_done in stages.items() if is_done)


def adaptations(runs: Sequence[Shipped]) -> str | None:
    """The settings other than the subset in which the runs on the training subsets differ; None if there are none."""
    first = _settings(runs[0].recipe)
    names = {text.split(":")[0] for other in runs[1:] for text in differences(first, _settings(other.recipe))}
    return ", ".join(sorted(names)) or None


def _settings(recipe: Recipe) -> dict[str, Any]:
    settings = {name: value for name, value in recipe.to_dict().items() if name not in ("out", "dense_from", "name")}
    settings["data"] = {name: value for name, value in settings["data"].items() if name != "subset"}
    return settings


def _is_pruned(shipped: Shipped) -> bool:
    return shipped.dense.cost.params != shipped.pruned.cost.params


def _is_one_patch(shipped: Shipped) -> bool:
    """Whether a clip of the length on the card is a single patch; False if the card has no length."""
    spec, clip_s = shipped.recipe.frontend, shipped.card.clip_s
    if not clip_s:
        return False
    frames = Frontend(spec).frames(round(clip_s * spec.sample_rate))
    return len(patch_starts(frames, spec.patch_frames, spec.patch_hop_frames)) == 1


def by_split(runs: Sequence[Shipped], template: ChallengeTemplate) -> dict[str, Shipped]:
    """The runs by training subset, in the template's order; by `""` in years with a single output.

    A run on all clips is of `split_100`.
    """
    if not runs:
        raise EdgepruneError("submit: name the folder of a finished run.")
    if not template.splits:
        if len(runs) != 1:
            raise EdgepruneError(f"{template.name}: takes one run, not {len(runs)}; submit each under its own label.")
        return {"": runs[0]}
    by_name: dict[str, Shipped] = {}
    for run in runs:
        subset = run.recipe.data.subset
        split = f"split_{subset or '100'}"
        if split not in template.splits:
            raise EdgepruneError(
                f"{run.folder}: was trained on subset '{subset}', which {template.name} does not have."
            )
        if split in by_name:
            raise EdgepruneError(
                f"{run.folder} and {by_name[split].folder} are both of {split}; give one run a subset."
            )
        by_name[split] = run
    return {split: by_name[split] for split in template.splits if split in by_name}
