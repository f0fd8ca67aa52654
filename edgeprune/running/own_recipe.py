"""A recipe for a folder of clips: front-end, network, budget and epochs that suit so many clips of such lengths."""

import json
import math
import re
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from edgeprune.data.scene_data import patch_shape
from edgeprune.data.survey import TABLES, Survey, survey
from edgeprune.errors import EdgepruneError, printable
from edgeprune.files import write_text
from edgeprune.models.registry import entry, make_spec
from edgeprune.recipe import Budget, Data, LogMel, Model, Prune, Recipe, Train
from edgeprune.recipe_files import recipe_names
from edgeprune.results.run_folder import RunFolder
from edgeprune.running.check import check
from edgeprune.running.check_start import check_start

_RATES = (16000, 11025, 8000)
"""Sample rates that are proposed, Hz: what microphones of devices give, and what quieter sources have."""
_MANY = 10_000
"""Training clips from which a network with more layers is worth its time."""
_HELD_OUT_FROM = 500
"""Training clips from which some are held out for validation."""
_SEEN = 60_000
"""Patches that a training sees in all its epochs."""


@dataclass(frozen=True)
class OwnRecipe:
    """A recipe that was written.

    Attributes:
        files: written, the recipe first.
        saw, chose: sentences about the clips, and about the recipe.
        warnings: what is odd about the clips.
    """

    recipe: Recipe
    files: tuple[Path, ...]
    saw: tuple[str, ...]
    chose: tuple[str, ...]
    warnings: tuple[str, ...]


def write_own_recipe(name: str, root: Path, table: str = "", folder: Path = Path()) -> OwnRecipe:
    """Look at a folder of clips and write `NAME.py` for it; also a table and a card where they are needed.

    Raises:
        EdgepruneError: the name is taken, or the clips cannot be used; nothing is left then.
    """
    path = folder / f"{name}.py"
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name) or name in recipe_names():
        raise EdgepruneError(f"'{name}': is no name for a recipe, or edgeprune's own; take letters, digits and _.")
    if path.exists():
        raise EdgepruneError(f"{path}: is there already; choose another name or remove it.")
    root = root.absolute()
    clips = survey(root, table, f"{name}.csv")
    card = None if clips.table in TABLES else (folder / f"{name}.toml").absolute()
    try:
        if card is not None:
            write_text(card, _CARD.format(name=name, table=json.dumps(clips.table, ensure_ascii=False)))
        recipe, chose = _propose(name, clips, "folder" if card is None else str(card))
        check(recipe)
        warnings = check_start(recipe, RunFolder(recipe.folder())).warnings
    except EdgepruneError:
        clips.forget()
        if card is not None:
            card.unlink(missing_ok=True)
        raise
    saw = _saw(clips)
    write_text(path, _script(recipe, (*saw, *chose)))
    written = (root / clips.table,) if clips.written else ()
    return OwnRecipe(recipe, (path, *written, *(() if card is None else (card,))), saw, chose, warnings)


def _saw(clips: Survey) -> tuple[str, ...]:
    counts = [*clips.split.train["label"], *clips.split.test["label"]]
    classes = clips.split.classes
    shown = ", ".join(f"{name} {counts.count(name)}" for name in classes[:12]) + (" ..." if len(classes) > 12 else "")
    rates = ", ".join(f"{rate / 1000:g} kHz ({count})" for rate, count in sorted(clips.rates.items()))
    shortest, longest = min(clips.seconds), max(clips.seconds)
    groups = (
        "recordings are told apart by groups"
        if clips.grouped
        else (
            "no groups: clips of one recording may be trained on and tested, which flatters; a column `group` in "
            f"{clips.table} keeps them together"
        )
    )
    return (
        f"{len(counts)} clips of {len(classes)} classes ({shown}), labelled by {clips.source}",
        f"{len(clips.split.train)} clips train and {len(clips.split.test)} test; {groups}",
        f"sample rates: {rates}; lengths: {shortest:.2f} to {longest:.2f} s, the median {median(clips.seconds):.2f} s",
    )


