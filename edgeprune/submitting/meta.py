"""The meta file: what the run knows of its system, in a challenge's fields."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.recipe import Recipe
from edgeprune.recipe_files import differences
from edgeprune.results.figures import GroupScores
from edgeprune.submitting.rules import check_rules
from edgeprune.submitting.shipped import Shipped, nonzero_params
from edgeprune.submitting.template import ChallengeTemplate
from edgeprune.tflite.cost import cost_of_tflite

_NETWORKS = {"dcase21": "CNN", "vggish": "CNN", "cnn14": "CNN", "vgg16": "CNN", "resnet50": "ResNet"}


def complexity(shipped: Shipped, template: ChallengeTemplate) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Figures of the file in the template's fields, and the verdicts of the year's rules."""
    cost, nonzero = cost_of_tflite(shipped.path), nonzero_params(shipped.path)
    nonzero = nonzero if nonzero is not None and nonzero <= cost.params else None
    verdicts = check_rules(template.name, cost, shipped.bits, nonzero, shipped.frontend.patch_s)
    failed = [verdict for verdict in verdicts if not verdict.passed]
    if failed:
        which = "; ".join(f"{each.rule} {each.counted:,} of at most {each.limit:,} ({each.how})" for each in failed)
        raise CheckFailedError(
            f"{shipped.path}: does not keep to the rules of {template.name}: {which}; prune it further."
        )
    counted = {verdict.rule: verdict.counted for verdict in verdicts}
    known = {
        "total_model_size": counted.get("memory"),
        "total_parameters": cost.params,
        "total_parameters_non_zero": nonzero,
        "memory_use": cost.peak_ram_bytes,
        "macs": counted.get("macs", cost.macs),
    }
    fields = {name: known[name] for name in template.required["system.complexity"]}
    return (
        {name: value for name, value in fields.items() if value is not None},
        [{**asdict(verdict), "word": verdict.word} for verdict in verdicts],
    )


def results(shipped: Shipped, template: ChallengeTemplate) -> dict[str, Any]:
    """Accuracy, percent, and log loss, nats, of the run's evaluation part: overall, by class and by device.

    The overall values are means over the classes, as in the baselines. What is not known is left out.
    """
    groups = shipped.file.scores.groups
    by_class = _by(groups.get("class", {}), template.classes, template)
    overall = {}
    if all(len(by_class.get(name, ())) == len(template.metrics) for name in template.classes):
        overall = {
            metric: round(sum(by_class[name][metric] for name in template.classes) / len(template.classes), 4)
            for metric in template.metrics
        }
    by_device = _by(groups.get("device", {}), template.devices, template)
    return {"overall": overall, "class_wise": by_class, "device_wise": by_device}


def _by(
    groups: Mapping[str, GroupScores], names: Sequence[str], template: ChallengeTemplate
) -> dict[str, dict[str, float]]:
    return {name: _metrics(groups[name], template) for name in names if name in groups}


def _metrics(scores: GroupScores, template: ChallengeTemplate) -> dict[str, float]:
    known = {"accuracy": None if scores.accuracy is None else 100 * scores.accuracy, "logloss": scores.log_loss}
    return {name: round(value, 4) for name in template.metrics if (value := known[name]) is not None}


def description(shipped: Shipped, template: ChallengeTemplate, splits: Sequence[Shipped] = ()) -> dict[str, Any]:
    """The system in the template's words, from the recipe; null where there is nothing of the kind.

    Args:
        splits: all runs of the submission, where there is one a training subset.
    """
    recipe = shipped.recipe
    pretrained = recipe.model.audioset_weights is not None
    known = {
        "input_sampling_rate": f"{recipe.frontend.sample_rate / 1000:g}kHz",
        "acoustic_features": "log-mel energies",
        "embeddings": None,
        "data_augmentation": augmentation(recipe),
        "machine_learning_method": _NETWORKS.get(recipe.model.name.split("_")[0], recipe.model.name),
        "ensemble_method_subsystem_count": None,
        "decision_making": "average" if _patches(shipped) != 1 else None,
        "external_data_usage": "pre-trained model" if pretrained else None,
        "complexity_management": management(shipped),
        "pipeline": pipeline(shipped),
        "framework": "pytorch",
        "split_adaptations": adaptations(splits or [shipped]),
    }
    return {name: known[name] for name in template.required["system.description"] if name in known}


def augmentation(recipe: Recipe) -> str | None:
    """What training and fine-tuning did to the clips, as `mixup, time rolling`."""
    stages = [train for train in (recipe.train, recipe.finetune) if train.epochs]
    return ", ".join(name for name, is_used in _AUGMENTATION.items() if any(map(is_used, stages))) or None


_AUGMENTATION = {
    "mixup": lambda train: train.mixup > 0,
    "time rolling": lambda train: train.time_roll,
    "SpecAugment": lambda train: train.freq_mask > 0 or train.time_mask > 0,
    "Freq-MixStyle": lambda train: train.mixstyle > 0,
}


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
    stages = ["training"]
    if recipe.model.audioset_weights is not None:
        stages.insert(0, "pre-training (AudioSet)")
    if _is_pruned(shipped):
        stages.append("pruning")
    if recipe.finetune.epochs:
        stages.append("fine-tuning")
    return ", ".join([*stages, f"conversion to {shipped.format}"])


def adaptations(splits: Sequence[Shipped]) -> str | None:
    """In which settings the runs on the training subsets differ; null where only in the subset."""
    first = _settings(splits[0].recipe)
    names = {text.split(":")[0] for other in splits[1:] for text in differences(first, _settings(other.recipe))}
    return ", ".join(sorted(names)) or None


def _settings(recipe: Recipe) -> dict[str, Any]:
    settings = {name: value for name, value in recipe.to_dict().items() if name not in ("out", "dense_from", "name")}
    settings["data"] = {name: value for name, value in settings["data"].items() if name != "subset"}
    return settings


def _is_pruned(shipped: Shipped) -> bool:
    return shipped.dense.cost.params != shipped.pruned.cost.params


def _patches(shipped: Shipped) -> int | None:
    """Patches of a clip as long as the card says; None where it does not."""
    from edgeprune.audio.logmel import Frontend, patch_starts

    spec, clip_s = shipped.recipe.frontend, shipped.card.clip_s
    if not clip_s:
        return None
    frames = Frontend(spec).frames(round(clip_s * spec.sample_rate))
    return len(patch_starts(frames, spec.patch_frames, spec.patch_hop_frames))


def split_of(shipped: Shipped) -> str:
    """The training subset of a run, as the template names it; all clips are `split_100`."""
    return f"split_{shipped.recipe.data.subset or '100'}"


def by_split(runs: Sequence[Shipped], template: ChallengeTemplate) -> dict[str, Shipped]:
    """The runs by training subset, in the template's order; by `""` where the year has one output."""
    if not runs:
        raise EdgepruneError("submit: name the folder of a finished run.")
    if not template.splits:
        if len(runs) != 1:
            raise EdgepruneError(
                f"{template.name}: takes one run, not {len(runs)}; submit each under a label of its own."
            )
        return {"": runs[0]}
    by_name: dict[str, Shipped] = {}
    for run in runs:
        split = split_of(run)
        if split not in template.splits:
            raise EdgepruneError(
                f"{run.folder}: was trained on subset '{run.recipe.data.subset}', which {template.name} does not have."
            )
        if split in by_name:
            raise EdgepruneError(
                f"{run.folder} and {by_name[split].folder} are both of {split}; give one run a subset."
            )
        by_name[split] = run
    return {split: by_name[split] for split in template.splits if split in by_name}
