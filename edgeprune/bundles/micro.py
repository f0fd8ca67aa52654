"""The bundles for frameworks of microcontrollers: the C of `firmware.py`, a self-test, and a microphone's example.

The targets differ in the files around these sources: CMake, a component of ESP-IDF, an application of Zephyr, an
Arduino library.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.bundles.arena import Arena, Kernels, arena_of
from edgeprune.bundles.common import HEARD, common_files, facts_text, fill_template, filled, write_manifest
from edgeprune.bundles.deployment import Deployment, Runtime, rename
from edgeprune.bundles.firmware import heard_in, levels_text, write_firmware
from edgeprune.bundles.source import Source
from edgeprune.devices.tflm import outputs
from edgeprune.files import write_text
from edgeprune.firmware.c_text import c_array, c_string

_COMPONENT = "components/edgeprune_network"


@dataclass(frozen=True)
class MicroTarget:
    """The files around the sources in one target's bundle.

    Attributes:
        files: filled in from `export/<target>`: path there -> path in the bundle.
        sources: folder of the sources in the bundle.
        kernels: the library whose scratch memory TFLite Micro's arena must hold.
        suffix: of C++ sources.
        runtimes: that the target offers, its own first.
    """

    files: Mapping[str, str]
    sources: str = "src"
    kernels: Kernels = "CMSIS-NN"
    suffix: str = ".cc"
    runtimes: tuple[Runtime, ...] = ("stream", "tflm")


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


MICRO_TARGETS = {
    "tflm": MicroTarget({"main.cc": "example/main.cc", "CMakeLists.txt": "CMakeLists.txt"}, runtimes=("tflm",)),
    "esp-idf": MicroTarget(
        _same("CMakeLists.txt", "sdkconfig.defaults", "main/CMakeLists.txt", "main/main.c")
        | {f"component/{name}": f"{_COMPONENT}/{name}" for name in ("CMakeLists.txt", "idf_component.yml")}
        | _same("microphone/CMakeLists.txt", "microphone/sdkconfig.defaults")
        | {
            "microphone/main.cmake": "microphone/main/CMakeLists.txt",
            "microphone/microphone.c": "microphone/main/microphone.c",
        },
        sources=f"{_COMPONENT}/src",
        kernels="ESP-NN",
    ),
    "zephyr": MicroTarget(
        _same("CMakeLists.txt", "prj.conf", "cortex-m.conf", "microphone.conf")
        | {
            "main.c": "example/main.c",
            "microphone.c": "example/microphone.c",
            "nrf52840dk_nrf52840.overlay": "boards/nrf52840dk_nrf52840.overlay",
        }
    ),
    "arduino": MicroTarget(
        _same("library.properties", "examples/Classify/Classify.ino", "examples/Microphone/Microphone.ino"),
        suffix=".cpp",  # the only one that every Arduino builder compiles
    ),
}


def write(source: Source, out: Path, target: str, deployment: Deployment) -> None:
    """Write the bundle of a target of `MICRO_TARGETS` to the folder `out`."""
    layout = MICRO_TARGETS[target]
    folder = out / layout.sources
    arena = arena_of(source, layout.kernels) if deployment.runtime == "tflm" else None
    facts = common_files(source, out)
    firmware = write_firmware(source, deployment, folder, arena)
    for name in ("selftest.h", "selftest.c"):
        fill_template(f"tflm/edgeprune_{name}", folder)
    _write_vectors(source, deployment, outputs(source.model, source.stored), folder)
    for path in sorted(folder.glob("*.cc")):
        path.rename(path.with_suffix(layout.suffix))
    for there, here in layout.files.items():
        write_text(out / here, for_runtime(filled(f"{target}/{there}"), deployment.runtime))
    readme = filled(f"{target}/README.md", **_readme(source, deployment, firmware.state_bytes, arena))
    write_text(out / "README.md", for_runtime(readme, deployment.runtime))
    rename(out, deployment.prefix)
    write_manifest(out, {**facts, **firmware.facts, "target": target, "prefix": deployment.prefix})


def for_runtime(text: str, runtime: Runtime) -> str:
    """The lines of a template that a runtime takes: those without a tag, and those that begin with its own."""
    other = "@tflm@" if runtime == "stream" else "@stream@"
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith(other)]
    return "".join(line.removeprefix(f"@{runtime}@") for line in lines)


def _readme(source: Source, deployment: Deployment, state_bytes: int | None, arena: Arena | None) -> dict[str, Any]:
    """The marks of the targets' README.md."""
    use = filled("tflm/use.txt", LEVELS=levels_text(source, deployment))
    data = source.stored.nbytes + sum(clip.samples.nbytes for clip in source.clips[:1]) + source.model.stat().st_size
    return {
        "MODEL": source.model.name,
        "VECTORS": len(source.stored),
        "USE": use.strip("\n"),
        "FLASH_KIB": -(-data // 1024),
        "ARENA_KIB": 0 if arena is None else -(-arena.total_bytes // 1024),
        "FACTS": facts_text(source, arena, state_bytes),
    }


def _write_vectors(source: Source, deployment: Deployment, expected: NDArray[Any], folder: Path) -> None:
    """Write the vectors, TFLite Micro's outputs for them, and the first clip; the others would only take flash."""
    clip = source.clips[0] if source.clips else None
    samples = 0 if clip is None else len(clip.samples)
    fill_template("tflm/test_vectors.h", folder, VECTORS=len(source.stored), SAMPLES=samples)
    text = '#include "test_vectors.h"\n'
    for name, values, size in (("inputs", source.stored, "INPUT_SIZE"), ("outputs", expected, "CLASSES")):
        text += "\n" + c_array(f"const int8_t test_{name}[TEST_VECTORS][EP_{size}]", np.asarray(values))
    if clip is not None:
        judgement = heard_in(clip, source, deployment)
        text += (
            f"\nconst char *const test_clip = {c_string(clip.name)};\n"
            f"const int test_heard = {HEARD.get(judgement.heard, judgement.best)};\n"
            f"const int test_percent = {judgement.percent};\n"
            + c_array("const int16_t test_audio[TEST_SAMPLES]", clip.samples)
        )
    write_text(folder / "test_vectors.c", text)