def _propose(name: str, clips: Survey, card: str) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe, and why it is so."""
    from edgeprune.graph.cost import cost

    many = len(clips.split.train) >= _MANY
    frontend = _frontend(clips, many)
    patches = round(sum(max(1.0, seconds / frontend.patch_s) for seconds in clips.seconds))
    epochs = min(100, max(20, round(_SEEN / patches)))
    held_out = len(clips.split.train) >= _HELD_OUT_FROM
    train = Train(epochs=epochs, batch_size=64 if many else 32, lr=3e-3, mixup=0.2)
    recipe = Recipe(
        name=name,
        data=Data(name=card, root=clips.root, fold=clips.fold, validation=0.15 if held_out else 0.0),
        frontend=frontend,
        model=Model(name="bcresnet" if many else "dcase21"),
        train=train,
        prune=Prune(keep=1.0 if many else 0.5),
        finetune=replace(train, epochs=math.ceil(0.6 * epochs), lr=2e-3, distillation=0.5),
    )
    shape = patch_shape(frontend, entry(recipe.model.name).layout)
    dense = cost(make_spec(recipe.model.name, len(clips.split.classes), shape))
    recipe = replace(recipe, budget=Budget(macs=_round_up(dense.macs * (0.5 if many else 0.28))))
    rate = min(clips.rates)
    above = f" of the clips' {rate / 1000:g} kHz" if rate > frontend.sample_rate else ""
    return recipe, (
        f"front-end: {frontend.sample_rate / 1000:g} kHz{above}, {frontend.mels} mels, patches of "
        f"{frontend.patch_s:.3g} s, whose probabilities are averaged over a clip",
        f"network: {recipe.model.name}, {dense.params:,} parameters and {dense.macs:,} MACs a patch",
        f"budget: {recipe.budget.macs:,} MACs, {'half' if many else 'about half of every layer'}",
        f"training: {epochs} epochs, then {recipe.finetune.epochs} of fine-tuning; "
        + ("15 % of the clips for validation" if held_out else "no validation part, for too few clips to hold any out"),
    )


def _frontend(clips: Survey, many: bool) -> LogMel:
    """The device's rate where all clips have it; patches as long as short clips, else of about a second."""
    lowest, length = min(clips.rates), median(clips.seconds)
    rate = next((rate for rate in _RATES if rate <= lowest), lowest)
    if many and rate == _RATES[0]:
        return LogMel.bcresnet()
    if length <= 0.6:
        return LogMel.dcase21(rate, 0.5)
    return LogMel.dcase21(rate, round(length, 1) if 1.2 < length <= 2 else 1.0)


def _round_up(value: float) -> int:
    """To two digits."""
    unit = 10 ** max(0, int(math.log10(value)) - 1)
    return math.ceil(value / unit) * unit


_CARD = """\
name = "{name}"
title = "{name}"
licence = "yours"
audio = "audio" # where clips without a folder are looked for, after the data folder itself

[[layouts]]
table = {table} # in the data folder
"""
_SCRIPT = '''\
"""{name}: clips of one's own, as `edgeprune init` proposed."""

{about}

from edgeprune.recipe import {used}

recipe = Recipe(
{lines})

if __name__ == "__main__":
    recipe.main()
'''


def _script(recipe: Recipe, notes: tuple[str, ...]) -> str:
    """The recipe as a Python file: fields that have their default are left out."""
    default = Recipe(name=recipe.name)
    parts = {field.name: getattr(recipe, field.name) for field in fields(recipe)}
    changed = {part: value for part, value in parts.items() if value != getattr(default, part)}
    return _SCRIPT.format(
        name=recipe.name,
        about="\n".join(f"# {printable(note)}" for note in notes),  # a label's line break would begin a statement
        used=", ".join(sorted({"Recipe", *(type(value).__name__ for value in changed.values())})),
        lines="".join(f"    {part}={_source(value)},\n" for part, value in {"name": recipe.name, **changed}.items()),
    )


def _source(value: Any) -> str:
    """A value as Python, of a dataclass the fields that do not have their default."""
    if isinstance(value, Path):
        return repr(str(value))
    if not is_dataclass(value) or isinstance(value, type):
        return f"{value:_}" if type(value) is int else repr(value)
    default: Any = type(value)()
    values = {field.name: getattr(value, field.name) for field in fields(value)}
    shown = [f"{name}={_source(each)}" for name, each in values.items() if each != getattr(default, name)]
    return f"{type(value).__name__}({', '.join(shown)})"
