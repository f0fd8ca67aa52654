"""Audio files under a data set's folder, located by the names in its lists."""

import os
from pathlib import Path

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif")
"""Audio files that libsndfile reads."""


class ClipFinder:
    """Locates clips under a root; each folder is listed once, so a hundred thousand clips take a second."""

    def __init__(self, root: Path, audio: str = "") -> None:
        self.root = root
        self.audio = audio.strip("/")
        self._folders: dict[str, tuple[set[str], dict[str, str]]] = {}

    def find(self, filename: str) -> str | None:
        """The path of a listed clip relative to the root, or None where it is absent.

        It is looked for as listed, then in the audio folder, each time also with another audio suffix.
        """
        places = [filename]
        if self.audio and not filename.startswith(f"{self.audio}/"):
            places.append(f"{self.audio}/{filename}")
        for place in places:
            folder, slash, name = place.rpartition("/")
            names, by_stem = self._list(folder)
            if name in names:
                return place
            other = by_stem.get(stem(name))
            if other is not None:
                return f"{folder}{slash}{other}"
        return None

    def published(self, filename: str) -> str:
        """The place where an absent clip belongs."""
        return f"{self.audio}/{filename}" if self.audio and "/" not in filename else filename

    def _list(self, folder: str) -> tuple[set[str], dict[str, str]]:
        """Names in a folder, and its audio files by their name without suffix."""
        if folder not in self._folders:
            path = self.root / folder
            names = set(os.listdir(path)) if path.is_dir() else set()
            audio = [name for name in names if is_audio(name)]
            audio.sort(key=lambda name: SUFFIXES.index(_suffix(name)), reverse=True)  # .wav is written last and stays
            self._folders[folder] = names, {stem(name): name for name in audio}
        return self._folders[folder]


def is_audio(name: str) -> bool:
    """Whether a file is audio, by its suffix."""
    return _suffix(name) in SUFFIXES


def stem(place: str) -> str:
    name = place.rpartition("/")[2]
    return name.rpartition(".")[0] or name


def _suffix(name: str) -> str:
    return f".{name.rpartition('.')[2].lower()}"
