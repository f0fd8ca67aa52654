"""The bundle `esp-idf`: a component of ESP-IDF on top of Espressif's esp-tflite-micro, and a project around it."""

from pathlib import Path

from edgeprune.bundles.parts import write_manifest
from edgeprune.bundles.source import Source
from edgeprune.bundles.tflm_sources import copy_files, write_network, write_readme

_COMPONENT = "components/edgeprune_network"


def write(source: Source, out: Path) -> None:
    """Write the bundle to the folder `out`.

    Raises:
        EdgepruneError: the network has an operator that TensorFlow Lite Micro lacks, or the front-end cannot be written
            in C.
    """
    facts = write_network(source, out, out / _COMPONENT / "src", "ESP-NN")
    project = ("CMakeLists.txt", "sdkconfig.defaults", "main/CMakeLists.txt", "main/main.c")
    component = ("CMakeLists.txt", "idf_component.yml")
    copy_files("esp-idf", out, {name: name for name in project})
    copy_files("esp-idf", out, {f"component/{name}": f"{_COMPONENT}/{name}" for name in component})
    write_readme(source, out, "esp-idf", "ESP-NN")
    write_manifest(out, {**facts, "target": "esp-idf"})
