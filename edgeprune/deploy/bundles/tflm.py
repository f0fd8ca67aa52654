"""The bundle `tflm`: sources for any C++ project with TensorFlow Lite Micro, and CMake that builds them with it."""

from pathlib import Path

from edgeprune.deploy.bundles.micro import copy_files, write_network, write_readme
from edgeprune.deploy.bundles.parts import write_manifest
from edgeprune.deploy.bundles.source import Source


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
