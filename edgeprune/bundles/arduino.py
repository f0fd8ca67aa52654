"""The bundle `arduino`: an Arduino library on top of a port of TensorFlow Lite Micro, with a sketch that tests it."""

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
    for path in sorted((out / "src").glob("*.cc")):
        path.rename(path.with_suffix(".cpp"))  # what every Arduino builder compiles
    sketch = "examples/Classify/Classify.ino"
    copy_files("arduino", out, {"library.properties": "library.properties", sketch: sketch})
    write_readme(source, out, "arduino", "CMSIS-NN")
    write_manifest(out, {**facts, "target": "arduino"})
