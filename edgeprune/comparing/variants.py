"""Which runs are the same experiment but for seed and fold, and what to call each experiment."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeprune.comparing.load import FoundRun
from edgeprune.comparing.notes import some
from edgeprune.recipe import Budget, Model, Prune
from edgeprune.recipe_files import identity
from edgeprune.units import format_size

# What tells runs of one variant apart, where its dense network came from, and what no network depends on.
_NOT_THE_NETWORK = {"seed", "data.fold", "dense_from", "export.formats", "export.dense_formats"}
_NOT_ITS_PARTS = ("bench.",)
_LIMITS = ("params", "macs", "peak_ram", "flash", "latency_ms")
# Of an unpruned network neither pruning nor fine-tuning decides anything.
_NOT_OF_DENSE = ("name", "prune.", "budget.", "finetune.")
_UNASKED = {"model": Model(), "prune": Prune(), "budget": Budget()}
_OWN_NAMES = {"model.name", "prune.criterion", "prune.objective", "prune.allocation", "data.name", "name"}
# Which fields say most, after those that are always told; what a recipe is called says least.
_TELLING = ("model.", "frontend.", "data.", "train.", "finetune.", "prune.", "budget.", "export.", "")
_BYTES = {"budget.flash", "budget.peak_ram"}


@dataclass(frozen=True)
class Group:
    """Runs with the same settings but for seed and fold.

    Attributes:
        settings: every recipe field that decides the network, by dotted name.
        role: `dense`, `scratch`, `random` or `variant`.
        runs: finished or not, each seed and fold once.
    """

    settings: dict[str, Any]
    role: str
    runs: tuple[FoundRun, ...]

    def dense_settings(self) -> dict[str, Any]:
        """The settings that decide its unpruned network."""
        return {name: value for name, value in self.settings.items() if not name.startswith(_NOT_OF_DENSE)}

    def budget(self) -> tuple[Any, ...]:
        """What it had to fit: the limits and the share of filters."""
        return tuple(self.settings.get(name) for name in (*(f"budget.{limit}" for limit in _LIMITS), "prune.keep"))


def group_runs(runs: Sequence[FoundRun]) -> tuple[list[Group], list[str]]:
    """The groups in the order of their first runs, and notes on runs left out because their seed and fold are there."""
    by_settings: dict[frozenset[tuple[str, Any]], list[FoundRun]] = {}
    for run in runs:
        by_settings.setdefault(frozenset(settings_of(run.recipe).items()), []).append(run)
    groups, left_out = [], []
    for members in by_settings.values():
        # A finished run stands before one of the same seed and fold that is not.
        first: dict[tuple[int, int], FoundRun] = {}
        for run in sorted(members, key=lambda run: run.result is None):
            if first.setdefault((run.seed, run.fold), run) is not run:
                left_out.append(run)
        kept = tuple(run for run in members if first[run.seed, run.fold] is run)
        recipe = members[0].recipe
        groups.append(Group(settings_of(recipe), role_of(recipe), kept))
    notes = []
    if left_out:
        notes.append(
            f"{len(left_out)} runs repeat the seed and fold of another run of their variant, so they are left out: "
            f"{some(run.folder for run in left_out)}."
        )
    return groups, notes


def settings_of(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a recipe that decide its network whatever seed and fold, by dotted name; lists become tuples.

    Where it was measured and which files were made of it do not count; nor do pruning, budget and fine-tuning where
    there were none.
    """
    left_out = _NOT_OF_DENSE if role_of(recipe) == "dense" else ()
    return {
        name: value
        for name, value in _flatten(identity(dict(recipe)))
        if name not in _NOT_THE_NETWORK and not name.startswith((*_NOT_ITS_PARTS, *left_out))
    }


def role_of(recipe: Mapping[str, Any]) -> str:
    """`dense` (nothing pruned, nothing fine-tuned), `scratch`, `random` or `variant`."""
    prune = recipe["prune"]
    limited = any(recipe["budget"].get(name) is not None for name in _LIMITS)
    if prune["keep"] == 1 and not limited and recipe["finetune"]["epochs"] == 0 and not prune.get("restart"):
        return "dense"
    if prune.get("restart"):
        return "scratch"
    return "random" if prune["criterion"] == "random" else "variant"


