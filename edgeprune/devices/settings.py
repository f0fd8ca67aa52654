"""The user's settings for this computer: `settings.toml` in the configuration folder of edgeprune."""

from pathlib import Path
from typing import Any

from edgeprune.errors import EdgepruneError
from edgeprune.files import read_toml


def settings_path() -> Path:
    """The place of the file, such as `~/.config/edgeprune/settings.toml` on Linux; it need not exist."""
    from platformdirs import user_config_path

    return user_config_path("edgeprune") / "settings.toml"


def setting(name: str) -> str | None:
    """The text of a setting, None where there is none; `android.benchmark_model` is in the table `[android]`."""
    path = settings_path()
    value: Any = read_toml(path) if path.exists() else None
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if value is not None and not isinstance(value, str):
        raise EdgepruneError(f"{path}: {name} is {value!r}; give a text in quotation marks.")
    return value
