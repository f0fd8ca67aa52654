"""The system output: probabilities of each clip by the shipped file, in the layout a challenge asks for."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from edgeprune.errors import EdgepruneError
from edgeprune.evaluation.audio_files import audio_probabilities
from edgeprune.evaluation.predictions import decide, read_predictions
from edgeprune.submitting.shipped import Shipped
from edgeprune.submitting.template import ChallengeTemplate

AUDIO = (".wav", ".flac", ".ogg")
"""Extensions of the files that are taken from a folder of audio."""


@dataclass(frozen=True, eq=False)
class Output:
    """Probabilities `[clips, classes]` in the template's order of classes; `names` are file names without folders."""

    names: list[str]
    probabilities: NDArray[np.float64]


def system_output(shipped: Shipped, template: ChallengeTemplate, audio: Path | None = None) -> Output:
    """The shipped file's probabilities of the recordings in `audio` (see `audio_files`); None: its own run's
    predictions of the evaluation part.
    """
    order = class_order(shipped, template)
    if audio is None:
        predictions = read_predictions(shipped.run.predictions("pruned", shipped.format), shipped.labels)
        names = _checked_names(predictions.filenames)
        probabilities = predictions.probabilities
    else:
        files = audio_files(audio)
        names = _checked_names(files)
        probabilities = audio_probabilities(shipped.path, files, f"running {shipped.path.name}")
    return Output(names, probabilities[:, order].astype(np.float64))


def class_order(shipped: Shipped, template: ChallengeTemplate) -> list[int]:
    """For each class of the template, the place of its probability in the file's output."""
    labels = list(shipped.labels)
    if set(labels) != set(template.classes) or len(labels) != len(template.classes):
        raise EdgepruneError(
            f"{shipped.path}: its classes are {', '.join(labels)}; {template.name} has {', '.join(template.classes)}; "
            "submit a run on the challenge's data."
        )
    return [labels.index(name) for name in template.classes]


def audio_files(source: Path) -> list[Path]:
    """The audio in a folder and its subfolders, 2.wav before 10.wav, or the files that a list names.

    A list has a path on each line, or is tab-separated with a column `filename`; paths are relative to its folder.
    """
    if source.is_dir():
        files = [path for path in source.rglob("*") if path.suffix.lower() in AUDIO and path.is_file()]
        files.sort(key=lambda path: _natural(str(path.relative_to(source))))
    elif source.is_file():
        files = [source.parent / name for name in _listed(source)]
        missing = next((path for path in files if not path.is_file()), None)
        if missing is not None:
            raise EdgepruneError(f"{source}: names {missing}, which is not there; correct the list.")
    else:
        raise EdgepruneError(f"{source}: is neither a folder of audio nor a list of files; check the path.")
    if not files:
        raise EdgepruneError(f"{source}: holds no audio ({', '.join(AUDIO)}); check the path.")
    return files


def output_text(output: Output, template: ChallengeTemplate) -> str:
    """The system output as tab-separated text, a row for each clip; probabilities read back as the same numbers."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE)
    writer.writerow(template.columns)
    scenes = decide(output.probabilities, template.classes)
    for name, scene, row in zip(output.names, scenes, output.probabilities.tolist(), strict=True):
        writer.writerow([name, scene, *map(repr, row)])
    return text.getvalue()


def evaluation_gaps(output: Output, template: ChallengeTemplate) -> list[str]:
    """How the clips differ from the challenge's evaluation set; empty if they do not."""
    if not template.clips:
        return [f"{len(output.names):,} clips; how many the evaluation set has is not known here"]
    wanted, names = {f"{number}.wav" for number in range(template.clips)}, set(output.names)
    foreign = sorted(names - wanted, key=_natural)
    gaps = []
    if len(names) != len(wanted):
        gaps.append(f"{len(names):,} clips where the evaluation set has {template.clips:,}")
    if foreign:
        gaps.append(f"{len(foreign):,} names that are not of it ({foreign[0]} first)")
    return gaps


def _listed(source: Path) -> list[str]:
    try:
        lines = [line for line in source.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise EdgepruneError(f"{source}: is no list of files (not UTF-8); give text, a path a line.") from error
    header = lines[0].split("\t") if lines else []
    if "filename" not in header:
        return [line.strip() for line in lines]
    place = header.index("filename")
    return [line.split("\t")[place].strip() for line in lines[1:] if line.count("\t") >= place]


def _natural(name: str) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", name) if part]


def _checked_names(files: Iterable[str | Path]) -> list[str]:
    """Names without folders; those are refused that cannot stand in the table, or stand for two clips."""
    names = [PurePosixPath(file).name for file in files]
    for name, count in Counter(names).items():
        if any(letter in name for letter in '\t\n\r"'):
            raise EdgepruneError(f"clip {name!r}: cannot be written in a tab-separated table; rename it.")
        if count > 1:
            raise EdgepruneError(f"clip '{name}': is there twice, in two folders; the challenge names clips once.")
    return names
