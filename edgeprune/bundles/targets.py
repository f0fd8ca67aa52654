"""Bundles: a run's network, its front-end and test vectors, in the layout a firmware or app project builds from."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from edgeprune.bundles import android, c11, micro, web
from edgeprune.bundles.common import MANIFEST
from edgeprune.bundles.deployment import PACKAGE, Deployment, Runtime
from edgeprune.bundles.micro import MICRO_TARGETS
from edgeprune.bundles.source import source_of
from edgeprune.errors import EdgepruneError, unknown_name
from edgeprune.files import cannot_write, read_json, sha256_file
from edgeprune.scratch import scratch_folder

TARGETS = {
    "c11": "C11: any project, with runs on this computer, Cortex-M and RISC-V",
    "tflm": "TFLite Micro, any C++ project",
    "esp-idf": "a component of ESP-IDF",
    "zephyr": "an application of Zephyr",
    "arduino": "an Arduino library",
    "android": "LiteRT in a Kotlin app",
    "web": "a page that listens, in any browser",
}
"""Targets of `edgeprune deploy`, and the projects each is for."""


def runtime_of(target: str, runtime: Runtime | None) -> Runtime:
    """The runtime of a target's bundle: the given one, or the target's own; refused where there is none such."""
    if target not in TARGETS:
        raise unknown_name("target", target, TARGETS)
    runtimes = MICRO_TARGETS[target].runtimes if target in MICRO_TARGETS else ("stream",)
    if runtime not in (None, *runtimes):
        raise EdgepruneError(f"runtime: {target} has no bundle for {runtime}; leave out --runtime.")
    return runtime or runtimes[0]


def write_bundle(
    run: Path, target: str, out: Path, clips: Sequence[Path] = (), deployment: Deployment | None = None
) -> Path:
    """Write the bundle of a finished run and return its folder `out`, which ends up whole or absent.

    Where the same bundle is there already, it stays.

    Args:
        run: run folder with `model_int8.tflite`, or an int8 .tflite that carries labels and front-end (for a page one
            of any format).
        target: one of `TARGETS`.
        out: folder to write; anything but this bundle in it is refused.
        clips: audio files for the test vectors, or for the page's check (default: evaluation clips of the run).
        deployment: rules, runtime, names and the rest (default: the target's runtime).
    """
    deployment = deployment or Deployment(runtime=runtime_of(target, None))
    runtime_of(target, deployment.runtime)
    if deployment.package != PACKAGE and target != "android":
        raise EdgepruneError(f"package: {target} has no Kotlin; leave out --package, or take --target android.")
    taken = out.exists() and (not out.is_dir() or any(out.iterdir()))
    if taken and not (out / MANIFEST).is_file():
        raise _is_taken(out)
    write = _writer(run, target, clips, deployment)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with scratch_folder(out.parent, f".{out.name}.") as scratch:
            folder = scratch / "bundle"
            folder.mkdir()
            write(folder)
            if not taken:
                folder.rename(out)
            elif not _holds(out, folder):
                raise _is_taken(out)
    except OSError as error:
        raise cannot_write(error.filename or out, error) from error
    return out


def _holds(out: Path, bundle: Path) -> bool:
    """Whether a folder holds all of a bundle, as it stands in another."""
    manifest = read_json(bundle / MANIFEST)
    same = read_json(out / MANIFEST) == manifest
    return same and all(
        (out / name).is_file() and sha256_file(out / name) == file["sha256"] for name, file in manifest["files"].items()
    )


def _is_taken(out: Path) -> EdgepruneError:
    return EdgepruneError(f"{out}: is there already; choose another --out.")


def _writer(run: Path, target: str, clips: Sequence[Path], deployment: Deployment) -> Callable[[Path], None]:
    """Collects what the bundle holds; what it returns writes it to a folder."""
    if target == "web":
        page = web.web_source(run, clips, deployment.litert_js)
        return lambda folder: web.write(page, folder, deployment)
    source = source_of(run, clips, arena=deployment.runtime == "tflm")
    deployment = replace(deployment, rules=deployment.rules.of_network(source.description.threshold))
    if target in MICRO_TARGETS:
        return lambda folder: micro.write(source, folder, target, deployment)
    if target == "c11":
        return lambda folder: c11.write(source, folder, deployment)
    return lambda folder: android.write(source, folder, deployment)
