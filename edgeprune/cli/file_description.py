"""Flags that describe a .tflite by others: its labels, its front-end, what it gives."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgeprune.errors import EdgepruneError, first_line
from edgeprune.files import read_object, read_toml
from edgeprune.flags import Names
from edgeprune.recipe import LogMel

if TYPE_CHECKING:
    from edgeprune.running.network_file import NetworkFile


@dataclass(frozen=True)
class FileDescription:
    """What a file that edgeprune did not export leaves unsaid."""

    labels: Names = ()
    """Labels of a .tflite without our description: a,b,c, or a text file with one a line."""
    frontend: Path | None = None
    """Its log-mel front-end: a JSON or TOML file with the fields of LogMel (sample_rate, window_s ...), or the sidecar
    of another file; a table `normalisation` with mean and std, where log-mel is normalised."""
    output: Literal["softmax", "sigmoid", "logits", "none"] = "softmax"
    """What its outputs are; for a file whose labels or front-end are given."""

    def of(self, path: Path) -> "NetworkFile":
        """The file with this description, or as it is where nothing was described."""
        from edgeprune.running.network_file import NetworkFile, load_tflite  # LiteRT takes a while to import

        labels = self._labels()
        if labels is None and self.frontend is None:
            if self.output != "softmax":
                raise EdgepruneError(f"{path}: --output describes a file by others; give its --labels too.")
            return NetworkFile(path)
        if path.suffix != ".tflite":
            raise EdgepruneError(f"{path}: --labels and --frontend describe a .tflite; leave them out.")
        frontend, normalisation = (None, None) if self.frontend is None else read_frontend(self.frontend)
        return load_tflite(path, labels, frontend, normalisation, self.output)

    def _labels(self) -> list[str] | None:
        if len(self.labels) == 1 and Path(self.labels[0]).is_file():
            try:
                lines = Path(self.labels[0]).read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise EdgepruneError(
                    f"{self.labels[0]}: is no text file of labels ({error}); give one a line."
                ) from error
            return [line.strip() for line in lines if line.strip()]
        return list(self.labels) or None


def read_frontend(path: Path) -> tuple[LogMel, tuple[Any, Any] | None]:
    """The front-end in a JSON or TOML file, and the mean and standard deviation that log-mel is normalised by."""
    content = read_toml(path) if path.suffix == ".toml" else read_object(path)
    stored = content.get("frontend", content)
    if not isinstance(stored, dict):
        raise EdgepruneError(f"{path}: its frontend is no table; give the fields of LogMel as JSON or TOML.")
    fields = {name: value for name, value in stored.items() if name != "normalisation"}
    normalisation = stored.get("normalisation") or content.get("normalisation")
    try:
        frontend = LogMel.from_dict(fields)
        if isinstance(normalisation, Mapping):
            return frontend, (normalisation["mean"], normalisation["std"])
        return frontend, None
    except (EdgepruneError, KeyError) as error:
        what = f"{path}: is no description of a log-mel front-end ({first_line(error)})"
        raise EdgepruneError(f"{what}; give the fields of LogMel as JSON or TOML.") from error
