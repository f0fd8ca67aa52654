"""The fields a challenge asks for, as data, and whether a meta file has them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from edgeprune.errors import EdgepruneError, unknown_name
from edgeprune.files import read_toml
from edgeprune.results.json_fields import number

PLACEHOLDER = "TODO"
"""It fills the required fields that a draft leaves open."""


@dataclass(frozen=True)
class ChallengeTemplate:
    """The contents of a submission to one year's task; its TOML file names the sources.

    Attributes:
        task: name of the task in labels and folders.
        dataset: name of the development set's card.
        clips: number of clips in the evaluation set, whose files are numbered.
        columns: of the system output, tab-separated: two, then the probability of each class, in the official order.
        devices: recording devices by which results are grouped.
        metrics: of each result.
        splits: training subsets, each with an output of its own; empty: one output.
        folder: where the systems' folders lie in the package; "": one named like the task.
        block: name of the block that holds the results of a single output; "": they stand by themselves.
        subset: the training subset that a single output must be trained on; "": any.
        inference: a Python package that runs the system is asked for.
        required, optional: fields by the dotted name of the object that holds them.
        notes: our reading of fields that the sources leave open, by dotted name.
    """

    name: str
    task: str
    dataset: str
    clips: int
    columns: tuple[str, ...]
    devices: tuple[str, ...]
    metrics: tuple[str, ...]
    splits: tuple[str, ...]
    required: Mapping[str, tuple[str, ...]]
    optional: Mapping[str, tuple[str, ...]]
    notes: Mapping[str, str]
    folder: str = ""
    block: str = ""
    subset: str = ""
    inference: bool = False

    @property
    def root(self) -> str:
        """The folder of the package in which the systems' folders lie."""
        return self.folder or self.task

    @property
    def blocks(self) -> tuple[str, ...]:
        """Names of the blocks of results; empty: they stand by themselves."""
        return self.splits or ((self.block,) if self.block else ())

    @property
    def classes(self) -> tuple[str, ...]:
        """Scenes in the order of the output's columns."""
        return self.columns[2:]

    def fields(self) -> dict[str, tuple[str, ...]]:
        """The required fields, those of the results too, by the dotted name of the object that holds them."""
        groups = {"class_wise": self.classes, "device_wise": self.devices}
        parts = [f"results.development_dataset.{block}" for block in self.blocks] or ["results.development_dataset"]
        fields = {"": ("submission", "system", "results"), **self.required, "results": ("development_dataset",)}
        if self.blocks:
            fields["results.development_dataset"] = self.blocks
        for part in parts:
            fields |= {part: ("overall", *groups), f"{part}.overall": self.metrics}
            for group, names in groups.items():
                fields |= {f"{part}.{group}": names, **{f"{part}.{group}.{name}": self.metrics for name in names}}
        return fields


def templates() -> list[str]:
    """Names of all templates."""
    return sorted(path.stem for path in Path(__file__).parent.glob("dcase*.toml"))


def load_template(name: str) -> ChallengeTemplate:
    """The template of that year."""
    if name not in templates():
        raise unknown_name("submission rules", name, templates())
    raw = read_toml(Path(__file__).with_name(f"{name}.toml"))
    for part in ("required", "optional"):
        raw[part] = {holder: tuple(names) for holder, names in raw[part].items()}
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()}
    return ChallengeTemplate(**values)


def missing_fields(meta: Mapping[str, Any], template: ChallengeTemplate) -> list[str]:
    """Required fields that are absent, empty or a placeholder, by dotted name; null counts as filled in.

    For `system.external_datasets` null means that no data but the challenge's were used.
    """
    missing = []
    for holder, names in template.fields().items():
        for where, part in _parts(meta, holder):
            if part or not holder or where.endswith("]"):  # an empty object is itself missing
                missing += [_joined(where, name) for name in names if _is_missing(part.get(name, ""))]
    return missing


def unknown_fields(meta: Mapping[str, Any], template: ChallengeTemplate) -> list[str]:
    """Fields that the template does not have, each with the nearest one that it has."""
    fields = template.fields()
    unknown = []
    for holder in {**fields, **template.optional}:
        known = [*fields.get(holder, ()), *template.optional.get(holder, ())]
        for where, part in _parts(meta, holder):
            for name in (name for name in part if name not in known):
                near = get_close_matches(str(name), known, n=1)
                unknown.append(_joined(where, name) + (f" (perhaps {near[0]})" if near else ""))
    return unknown


def fill_placeholders(meta: dict[str, Any], template: ChallengeTemplate) -> None:
    """Put the placeholder where a required field is missing, and sort the fields as the template does."""
    fields = template.fields()
    for holder, names in fields.items():
        for where, part in _parts(meta, holder):
            for name in names:
                if _is_missing(part.get(name, "")):
                    path = _joined(where, name)
                    part[name] = {} if path in fields else PLACEHOLDER
                    if path == "submission.authors":
                        part[name] = [{"corresponding": True}]
            ordered = {name: part[name] for name in names} | part
            part.clear()
            part.update(ordered)


def wrong_numbers(meta: Mapping[str, Any], template: ChallengeTemplate) -> list[str]:
    """Fields of complexity and results that are neither a finite number nor a placeholder, by dotted name."""
    fields = template.fields()
    return [
        _joined(where, name)
        for holder, names in fields.items()
        if holder == "system.complexity" or "development_dataset" in holder
        for where, part in _parts(meta, holder)
        for name in names
        if _joined(holder, name) not in fields
        and (value := part.get(name, PLACEHOLDER)) != PLACEHOLDER
        and number(value) is None
    ]


def _parts(meta: Mapping[str, Any], holder: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects at a dotted name, with their own names; `authors[0]` is the first item of a list `authors`."""
    objects: list[tuple[str, Any]] = [("", meta)]
    for name in filter(None, holder.split(".")):
        inner: list[tuple[str, Any]] = []
        for where, value in objects:
            path, item = _joined(where, name), value.get(name) if isinstance(value, Mapping) else None
            if isinstance(item, list):
                inner += [(f"{path}[{place}]", each) for place, each in enumerate(item)]
            else:
                inner.append((path, item))
        objects = inner
    yield from ((where, value) for where, value in objects if isinstance(value, dict))


def _joined(where: str, name: str) -> str:
    return f"{where}.{name}" if where else str(name)


def _is_missing(value: Any) -> bool:
    return value in ("", PLACEHOLDER) or (isinstance(value, str) and not value.strip()) or value in ([], {})


def one_sentence(problems: Iterable[str], what: str, todo: str) -> EdgepruneError:
    """An error that names all of the problems."""
    return EdgepruneError(f"{what}: {'; '.join(problems)}; {todo}.")
