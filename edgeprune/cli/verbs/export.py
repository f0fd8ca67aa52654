"""`edgeprune export`: TFLite files of a finished run."""

from dataclasses import dataclass

from tyro.conf import Positional

from edgeprune.cli.output import only_results, print_json
from edgeprune.console import print_table
from edgeprune.files import sha256_file
from edgeprune.flags import Names
from edgeprune.recipe import FORMATS
from edgeprune.reporting.numbers import format_exact


@dataclass(frozen=True)
class ExportCommand:
    """Make the TFLite files of a finished run."""

    run: Positional[str]
    """Run folder."""
    formats: Names = FORMATS
    """float32, float16, dynamic, int8, int16x8."""
    waveform: bool = False
    """Of each also a file that takes the waveform, its front-end inside."""
    json: bool = False
    """Print JSON."""

    def __call__(self) -> int:
        from edgeprune.running.export_more import export_more

        with only_results():
            paths = export_more(self.run, self.formats, self.waveform)
        files = {
            name: {"path": str(path), "bytes": path.stat().st_size, "sha256": sha256_file(path)}
            for name, path in paths.items()
        }
        if self.json:
            print_json(files)
        else:
            rows = [(name, format_exact(file["bytes"]), file["path"]) for name, file in files.items()]
            print_table("", ("format", "bytes", "file"), rows)
        return 0