def differing(all_settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the fields that are not the same in all settings, in the order of a recipe."""
    names = dict.fromkeys(name for settings in all_settings for name in settings)
    missing = object()
    return [name for name in names if len({settings.get(name, missing) for settings in all_settings}) > 1]


def name_groups(groups: Sequence[Group]) -> list[str]:
    """A name for each group, none twice: what the groups differ in, as `operator_norm, params 20k`.

    Network, pruning and budget are told wherever they differ; other fields only as far as it takes to tell groups
    apart.
    """
    pruned = [group.settings for group in groups if group.role != "dense"]
    fields = [name for name in differing(pruned) if name.startswith(("model.", "prune.", "budget."))]
    if len(pruned) == 1:
        fields = ["prune.criterion", "prune.keep", *(f"budget.{name}" for name in _LIMITS)]
    others = [name for name in differing([group.settings for group in groups]) if name not in fields]
    others.sort(key=lambda name: next(rank for rank, part in enumerate(_TELLING) if name.startswith(part)))
    names = _longer(groups, [_name(group, fields) for group in groups], others)
    if len(set(names)) < len(names):  # two sizes may be the same but for the digits that were left out
        names = _longer(groups, [_name(group, fields, exact=True) for group in groups], others)
    return _each_once(names)


def _longer(groups: Sequence[Group], names: list[str], fields: Sequence[str]) -> list[str]:
    """Names with the first of the fields that tell those apart which are called the same."""
    for field in fields:
        values: dict[str, set[Any]] = {}
        for name, group in zip(names, groups, strict=True):
            values.setdefault(name, set()).add(group.settings.get(field))
        names = [
            f"{name}, {_words(field, group.settings[field], exact=True, tell_all=True)}"
            if len(values[name]) > 1 and field in group.settings
            else name
            for name, group in zip(names, groups, strict=True)
        ]
    return names


def _each_once(names: Sequence[str]) -> list[str]:
    seen: Counter[str] = Counter()
    told = []
    for name in names:
        seen[name] += 1
        told.append(name if seen[name] == 1 else f"{name} #{seen[name]}")
    return told


def _name(group: Group, fields: Sequence[str], exact: bool = False) -> str:
    if group.role == "dense":
        own = [_words(field, group.settings.get(field)) for field in fields if field.startswith("model.")]
        return ", ".join(filter(None, ["dense", *own]))
    words = [_words(field, group.settings.get(field), exact) for field in fields]
    told = [word for word in ("scratch" if group.role == "scratch" else "", *words) if word]
    limited = any(value is not None for value in group.budget()[:-1]) or group.settings["prune.keep"] != 1
    return ", ".join(told if limited else [*told, "no budget"]) or str(group.settings["prune.criterion"])


def _words(field: str, value: Any, exact: bool = False, tell_all: bool = False) -> str:
    """A field and its value in a few words; empty where the value is a recipe's default and need not be told."""
    part, _, leaf = field.rpartition(".")
    if field in _OWN_NAMES:
        return str(value)
    if field == "prune.restart" or (not tell_all and value == getattr(_UNASKED.get(part), leaf, None)):
        return ""  # that a network was trained anew is told by its role
    title = leaf.replace("_", " ") if part in ("model", "prune", "budget", "frontend", "data") else field
    if part == "budget" and isinstance(value, int) and not isinstance(value, bool):
        return f"{title} {_size(value, exact)}{'B' if field in _BYTES else ''}"
    if field == "budget.latency_ms":
        limit, _, device = str(value).partition("@")
        return f"latency {limit} ms on {device or 'host'}"
    text = "+".join(map(str, value)) if isinstance(value, tuple) else f"{value:g}" if _is_number(value) else str(value)
    return title if value is True else f"{title} {text}"


def _size(value: int, exact: bool) -> str:
    """20k; of a long number four digits, 7.283M, unless it must be exact."""
    text = format_size(value)
    if exact or len(text) <= 6:
        return text
    factor, suffix = next(unit for unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if value >= unit[0])
    return f"{value / factor:.4g}{suffix}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _flatten(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _flatten(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _frozen(inner)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value
