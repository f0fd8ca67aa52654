"""`edgeprune data make`: write the synthetic scenes, which need no download."""

from dataclasses import dataclass
from pathlib import Path

from edgeprune.console import say
from edgeprune.recipe import Data


@dataclass(frozen=True)
class MakeCommand:
    """Write the synthetic scenes, which need no download; nothing is done where they are there already."""

    root: Path
    """Folder to write them to."""
    clips_per_scene: int = Data.clips_per_scene
    """Clips of each of the ten scenes."""
    clip_s: float = 1.0
    """Seconds a clip."""
    sample_rate: int = 16000
    """Hz."""
    seed: int = 0
    """Another seed, other clips."""
    mixtures: bool = False
    """Clips with the sounds of none, one or two scenes, labelled with all of them (card `synthetic_mixtures`)."""

    def __call__(self) -> int:
        from edgeprune.data.synthetic import ensure

        length = (self.clip_s, self.sample_rate)
        written = ensure(self.root, self.clips_per_scene, *length, self.seed, self.mixtures)
        say(f"{self.root}: the synthetic scenes {'are written' if written else 'were there already'}")
        return 0
