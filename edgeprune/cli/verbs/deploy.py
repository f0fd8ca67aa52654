"""`edgeprune deploy`: a bundle that builds into firmware or an app."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tyro.conf import OmitArgPrefixes, Positional

from edgeprune.audio.listen_rules import ListenRules
from edgeprune.cli.file_description import FileDescription
from edgeprune.cli.output import only_results, print_json
from edgeprune.console import print_table
from edgeprune.files import read_json
from edgeprune.reporting.numbers import format_exact


@dataclass(frozen=True)
class DeployCommand:
    """Write a bundle that builds: the network of a finished run, its front-end in C, test vectors, how to build it."""

    run: Positional[Path]
    """Run folder with an int8 file, or an int8 .tflite."""
    target: str
    """c11, tflm, esp-idf, zephyr, arduino or android."""
    out: Path
    """Folder to write; must not be there yet."""
    clips: tuple[Path, ...] = ()
    """Audio for the test vectors (default: evaluation clips of the run)."""
    runtime: Literal["stream", "tflm"] | None = None
    """stream: the network as C that takes frames as they come; tflm: TensorFlow Lite Micro. None: stream, but for the
    target tflm."""
    prefix: str = "ep"
    """Of all names in C, so that two bundles link into one program."""
    package: str = "edgeprune"
    """Of the Kotlin classes of the target android, such as org.example.listening."""
    json: bool = False
    """Print the manifest."""
    rules: OmitArgPrefixes[ListenRules] = field(default_factory=ListenRules)
    """The rules of decision, those of `edgeprune listen`."""
    description: OmitArgPrefixes[FileDescription] = field(default_factory=FileDescription)
    """Of a file by others."""

    def __call__(self) -> int:
        from edgeprune.bundles.common import MANIFEST
        from edgeprune.bundles.deployment import Deployment
        from edgeprune.bundles.targets import runtime_of, write_bundle

        deployment = Deployment(self.rules, runtime_of(self.target, self.runtime), self.prefix, self.package)
        with only_results():
            described = self.description.of(self.run)
            folder = write_bundle(described.path, self.target, self.out, self.clips, deployment)
        manifest = read_json(folder / MANIFEST)
        if self.json:
            print_json(manifest)
            return 0
        rows = [(name, format_exact(file["bytes"])) for name, file in manifest["files"].items()]
        print_table("", ("file", "bytes"), rows)
        print(f"{folder}: how to build it stands in README.md")
        return 0
