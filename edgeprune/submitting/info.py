"""The part of a submission that only its authors know: who they are, its label and names, where its code is."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeprune.errors import EdgepruneError
from edgeprune.files import read_toml
from edgeprune.submitting.label import EXAMPLE, Label, check_name, is_of, parse_label
from edgeprune.submitting.template import PLACEHOLDER, ChallengeTemplate, one_sentence, unknown_fields


def read_info(path: Path | None, template: ChallengeTemplate) -> dict[str, Any]:
    """Read an info file: TOML with the fields of the meta file that the authors know.

        [submission]
        label = "Surname_INST_task1_1"
        name = "Pruned by operator norm"
        abbreviation = "Pruned"
        [[submission.authors]]
        lastname = "Surname"
        firstname = "First name"
        email = "mail@example.org"
        corresponding = true
        affiliation = { abbreviation = "INST", institute = "Institute", location = "City, Country" }
        [system]
        source_code = "https://example.org/code"

    Fields of `system.description` and tables of `system.external_datasets` may follow; they replace those read from
    the run. All other fields come from the run alone and are refused here.
    """
    if path is None:
        return {}
    info = read_toml(path)
    _check_shape(path, info)
    unknown = unknown_fields(info, template)
    if unknown:
        raise one_sentence(unknown, f"{path}: has fields that {template.name} does not", "correct or remove them")
    of_run = [name for name in info if name not in ("submission", "system")]
    in_system = ("description", "external_datasets", "source_code", "inference_code")
    of_run += [f"system.{name}" for name in info.get("system", {}) if name not in in_system]
    if of_run:
        raise one_sentence(of_run, f"{path}: holds what is read from the run", "remove it")
    return info


def _check_shape(path: Path, info: Mapping[str, Any]) -> None:
    """Refuse anything but tables where the template has tables."""
    for name in ("submission", "system"):
        if not isinstance(info.get(name, {}), dict):
            raise EdgepruneError(f"{path}: '{name}' is no table; write [{name}].")
    lists = {"submission.authors": info.get("submission", {}), "system.external_datasets": info.get("system", {})}
    for where, holder in lists.items():
        value = holder.get(where.split(".")[1], [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise EdgepruneError(f"{path}: '{where}' is no list of tables; write [[{where}]].")
    if not isinstance(info.get("system", {}).get("description", {}), dict):
        raise EdgepruneError(f"{path}: 'system.description' is no table; write [system.description].")


def author_of(text: str) -> dict[str, Any]:
    """Read an author from one line: surname, first name, mail and affiliation, separated by commas."""
    parts = [part.strip() for part in text.split(",", 3)]
    if len(parts) != 4 or not all(parts) or "@" not in parts[2]:
        raise EdgepruneError(
            f"author '{text}': write it as 'Surname, First name, mail@example.org, Institute', the affiliation last."
        )
    lastname, firstname, email, institute = parts
    return {"lastname": lastname, "firstname": firstname, "email": email, "affiliation": {"institute": institute}}


def merged(info: Mapping[str, Any], authors: Sequence[str], given: Mapping[str, str | None]) -> dict[str, Any]:
    """The block `submission`: the info file's fields, replaced by those of the command line.

    The first author is the corresponding one if none is marked.
    """
    block: dict[str, Any] = dict.fromkeys(("label", "name", "abbreviation"), "")
    block |= info.get("submission", {})
    block |= {name: value for name, value in given.items() if value is not None}
    people = [author_of(text) for text in authors] or [dict(author) for author in block.get("authors", [])]
    marked = [author for author in people if author.get("corresponding")]
    if len(marked) > 1:
        names = " and ".join(str(author.get("lastname")) for author in marked)
        raise EdgepruneError(f"submission.authors: {names} are both corresponding; mark one.")
    if people and not marked:
        people[0]["corresponding"] = True
    return {**block, "authors": people}


def label_of(block: Mapping[str, Any], template: ChallengeTemplate) -> tuple[Label, list[str]]:
    """Check names and label of a block `submission`; returns the label, and where it differs from the author.

    A label that is not known yet is the example. A label that is known gives the abbreviation of the corresponding
    author's affiliation if that is missing.
    """
    check_name(block["name"], block["abbreviation"])
    if block["label"] in ("", PLACEHOLDER):
        return parse_label(EXAMPLE.replace("task1", template.task), template.task), []
    label = parse_label(block["label"], template.task)
    author: dict[str, Any] = next((each for each in block["authors"] if each.get("corresponding")), {})
    affiliation = author.get("affiliation")
    institute = affiliation.get("abbreviation") if isinstance(affiliation, dict) else None
    notes = [
        f"the label says {part} where the corresponding author has {name}"
        for part, name in ((label.surname, author.get("lastname")), (label.institute, institute))
        if isinstance(name, str) and name and not is_of(part, name)
    ]
    if isinstance(affiliation, dict):
        author["affiliation"] = {"abbreviation": label.institute, **affiliation}
    return label, notes
