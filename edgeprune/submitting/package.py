"""A submission package of DCASE Task 1: system output, meta file and zip, checked before anything is written."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeprune.errors import EdgepruneError
from edgeprune.files import write_bytes, write_text
from edgeprune.recipe_files import shipped_recipes
from edgeprune.submitting.card import card_text
from edgeprune.submitting.inference_package import write_inference
from edgeprune.submitting.info import label_of, merged, read_info
from edgeprune.submitting.label import Label
from edgeprune.submitting.meta import by_split, complexity, description, results
from edgeprune.submitting.output import class_order, evaluation_gaps, output_text, system_output
from edgeprune.submitting.shipped import Shipped, open_run
from edgeprune.submitting.template import (
    PLACEHOLDER,
    ChallengeTemplate,
    fill_placeholders,
    load_template,
    missing_fields,
    one_sentence,
    unknown_fields,
    wrong_numbers,
)


@dataclass(frozen=True)
class Authors:
    """The part of a submission that its authors give; a field left out is taken from the info file.

    Attributes:
        info: file with the fields of the template that the authors know (see `info.read_info`).
        authors: each as `Surname, First name, mail, Institute`; the first is the corresponding one.
        report: the technical report, a PDF, that goes into the zip.
    """

    info: Path | None = None
    authors: tuple[str, ...] = ()
    label: str | None = None
    name: str | None = None
    abbreviation: str | None = None
    source_code: str | None = None
    report: Path | None = None


@dataclass
class Package:
    """A submission as it will be written.

    Attributes:
        open: required fields that a draft leaves open, by dotted name, and other hindrances.
        verdicts: of the year's rules, by run folder.
        files: content by path, relative to the package's root.
    """

    template: ChallengeTemplate
    label: Label
    runs: dict[str, Shipped]
    meta: dict[str, Any]
    open: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    verdicts: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        return f"{self.template.root}/{self.label}"


def submit(
    runs: Sequence[Path],
    rules: str,
    out: Path,
    authors: Authors | None = None,
    audio: Path | None = None,
    format: str | None = None,
    draft: bool = False,
) -> dict[str, Any]:
    """Write a challenge's submission package, and a model card beside it.

    `out` then holds `task1/LABEL/LABEL.output.csv` (in 2024 `LABEL.output.split_5.csv` and so on),
    `task1/LABEL/LABEL.meta.yaml`, `Surname_INST_task1.zip` with all systems under `task1`, and `model_card.md`; in 2025
    also `inference`, the Python package that the organisers call.

    Args:
        runs: finished runs: one; in 2024 one a training subset.
        rules: `dcase2021`, `dcase2022`, `dcase2024` or `dcase2025`.
        audio: recordings without labels: a folder, or a list of files; None: the run's evaluation part.
        format: number format of the file that is submitted; None: int8, else the run's first.
        draft: write a placeholder where a required field is missing instead of refusing.

    Returns:
        `label`, `rules`, `files`, `zip`, `draft`, `ready` (nothing is open and the clips are the evaluation set's),
        `open`, `notes`, `complexity` and `verdicts`.
    """
    template, authors = load_template(rules), authors or Authors()
    report = authors.report
    if report is not None and (report.suffix.lower() != ".pdf" or not report.is_file()):
        raise EdgepruneError(f"{report}: is no PDF; the technical report is one.")
    info = read_info(authors.info, template)
    opened = [open_run(Path(run), format) for run in runs]
    for shipped in opened:
        if shipped.result.task != "scenes":
            tells = "detects one sound" if shipped.result.task == "detection" else "tells several classes a clip"
            raise EdgepruneError(
                f"{shipped.folder}: {tells}, and {rules} ranks systems of one scene a clip; submit a run of scenes."
            )
    by_name = by_split(opened, template)
    for run in by_name.values():
        class_order(run, template)
    package = _described(template, by_name, info, authors)
    _check(package, draft)
    gaps = _add_outputs(package, audio)
    package.files[f"{package.folder}/{package.label}.meta.yaml"] = yaml_text(package.meta)
    if report is None:
        package.notes.append("the technical report (PDF) is not in the zip; give it with --report")
    return _written(package, out, report, ready=not package.open and not gaps, draft=draft)


def _described(
    template: ChallengeTemplate, runs: dict[str, Shipped], info: Mapping[str, Any], authors: Authors
) -> Package:
    """Meta data, verdicts and notes; nothing is run."""
    given = {"label": authors.label, "name": authors.name, "abbreviation": authors.abbreviation}
    submission = merged(info, authors.authors, given)
    label, notes = label_of(submission, template)
    costs, verdicts = {}, {}
    for split, run in runs.items():
        costs[split], verdicts[str(run.folder)] = complexity(run, template)
    largest = max(costs, key=lambda split: (costs[split].get("macs", 0), costs[split].get("total_parameters", 0)))
    own = info.get("system", {})
    system = {
        "description": description(runs[largest], template, list(runs.values())) | own.get("description", {}),
        # one figure stands for all training subsets
        "complexity": {name: max(cost.get(name, 0) for cost in costs.values()) for name in costs[largest]},
        "external_datasets": own.get("external_datasets"),
    }
    codes = {
        "inference_code": own.get("inference_code", ""),
        "source_code": authors.source_code or own.get("source_code"),
    }
    system |= {name: code for name, code in codes.items() if name in template.required["system"] or code}
    figures = {split or template.block: results(run, template) for split, run in runs.items()}
    meta = {
        "submission": submission,
        "system": system,
        "results": {"development_dataset": figures if template.blocks else figures[""]},
    }
    notes += [f"{field}: {note}" for field, note in template.notes.items()]
    notes += [  # another counter may come to a figure above the limit
        f"{run}: {each['rule']} {each['counted']:,} of {each['limit']:,}: {each['how']}"
        for run, of_run in verdicts.items()
        for each in of_run
        if each["rule"] != "type" and each["counted"] > 0.95 * each["limit"]
    ]
    return Package(template, label, runs, meta, _hindrances(template, runs, system), notes, verdicts)


def _hindrances(template: ChallengeTemplate, runs: Mapping[str, Shipped], system: Mapping[str, Any]) -> list[str]:
    """What hinders a submission beside missing fields."""
    reasons = []
    for run in runs.values():
        if run.recipe.data.name != template.dataset:
            reasons.append(f"{run.folder} was trained on {run.card.name}, not on {template.dataset}")
        if template.subset and run.recipe.data.subset != template.subset:
            reasons.append(f"{run.folder} was not trained on the subset {template.subset} alone")
        if run.recipe.model.audioset_weights is not None and not system["external_datasets"]:
            reasons.append("system.external_datasets does not name AudioSet, from whose weights the network started")
    return list(dict.fromkeys(reasons))


def _check(package: Package, draft: bool) -> None:
    """Refuse unknown fields and text in place of numbers; without `draft` missing fields too."""
    name, template = package.template.name, package.template
    unknown = unknown_fields(package.meta, template)
    if unknown:
        raise one_sentence(unknown, f"{name} has no such fields", "correct or remove them")
    missing = _short(missing_fields(package.meta, template))
    if not draft and (missing or package.open):
        problems = [*(f"{field} is missing" for field in missing), *package.open]
        raise one_sentence(problems, name, _advice(package, missing))
    package.open += missing
    fill_placeholders(package.meta, template)
    wrong = wrong_numbers(package.meta, template)
    if wrong:
        raise one_sentence(wrong, f"{name} wants numbers", "run the recipe again")


def _advice(package: Package, missing: Sequence[str]) -> str:
    """What brings a submission further: a run on the challenge's data, and the fields that its authors know."""
    template, steps = package.template, []
    if any(run.recipe.data.name != template.dataset for run in package.runs.values()):
        fitting = [each.recipe.name for each in shipped_recipes() if each.recipe.data.name == template.dataset]
        latest = max(fitting, key=lambda name: (name.startswith(template.name), name))
        subset = f" --data.subset {template.subset}" if template.subset else ""
        steps.append(f"train on its data, as `edgeprune run {latest} --data.root FOLDER{subset}` does")
    if any(not field.startswith("results.") for field in missing):
        steps.append("give what its authors know with --info FILE.toml (docs/submit.md shows one)")
    return ", ".join([*steps, "or write marked placeholders with --draft"])


def _short(missing: Sequence[str]) -> list[str]:
    """The missing fields, several of one object of the results as `results.x.(a, b)`."""
    by_holder: dict[str, list[str]] = {}
    for path in missing:
        holder, _, name = path.rpartition(".")
        by_holder.setdefault(holder, []).append(name)
    shortened: list[str] = []
    for holder, names in by_holder.items():
        many = len(names) > 1 and holder.startswith("results")
        shortened += [f"{holder}.({', '.join(names)})"] if many else [f"{holder}.{name}".strip(".") for name in names]
    return shortened


def _add_outputs(package: Package, audio: Path | None) -> list[str]:
    """Add the system output of every run; returns how the clips differ from the evaluation set."""
    gaps: list[str] = []
    template = package.template
    for split, run in package.runs.items():
        output = system_output(run, template, audio)
        name = f"{package.label}.output.{split}.csv" if split else f"{package.label}.output.csv"
        package.files[f"{package.folder}/{name}"] = output_text(output, template)
        gaps += [gap for gap in evaluation_gaps(output, template) if gap not in gaps]
    if gaps:
        package.notes.append(f"the system output is not of the evaluation set: {'; '.join(gaps)}")
    return gaps


def yaml_text(meta: Mapping[str, Any]) -> str:
    """The meta file; it reads back as the same values."""
    import yaml  # type: ignore[import-untyped]

    try:
        text: str = yaml.safe_dump(dict(meta), sort_keys=False, allow_unicode=True, width=1000)
        same = yaml.safe_load(text) == meta
    except yaml.YAMLError as error:
        raise EdgepruneError(f"meta file: cannot be written as YAML ({error}); use plain text and numbers.") from error
    if not same:
        raise EdgepruneError("meta file: does not read back as written; use plain text without control characters.")
    return text


def _written(package: Package, out: Path, report: Path | None, ready: bool, draft: bool) -> dict[str, Any]:
    for name, text in package.files.items():
        write_text(out / name, text)
    if report is not None:
        write_bytes(out / package.template.root / report.name, report.read_bytes())
    modules = write_inference(out, package.label, package.runs[""]) if package.template.inference else []
    cards = {split: f"model_card_{split}.md" if split else "model_card.md" for split in package.runs}
    for split, name in cards.items():
        write_text(out / name, card_text(package.runs[split]))
    archive = out / f"{package.label.team}.zip"
    write_bytes(archive, _zipped(out, package.template.root, package.label))
    drafts = sorted(  # systems of the same authors, written before
        path.parent.name
        for path in (out / package.template.root).glob(f"{package.label.team}_?/*.meta.yaml")
        if path.parent.name != str(package.label) and PLACEHOLDER in path.read_text(encoding="utf-8").split()
    )
    if drafts:
        package.notes.append(f"the zip also holds drafts: {', '.join(drafts)}")
    return {
        "label": package.meta["submission"]["label"],
        "rules": package.template.name,
        "files": [*package.files, *cards.values(), *modules],
        "zip": str(archive),
        "draft": draft,
        "ready": ready and not drafts,
        "open": package.open,
        "notes": package.notes,
        "complexity": package.meta["system"]["complexity"],
        "verdicts": package.verdicts,
    }


def _zipped(out: Path, root: str, label: Label) -> bytes:
    """A zip of the task's folder: all systems of these authors, and the reports; equal content gives equal bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in (out / root).rglob("*") if _belongs(path, out / root, label)):
            entry = zipfile.ZipInfo(path.relative_to(out).as_posix(), (1980, 1, 1, 0, 0, 0))
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, path.read_bytes())
    return content.getvalue()


def _belongs(path: Path, task: Path, label: Label) -> bool:
    """Whether a file is part of a submission: one of a system's, named by its label, or a report."""
    if not path.is_file() or path.name.startswith("."):
        return False
    if path.parent == task:
        return path.suffix.lower() == ".pdf"
    system = path.parent
    return (
        system.parent == task
        and system.name.rpartition("_")[0] == label.team
        and path.name.split(".")[0] == system.name
    )
