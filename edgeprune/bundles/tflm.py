"""The bundle `tflm`: sources for any C++ project with TensorFlow Lite Micro, and CMake that builds them with it."""

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
    copy_files("tflm", out, {"main.cc": "example/main.cc", "CMakeLists.txt": "CMakeLists.txt"})
    write_readme(source, out, "tflm", "CMSIS-NN")
    write_manifest(out, {**facts, "target": "tflm"})
