"""What the bundles of all targets are put together from: C text, templates, the manifest."""

import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.bundles.source import Source
from edgeprune.files import sha256_file, share_folder, write_bytes, write_json, write_text

MANIFEST = "manifest.json"
_PLAIN = set(string.ascii_letters + string.digits + " _.,-")
_PER_LINE = 20


def c_string(text: str) -> str:
    """A C string literal of any text, in UTF-8; all but plain characters as three octal digits, which end there."""
    return '"' + "".join(chr(byte) if chr(byte) in _PLAIN else f"\\{byte:03o}" for byte in text.encode()) + '"'


def c_numbers(values: NDArray[Any]) -> str:
    """Whole numbers as the inside of a C initialiser."""
    flat = [str(int(value)) for value in np.asarray(values).reshape(-1)]
    lines = (", ".join(flat[start : start + _PER_LINE]) for start in range(0, len(flat), _PER_LINE))
    return ",\n    ".join(lines)


def fill_template(name: str, out: Path, **values: object) -> None:
    """Write a file of `export/`, its `@NAME@` marks replaced by `values`, under its own name into the folder `out`."""
    text = (share_folder("export") / name).read_text(encoding="utf-8")
    for mark, value in values.items():
        text = text.replace(f"@{mark}@", str(value))
    write_text(out / Path(name).name, text)


def common_files(source: Source, out: Path, frontend: Path) -> dict[str, Any]:
    """Write what every bundle holds: the model, its labels, the front-end in C (to `frontend`) and its description.

    Returns:
        what the manifest says of them.

    Raises:
        EdgepruneError: the front-end cannot be written in C.
    """
    from edgeprune.firmware.frontend import spec_of, write_frontend
    from edgeprune.version import __version__

    described, quantisation = (source.frontend, source.normalisation), source.quantisation()
    write_frontend(*described, frontend, source.layout, quantisation)
    write_json(out / "frontend.json", spec_of(*described, source.layout, quantisation))
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
