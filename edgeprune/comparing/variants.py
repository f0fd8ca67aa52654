"""Group runs that differ in seed and fold alone, and name each group."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeprune.comparing.comparison import ComparedRun
from edgeprune.comparing.words import some
from edgeprune.recipe import Budget, Model, Prune
from edgeprune.recipe_files import identity
from edgeprune.units import format_size

# Fields that differ within a variant, or on which no network depends.
_NOT_THE_NETWORK = {"seed", "data.fold", "dense_from", "export.formats", "export.dense_formats"}
_LIMITS = ("params", "macs", "peak_ram", "flash", "latency_ms")
# Neither pruning nor fine-tuning decides anything about an unpruned network.
_NOT_OF_DENSE = ("name", "prune.", "budget.", "finetune.")
_DEFAULTS = {"model": Model(), "prune": Prune(), "budget": Budget()}
_OWN_NAMES = {"model.name", "prune.criterion", "prune.objective", "prune.allocation", "data.name", "name"}
# The parts of a recipe by how much they say about a variant; its name says least.
_ORDER_IN_NAMES = ("model.", "frontend.", "data.", "train.", "finetune.", "prune.", "budget.", "export.", "")
_BYTES = {"budget.flash", "budget.peak_ram"}


@dataclass(frozen=True)
class RunGroup:
    """Runs with the same settings but for seed and fold.

    Attributes:
        settings: every recipe field that decides the network, by dotted name.
        runs: finished or not, each seed and fold once.
    """

    settings: dict[str, Any]
    role: str
    runs: tuple[ComparedRun, ...]

    @property
    def finished(self) -> list[ComparedRun]:
        """Runs that have a result."""
        return [run for run in self.runs if run.result is not None]

    def dense_settings(self) -> dict[str, Any]:
        """The settings that decide the unpruned network."""
        return {name: value for name, value in self.settings.items() if not name.startswith(_NOT_OF_DENSE)}

    def budget(self) -> tuple[Any, ...]:
        """The limits it was pruned to, and the share of filters it was to keep."""
        return tuple(self.settings.get(name) for name in (*(f"budget.{limit}" for limit in _LIMITS), "prune.keep"))


def group_runs(runs: Sequence[ComparedRun]) -> tuple[list[RunGroup], list[str]]:
    """Group runs by their settings, in the order of each group's first run.

    Of runs with the same settings, seed and fold one is kept, a finished one if there is any; notes name the others.
    """
    by_settings = defaultdict(list)
    for run in runs:
        by_settings[frozenset(settings_of(run.recipe).items())].append(run)
    groups, left_out = [], []
    for members in by_settings.values():
        first: dict[tuple[int, int], ComparedRun] = {}
        for run in sorted(members, key=lambda run: run.result is None):
            if first.setdefault((run.seed, run.fold), run) is not run:
                left_out.append(run)
        kept = tuple(run for run in members if first[run.seed, run.fold] is run)
        recipe = members[0].recipe
        groups.append(RunGroup(settings_of(recipe), role_of(recipe), kept))
    if not left_out:
        return groups, []
    paths = some(run.folder.path for run in left_out)
    repeats = f"{len(left_out)} runs repeat the seed and fold of another run of their variant"
    return groups, [f"{repeats}, so they are left out: {paths}."]


def settings_of(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a recipe that decide its network, by dotted name; lists become tuples.

    Left out are seed and fold, the devices it was timed on, the formats it was exported to, and, for a dense run,
    pruning, budget and fine-tuning.
    """
    left_out = ("bench.", *(_NOT_OF_DENSE if role_of(recipe) == "dense" else ()))
    return {
        name: value
        for name, value in _flatten(identity(dict(recipe)))
        if name not in _NOT_THE_NETWORK and not name.startswith(left_out)
    }


def role_of(recipe: Mapping[str, Any]) -> str:
    """`dense` (neither pruned nor fine-tuned), `scratch` (trained anew), `random` or `variant`."""
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


def name_groups(groups: Sequence[RunGroup]) -> list[str]:
    """Name each group by the settings that differ, such as `operator_norm, params 20k`; no name occurs twice.

    Differences of network, pruning and budget are always named. Other fields are named only where two groups would
    have the same name.
    """
    pruned = [group.settings for group in groups if group.role != "dense"]
    fields = [name for name in differing(pruned) if name.startswith(("model.", "prune.", "budget."))]
    if len(pruned) == 1:
        fields = ["prune.criterion", "prune.keep", *(f"budget.{name}" for name in _LIMITS)]
    others = [name for name in differing([group.settings for group in groups]) if name not in fields]
    others.sort(key=lambda name: next(rank for rank, part in enumerate(_ORDER_IN_NAMES) if name.startswith(part)))
    names = _with_fields(groups, [_name(group, fields) for group in groups], others)
    if len(set(names)) < len(names):  # two sizes may differ only in digits that were rounded off
        names = _with_fields(groups, [_name(group, fields, exact=True) for group in groups], others)
    repeats = [names[:place].count(name) for place, name in enumerate(names)]
    return [f"{name} #{count + 1}" if count else name for name, count in zip(names, repeats, strict=True)]


def _with_fields(groups: Sequence[RunGroup], names: list[str], fields: Sequence[str]) -> list[str]:
    """Names with the value of each field in which groups of the same name differ."""
    for field in fields:
        values = defaultdict(set)
        for name, group in zip(names, groups, strict=True):
            values[name].add(group.settings.get(field))
        names = [
            f"{name}, {_words(field, group.settings[field], exact=True, with_default=True)}"
            if len(values[name]) > 1 and field in group.settings
            else name
            for name, group in zip(names, groups, strict=True)
        ]
    return names


def _name(group: RunGroup, fields: Sequence[str], exact: bool = False) -> str:
    if group.role == "dense":
        own = [_words(field, group.settings.get(field)) for field in fields if field.startswith("model.")]
        return ", ".join(filter(None, ["dense", *own]))
    words = [_words(field, group.settings.get(field), exact) for field in fields]
    shown = [word for word in ("scratch" if group.role == "scratch" else "", *words) if word]
    limited = any(value is not None for value in group.budget()[:-1]) or group.settings["prune.keep"] != 1
    return ", ".join(shown if limited else [*shown, "no budget"]) or str(group.settings["prune.criterion"])


def _words(field: str, value: Any, exact: bool = False, with_default: bool = False) -> str:
    """A field and its value in a few words; empty for a default, unless `with_default`."""
    part, _, leaf = field.rpartition(".")
    if field in _OWN_NAMES:
        return str(value)
    if field == "prune.restart" or (not with_default and value == getattr(_DEFAULTS.get(part), leaf, None)):
        return ""  # the role says that a network was trained anew
    title = leaf.replace("_", " ") if part in (*_DEFAULTS, "frontend", "data") else field
    if part == "budget" and isinstance(value, int) and not isinstance(value, bool):
        return f"{title} {_size(value, exact)}{'B' if field in _BYTES else ''}"
    if field == "budget.latency_ms":
        limit, _, device = str(value).partition("@")
        return f"latency {limit} ms on {device or 'host'}"
    if value is True:
        return title
    number = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{title} {'+'.join(map(str, value)) if isinstance(value, tuple) else number}"


def _size(value: int, exact: bool) -> str:
    """`20k`; a long number has four digits, `7.283M`, unless it must be exact."""
    text = format_size(value)
    if exact or len(text) <= 6:
        return text
    factor, suffix = next(unit for unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if value >= unit[0])
    return f"{value / factor:.4g}{suffix}"


def _flatten(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _flatten(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _frozen(inner)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value
