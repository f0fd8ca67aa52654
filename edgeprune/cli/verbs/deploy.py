"""`edgeprune deploy`: a bundle that builds into firmware or an app, or a page that listens."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tyro.conf import OmitArgPrefixes, Positional

from edgeprune.audio.listen_rules import ListenRules
from edgeprune.cli.file_description import FileDescription
from edgeprune.cli.output import only_results, print_json
from edgeprune.console import print_table, say
from edgeprune.errors import EdgepruneError
from edgeprune.files import read_json
from edgeprune.reporting.numbers import format_exact
from edgeprune.scratch import scratch_folder


@dataclass(frozen=True)
class DeployCommand:
    """Write a bundle that builds: the network of a finished run, its front-end in C, test vectors, how to build it; or,
    for the target web, a page that listens."""

    run: Positional[Path]
    """Run folder with an int8 file, or an int8 .tflite; for a page a .tflite of any format."""
    target: str
    """c11, tflm, esp-idf, zephyr, arduino, android or web."""
    out: Path | None = None
    """Folder to write; must hold nothing else. With --serve it may be left out."""
    serve: bool = False
    """Web: serve the page on this computer until Ctrl-C."""
    port: int = 8000
    """Of --serve; 0: any."""
    litert_js: Path | None = None
    """Web: folder with LiteRT.js, which npm made (default: `node_modules` of this folder or one above)."""
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
        self._check()
        if self.out is not None:
            return self._deploy(self.out)
        with scratch_folder() as scratch:
            return self._deploy(scratch / "page")

    def _check(self) -> None:
        """Refuse flags that say nothing of this target."""
        if self.target != "web" and (self.serve or self.litert_js is not None):
            raise EdgepruneError(f"deploy: --serve and --litert-js are for the target web, not {self.target}.")
        if self.out is None and not self.serve:
            raise EdgepruneError("deploy: no folder to write; give --out, or --serve for a page.")

    def _deploy(self, out: Path) -> int:
        from edgeprune.bundles.common import MANIFEST
        from edgeprune.bundles.deployment import Deployment
        from edgeprune.bundles.targets import runtime_of, write_bundle
        from edgeprune.submitting.card import card_of_model

        runtime = runtime_of(self.target, self.runtime)
        with only_results():
            described = self.description.of(self.run)
            card = card_of_model(described.path) if self.target == "web" else None
            deployment = Deployment(self.rules, runtime, self.prefix, self.package, card, self.litert_js)
            folder = write_bundle(described.path, self.target, out, self.clips, deployment)
        manifest = read_json(folder / MANIFEST)
        if self.json:
            print_json(manifest)
        else:
            rows = [(name, format_exact(file["bytes"])) for name, file in manifest["files"].items()]
            print_table("", ("file", "bytes"), rows)
            if self.out is not None:
                print(f"{folder}: how to {'host' if self.target == 'web' else 'build'} it stands in README.md")
        if self.serve:
            serve(folder, self.port)
        return 0


def serve(folder: Path, port: int) -> None:
    """Serve a page on this computer until Ctrl-C."""
    from edgeprune.devices.page_server import PreviewHandler, open_server

    with open_server(folder, port, handler=PreviewHandler) as server:
        print(f"http://localhost:{server.server_port}: open it in a browser; Ctrl-C ends", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("ended")
