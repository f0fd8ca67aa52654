"""What a challenge asks for, as data, and whether a meta file answers it."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from edgeprune.errors import EdgepruneError, unknown_name

PLACEHOLDER = "TODO"
"""What stands in a draft where something is not known."""
_FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class ChallengeTemplate:
    """What a submission of one year's task holds; where each part is from stands in its file.

    Attributes:
        task: in labels and folders.
        dataset: card of the development set.
        clips: of the evaluation set, whose files are numbered.
        columns: of the system output, tab-separated: two, then a probability a class, in the official order.
        devices: recording devices by which results are grouped.
        metrics: of each result.
        splits: training subsets, each with an output of its own; empty: one output.
        required, optional: fields by the dotted name of what holds them.
        notes: how a field is meant, by dotted name, where the sources leave it open.
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

    @property
    def classes(self) -> tuple[str, ...]:
        """Scenes in the order of the output's columns."""
        return self.columns[2:]

    def fields(self) -> dict[str, tuple[str, ...]]:
        """All required fields by what holds them, those of the results too."""
        groups = {"class_wise": self.classes, "device_wise": self.devices}
        parts = [f"results.development_dataset.{split}" for split in self.splits] or ["results.development_dataset"]
        fields = {"": ("submission", "system", "results"), **self.required, "results": ("development_dataset",)}
        if self.splits:
            fields["results.development_dataset"] = self.splits
        for part in parts:
            fields |= {part: ("overall", *groups), f"{part}.overall": self.metrics}
            for group, names in groups.items():
                fields |= {f"{part}.{group}": names, **{f"{part}.{group}.{name}": self.metrics for name in names}}
        return fields


def templates() -> list[str]:
    """Names of the templates there are."""
    return sorted(path.stem for path in _FOLDER.glob("dcase*.toml"))


def load_template(name: str) -> ChallengeTemplate:
    """The template of that year."""
    if name not in templates():
        raise unknown_name("submission rules", name, templates())
    raw = tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    for part in ("required", "optional"):
        raw[part] = {holder: tuple(names) for holder, names in raw[part].items()}
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()}
    return ChallengeTemplate(**values)


def missing_fields(meta: Mapping[str, Any], template: ChallengeTemplate) -> list[str]:
    """Required fields that are absent, empty or a placeholder, by dotted name; null is an answer.

    Of `system.external_datasets` null is one too: no data were used but the challenge's.
    """
    missing = []
    for holder, names in template.fields().items():
        for where, part in _parts(meta, holder):
            if part or not holder or where.endswith("]"):  # an empty object is itself listed as missing
                missing += [_joined(where, name) for name in names if _is_missing(part.get(name, ""))]
    return missing


def unknown_fields(meta: Mapping[str, Any], template: ChallengeTemplate) -> list[str]:
    """Fields the template does not have, each with the nearest that it has."""
    fields = template.fields()
    unknown = []
    for holder in {**fields, **template.optional}:
        known = [*fields.get(holder, ()), *template.optional.get(holder, ())]
        for where, part in _parts(meta, holder):
            unknown += [_with_hint(_joined(where, name), name, known) for name in part if name not in known]
    return unknown


def fill_placeholders(meta: dict[str, Any], template: ChallengeTemplate) -> None:
    """Put the placeholder where a required field is missing, and fields in the template's order."""
    for holder, names in template.fields().items():
        for where, part in _parts(meta, holder):
            for name in names:
                path = _joined(where, name)
                if _is_missing(part.get(name, "")):
                    part[name] = _placeholder(path, template)
            ordered = {name: part[name] for name in names} | part
            part.clear()
            part.update(ordered)


def _placeholder(path: str, template: ChallengeTemplate) -> Any:
    """An object to fill where the template has fields below, else the mark."""
    if path == "submission.authors":
        return [{"corresponding": True}]
    return {} if path in template.fields() else PLACEHOLDER


def wrong_numbers(meta: Mapping[str, Any], template: ChallengeTemplate) -> list[str]:
    """Fields of complexity and results that are neither a finite number nor a placeholder, by dotted name."""
    wrong = []
    for holder, names in template.fields().items():
        if holder != "system.complexity" and "development_dataset" not in holder:
            continue
        for where, part in _parts(meta, holder):
            leaves = [name for name in names if _joined(holder, name) not in template.fields()]
            wrong += [_joined(where, name) for name in leaves if not _is_number(part.get(name, PLACEHOLDER))]
    return wrong


def _parts(meta: Mapping[str, Any], holder: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects at a dotted name, each item of a list with its number; none where there is no object."""
    objects: list[tuple[str, Any]] = [("", meta)]
    for name in holder.split(".") if holder else []:
        objects = [
            place
            for where, value in objects
            if isinstance(value, Mapping) and name in value
            for place in _items(_joined(where, name), value[name])
        ]
    yield from ((where, value) for where, value in objects if isinstance(value, dict))


def _items(where: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, list):
        return [(f"{where}[{place}]", item) for place, item in enumerate(value)]
    return [(where, value)]


def _joined(where: str, name: str) -> str:
    return f"{where}.{name}" if where else str(name)


def _is_missing(value: Any) -> bool:
    return value in ("", PLACEHOLDER) or (isinstance(value, str) and not value.strip()) or value in ([], {})


def _is_number(value: Any) -> bool:
    if value == PLACEHOLDER:
        return True
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _with_hint(path: str, name: str, known: Iterable[str]) -> str:
    near = get_close_matches(str(name), list(known), n=1)
    return f"{path} (perhaps {near[0]})" if near else path


def one_sentence(problems: Iterable[str], what: str, todo: str) -> EdgepruneError:
    """The error for a list of problems, all of them named."""
    return EdgepruneError(f"{what}: {'; '.join(problems)}; {todo}.")
