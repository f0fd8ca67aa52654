"""Bundles: a run's network, its front-end and test vectors, in the layout a firmware or app project builds from."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgeprune.bundles import android, c11, micro
from edgeprune.bundles.micro import MICRO_TARGETS
from edgeprune.bundles.source import source_of
from edgeprune.errors import EdgepruneError, unknown_name
from edgeprune.files import cannot_write

TARGETS = {
    "c11": "C11 with CMSIS-NN, no interpreter: host and Cortex-M",
    "tflm": "TFLite Micro, any C++ project",
    "esp-idf": "TFLite Micro as a component of ESP-IDF",
    "zephyr": "TFLite Micro as an application of Zephyr",
    "arduino": "TFLite Micro as an Arduino library",
    "android": "LiteRT in a Kotlin app",
}
"""Targets of `edgeprune deploy`, and the projects each is for."""


def write_bundle(run: Path, target: str, out: Path, clips: Sequence[Path] = ()) -> Path:
    """Write the bundle of a finished run and return its folder `out`, which ends up whole or absent.

    Args:
        run: run folder with `model_int8.tflite`.
        target: one of `TARGETS`.
        out: folder to write; it must be absent or empty.
        clips: audio files for the test vectors (default: evaluation clips of the run).
    """
    if target not in TARGETS:
        raise unknown_name("target", target, TARGETS)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise EdgepruneError(f"{out}: is there already; choose another --out.")
    source = source_of(run, clips, arena=target in MICRO_TARGETS)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
            folder = Path(scratch) / "bundle"
            folder.mkdir()
            if target in MICRO_TARGETS:
                micro.write(source, folder, target)
            else:
                {"c11": c11, "android": android}[target].write(source, folder)
            folder.rename(out)
    except OSError as error:
        raise cannot_write(error.filename or out, error) from error
    return out
