"""The bundles on top of TensorFlow Lite Micro: the network as C++, its operators, its arena, its self-test.

The targets differ in the files around these sources: CMake, a component of ESP-IDF, an application of Zephyr, an
Arduino library.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.bundles.arena import ALIGNMENT, Arena, Kernels, arena_of
from edgeprune.bundles.common import common_files, copy_files, facts_text, fill_template, write_manifest
from edgeprune.bundles.micro_operators import op_resolver
from edgeprune.bundles.source import Source
from edgeprune.devices.tflm import outputs
from edgeprune.files import share_folder, write_text
from edgeprune.firmware.c_text import c_array, c_float, c_string, c_strings
from edgeprune.tflite.flatbuffer import operators
from edgeprune.tflite.interpreter import TFLiteModel

_COMPONENT = "components/edgeprune_network"


@dataclass(frozen=True)
class MicroTarget:
    """The files around the sources in one target's bundle.

    Attributes:
        files: copied from `export/<target>`: path there -> path in the bundle.
        sources: folder of the sources in the bundle.
        kernels: the library whose scratch memory the arena must hold.
        suffix: of C++ sources.
    """

    files: Mapping[str, str]
    sources: str = "src"
    kernels: Kernels = "CMSIS-NN"
    suffix: str = ".cc"


MICRO_TARGETS = {
    "tflm": MicroTarget({"main.cc": "example/main.cc", "CMakeLists.txt": "CMakeLists.txt"}),
    "esp-idf": MicroTarget(
        {name: name for name in ("CMakeLists.txt", "sdkconfig.defaults", "main/CMakeLists.txt", "main/main.c")}
        | {f"component/{name}": f"{_COMPONENT}/{name}" for name in ("CMakeLists.txt", "idf_component.yml")},
        sources=f"{_COMPONENT}/src",
        kernels="ESP-NN",
    ),
    "zephyr": MicroTarget(
        {name: name for name in ("CMakeLists.txt", "prj.conf", "cortex-m.conf")} | {"main.c": "example/main.c"}
    ),
    "arduino": MicroTarget(
        {name: name for name in ("library.properties", "examples/Classify/Classify.ino")},
        suffix=".cpp",  # the only one that every Arduino builder compiles
    ),
}


def write(source: Source, out: Path, target: str) -> None:
    """Write the bundle of a target of `MICRO_TARGETS` to the folder `out`."""
    layout = MICRO_TARGETS[target]
    arena = arena_of(source, layout.kernels)
    facts = _write_network(source, out, out / layout.sources, arena)
    for path in sorted((out / layout.sources).glob("*.cc")):
        path.rename(path.with_suffix(layout.suffix))
    copy_files(target, out, layout.files)
    use = (share_folder("export") / "tflm" / "use.txt").read_text(encoding="utf-8")
    data = source.model.stat().st_size + source.stored.nbytes + sum(clip.samples.nbytes for clip in source.clips[:1])
    fill_template(
        f"{target}/README.md",
        out,
        MODEL=source.model.name,
        VECTORS=len(source.stored),
        USE=use.strip("\n"),
        SAMPLE_RATE=source.frontend.sample_rate,
        FLASH_KIB=-(-data // 1024),
        ARENA_KIB=-(-arena.total_bytes // 1024),
        FACTS=facts_text(source, arena),
    )
    write_manifest(out, {**facts, "target": target})


def _write_network(source: Source, out: Path, folder: Path, arena: Arena) -> dict[str, Any]:
    """Write the common files, and in `folder` the sources of network and self-test; returns fields of the manifest."""
    facts = common_files(source, out, folder)
    content = np.frombuffer(source.model.read_bytes(), np.uint8)
    model = TFLiteModel(source.model)
    (scale_in, zero_in), (scale_out, zero_out) = model.input_quantisation, model.output_quantisation
    count, methods = op_resolver(source.model)
    values = {
        "BYTES": len(content),
        "INPUT_SIZE": source.stored[0].size,
        "CLASSES": len(source.labels),
        "INPUT_SCALE": c_float(scale_in),
        "INPUT_ZERO_POINT": zero_in,
        "OUTPUT_SCALE": c_float(scale_out),
        "OUTPUT_ZERO_POINT": zero_out,
        "MEASURED": arena.measured_bytes,
        "HEADROOM": arena.headroom_bytes,
        "KERNELS": arena.kernels,
        "ARENA": arena.total_bytes,
        "OPERATORS": count,
        "ADDED": "\n".join(f"        operators.{method}();" for method in methods),
    }
    for name in ("infer.h", "infer.cc", "labels.h", "model.h", "selftest.h", "selftest.c"):
        fill_template(f"tflm/edgeprune_{name}", folder, **values)
    declaration = f"alignas({ALIGNMENT}) const unsigned char edgeprune_model[{len(content)}]"
    write_text(folder / "edgeprune_model.cc", '#include "edgeprune_model.h"\n\n' + c_array(declaration, content))
    write_text(
        folder / "edgeprune_labels.c",
        '#include "edgeprune_labels.h"\n\n'
        f"const char *const edgeprune_labels[EDGEPRUNE_CLASSES] = {{\n    {c_strings(source.labels)},\n}};\n",
    )
    _write_vectors(source, outputs(source.model, source.stored), folder)
    return {
        **facts,
        "operators": sorted(set(operators(source.model))),
        "arena": {
            "bytes": arena.total_bytes,
            "measured_bytes": arena.measured_bytes,
            "headroom_bytes": arena.headroom_bytes,
            "headroom_for": arena.kernels,
        },
    }


def _write_vectors(source: Source, expected: NDArray[Any], folder: Path) -> None:
    """Write the vectors, TFLite Micro's outputs for them, and the first clip; the others would only take flash."""
    clip = source.clips[0] if source.clips else None
    samples = 0 if clip is None else len(clip.samples)
    fill_template("tflm/test_vectors.h", folder, VECTORS=len(source.stored), SAMPLES=samples)
    text = '#include "test_vectors.h"\n'
    for name, values, size in (("inputs", source.stored, "INPUT_SIZE"), ("outputs", expected, "CLASSES")):
        text += "\n" + c_array(f"const int8_t test_{name}[TEST_VECTORS][EDGEPRUNE_{size}]", values)
    if clip is not None:
        best = int(clip.probabilities.argmax())
        text += (
            f"\nconst char *const test_clip = {c_string(clip.name)};\n"
            f"const int test_class = {best};\n"
            f"const int test_percent = {round(100 * float(clip.probabilities[best]))};\n"
            + c_array("const int16_t test_audio[TEST_SAMPLES]", clip.samples)
        )
    write_text(folder / "test_vectors.c", text)
