"""How a network is deployed: by which runtime, by which rules it decides, under which names, with which card."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edgeprune.audio.listen_rules import ListenRules
from edgeprune.errors import EdgepruneError

Runtime = Literal["stream", "tflm"]
OWN_FILES = (
    "(classify|fft|fifo|frontend|frontend_config|frontend_tables|labels|listen|listen_config|network|selftest|stream)"
)
"""Names of our own C files, without `edgeprune_`."""
PACKAGE = "edgeprune"
_RESERVED = (
    "(abstract|as|assert|boolean|break|byte|case|catch|char|class|const|continue|default|do|double|else|enum|"
    "extends|false|final|finally|float|for|fun|goto|if|implements|import|in|instanceof|int|interface|is|long|"
    "native|new|null|object|package|private|protected|public|return|short|static|strictfp|super|switch|"
    "synchronized|this|throw|throws|transient|true|try|typealias|typeof|val|var|void|volatile|when|while)"
)
"""Words of Java and Kotlin that name no package."""


@dataclass(frozen=True)
class Deployment:
    """What the firmware, or the page, does with the network."""

    rules: ListenRules = field(default_factory=ListenRules)
    runtime: Runtime = "stream"
    """stream: the network as C that takes frames as they come; tflm: TensorFlow Lite Micro."""
    prefix: str = "ep"
    """Of all names in C, so that two bundles link into one program."""
    package: str = PACKAGE
    """Of the Kotlin classes."""
    card: str | None = None
    """The model card as Markdown, which the page shows; None: it has none."""
    litert_js: Path | None = None
    """Where the page's runtime comes from (see `devices.litert_js.find_litert_js`)."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9]{0,20}", self.prefix):
            raise EdgepruneError(
                f"prefix: '{self.prefix}' makes no C names; use up to 21 of a-z and 0-9, a letter first."
            )
        if self.prefix != "ep" and self.runtime == "tflm":
            raise EdgepruneError("prefix: networks under TensorFlow Lite Micro keep their names; use --runtime stream.")
        parts = self.package.split(".")
        if not all(re.fullmatch(r"[a-z][a-z0-9_]*", part) and not re.fullmatch(_RESERVED, part) for part in parts):
            raise EdgepruneError(
                f"package: '{self.package}' names no Kotlin package; use words of a-z, 0-9 and _ with dots between, a "
                "letter first in each, such as org.example.listening."
            )

    @property
    def network_prefix(self) -> str:
        """Of the names of the network's own C."""
        return "net" if self.prefix == "ep" else f"{self.prefix}_net"


def rename(folder: Path, prefix: str) -> None:
    """Give the names in C, of files too, another prefix than `ep` and `edgeprune`, in all text files of a folder."""
    if prefix == "ep":
        return
    for path in sorted(
        path for path in folder.rglob("*") if path.suffix in (".c", ".h", ".ino", ".md", ".txt", ".properties")
    ):
        text = path.read_text(encoding="utf-8")
        text = re.sub(r"\bep_", f"{prefix}_", text)
        text = re.sub(r"\bEP_", f"{prefix.upper()}_", text)
        text = re.sub(rf"\bedgeprune_{OWN_FILES}(?=\.[ch]\b|\()", rf"{prefix}_\1", text)
        text = re.sub(rf"\bEDGEPRUNE_{OWN_FILES.upper()}_H\b", rf"{prefix.upper()}_\1_H", text)
        path.write_text(text, encoding="utf-8")
        path.rename(path.with_name(re.sub(rf"^edgeprune_{OWN_FILES}(?=\.[ch]$)", rf"{prefix}_\1", path.name)))
