"""What the user set once for this computer: `settings.toml` in the configuration folder of edgeprune."""

import tomllib
from pathlib import Path
from typing import Any

from edgeprune.errors import EdgepruneError


def settings_path() -> Path:
    """Where the file is looked for, such as `~/.config/edgeprune/settings.toml` on Linux; it need not be there."""
    from platformdirs import user_config_path

    return user_config_path("edgeprune") / "settings.toml"


def setting(name: str) -> str | None:
    """The text of a setting such as `android.benchmark_model`, that is `benchmark_model` in the table `[android]`.

    Returns:
        None where there is no file, or it does not hold the setting.

    Raises:
        EdgepruneError: the file cannot be read or is not TOML, or the setting is no text.
    """
    path = settings_path()
    try:
        found: Any = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EdgepruneError(f"{path}: cannot be read ({error.strerror}).") from error
    except ValueError as error:  # also what is not UTF-8
        raise EdgepruneError(f"{path}: is not valid TOML ({error}).") from error
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    if found is not None and not isinstance(found, str):
        raise EdgepruneError(f"{path}: {name} is {found!r}; give a text in quotation marks.")
    return found
