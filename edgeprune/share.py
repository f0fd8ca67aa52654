"""Where the files that travel with the package lie: dataset cards, recipes, device templates."""

from pathlib import Path


def share_folder(name: str) -> Path:
    """The folder `datasets`, `recipes` or `export`: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).resolve().parent
    installed = package / "_share" / name
    return installed if installed.is_dir() else package.parent / name
