"""The parts that the bundles of all targets share: templates, common files, manifest."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeprune.bundles.arena import Arena
from edgeprune.bundles.source import Source
from edgeprune.files import sha256_file, share_folder, write_bytes, write_json, write_text
from edgeprune.firmware.frontend import spec_of
from edgeprune.tflite.interpreter import TFLiteModel
from edgeprune.version import __version__

MANIFEST = "manifest.json"
HEARD = {"none": -1, "silence": -2}
"""Numbers in C of what is no class."""


def filled(name: str, **values: object) -> str:
    """The text of a file of `export/`, its `@NAME@` marks replaced by `values`."""
    text = (share_folder("export") / name).read_text(encoding="utf-8")
    for mark, value in values.items():
        text = text.replace(f"@{mark}@", str(value))
    return text


def fill_template(name: str, out: Path, **values: object) -> None:
    """Write a file of `export/`, filled with `values`, under its own name into the folder `out`."""
    write_text(out / Path(name).name, filled(name, **values))


def common_files(source: Source, out: Path) -> dict[str, Any]:
    """Write the files of every bundle: the model, its labels, and the front-end's description.

    Returns their fields of the manifest.
    """
    spec, normalisation, layout = source.frontend, source.description.normalisation, source.description.layout
    quantisation = TFLiteModel(source.model).input_quantisation
    write_json(out / "frontend.json", spec_of(spec, normalisation, layout, quantisation))
    write_bytes(out / source.model.name, source.model.read_bytes())
    write_json(out / "labels.json", list(source.labels))
    return {
        "edgeprune": __version__,
        "model": {"file": source.model.name, "sha256": sha256_file(source.model)},
        "labels": list(source.labels),
        "vectors": {"count": len(source.stored), "source": source.vectors.source},
        "clips": [clip.name for clip in source.clips],
    }


def write_manifest(out: Path, facts: Mapping[str, Any]) -> None:
    """Write `manifest.json`: `facts`, and size and SHA-256 of every other file of the bundle, by path."""
    files = sorted(path for path in out.rglob("*") if path.is_file() and path.name != MANIFEST)
    listed = {
        path.relative_to(out).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_file(path)} for path in files
    }
    write_json(out / MANIFEST, {**facts, "files": listed})


def facts_text(source: Source, arena: Arena | None = None, state_bytes: int | None = None) -> str:
    """Labels, quantisation and working memory (an interpreter's arena, or the network's state), as Markdown."""
    model = TFLiteModel(source.model)
    (scale_in, zero_in), (scale_out, zero_out) = model.input_quantisation, model.output_quantisation
    layout = "frames, mels" if source.description.layout == "frames_mels" else "mels, frames"
    shape = " x ".join(str(size) for size in model.input_shape[1:3])
    lines = [
        f"- Input: int8, {shape} ({layout}); a stored q stands for {scale_in:.9g} * (q {-zero_in:+d}).",
        f"- Output: int8, {len(source.labels)} classes; a stored q stands for {scale_out:.9g} * (q {-zero_out:+d}).",
    ]
    threshold = source.description.threshold
    if threshold is not None:
        lines.append(f"- Probabilities: each class has its own (sigmoid) and counts as heard from {threshold:g} on.")
    if arena is not None:
        lines.append(
            f"- Arena: {arena.total_bytes:,} B. {arena.measured_bytes:,} B are the least that was found to give the\n"
            "  right bytes, on 64 bits with reference kernels; on 32 bits it is less. The rest is headroom for the\n"
            f"  scratch memory of {arena.kernels}, a bound computed from the shapes. `edgeprune_arena_used()` tells\n"
            "  what your build takes; define `EDGEPRUNE_ARENA_BYTES` to change it."
        )
    if state_bytes is not None:
        lines.append(f"- State of the network: {state_bytes:,} B on 32 bits, of each window that is open at a time.")
    lines.append("- Labels, in the order of the output:\n")
    # in code, with no line break and no backtick of their own
    lines += [f"      {json.dumps(label, ensure_ascii=False)}" for label in source.labels]
    return "\n".join(lines)
