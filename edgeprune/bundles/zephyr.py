"""The bundle `zephyr`: an application for Zephyr and its module tflite-micro."""

from pathlib import Path

from edgeprune.bundles.parts import write_manifest
from edgeprune.bundles.source import Source
from edgeprune.bundles.tflm_sources import copy_files, write_network, write_readme


def write(source: Source, out: Path) -> None:
    """Write the bundle to the folder `out`.

    Raises:
        EdgepruneError: the network has an operator that TensorFlow Lite Micro lacks, or the front-end cannot be written
            in C.
    """
    facts = write_network(source, out, out / "src", "CMSIS-NN")
    copy_files("zephyr", out, {name: name for name in ("CMakeLists.txt", "prj.conf", "cortex-m.conf")})
    copy_files("zephyr", out, {"main.c": "example/main.c"})
    write_readme(source, out, "zephyr", "CMSIS-NN")
    write_manifest(out, {**facts, "target": "zephyr"})
