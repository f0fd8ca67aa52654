"""Files that are either whole or absent, and the hashes that name their content."""

import dataclasses
import errno
import hashlib
import json
import os
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from edgeprune.errors import EdgepruneError

T = TypeVar("T")


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path in the same folder; rename it to `path` if the block succeeds, remove it if not."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        os.chmod(name, 0o644)
    except OSError as error:
        raise cannot_write(path, error) from error
    temporary = Path(name)
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def cannot_write(path: Path | str, error: OSError) -> EdgepruneError:
    """Turn an OSError met while writing `path` into one clear sentence."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return EdgepruneError(f"{path}: the disk is full; free some space or choose another folder.")
    reason = error.strerror or str(error)
    return EdgepruneError(f"{path}: cannot be written ({reason}); choose a folder you can write to.")


def write_bytes(path: Path | str, data: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path | str, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path | str, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, default=to_jsonable, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read a JSON file."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise EdgepruneError(f"{path}: cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise EdgepruneError(f"{path}: is not valid JSON ({error}).") from error


def read_toml(path: Path, name: str = "") -> dict[str, Any]:
    """Read a TOML file; `name` is what a sentence calls it (default: its path)."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise EdgepruneError(f"{name or path}: cannot be read ({error.strerror}); check the path.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise EdgepruneError(f"{name or path}: is not valid TOML ({error}).") from error


def to_jsonable(value: Any) -> Any:
    """`default=` hook for json: dataclasses, paths and numpy scalars or arrays."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def from_plain(kind: type[T], fields: dict[str, Any], where: str) -> T:
    """Make a dataclass from JSON or TOML values; lists become tuples, text becomes paths, and tables dataclasses.

    `where` comes before a field's name in messages. Unknown and missing fields raise TypeError.
    """
    from typeguard import TypeCheckError, check_type

    hints = get_type_hints(kind)
    values = {}
    for name, value in fields.items():
        hint = hints.get(name, Any)
        if isinstance(value, list):
            value = tuple(value)
        elif isinstance(value, str) and Path in get_args(hint):
            value = Path(value)
        elif isinstance(hint, type) and dataclasses.is_dataclass(hint):
            value = from_plain(hint, value, f"{where}{name}.")
        try:
            if isinstance(value, bool) and hint is not bool:  # which Python counts among the integers
                raise TypeCheckError("is a truth value")
            values[name] = check_type(value, hint)
        except TypeCheckError as error:
            message = f"{where}{name} is {value!r}, which does not fit ({error}); correct it."
            raise EdgepruneError(message) from error
    return kind(**values)


def sha256_file(path: Path | str) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def md5_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()


def sha256_json(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`: equal content, equal key."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=to_jsonable)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def default_cache() -> Path:
    """The user's cache folder, or `EDGEPRUNE_CACHE`."""
    import platformdirs

    return Path(os.environ.get("EDGEPRUNE_CACHE") or platformdirs.user_cache_dir("edgeprune"))


def share_folder(name: str) -> Path:
    """The folder `datasets`, `recipes` or `export`: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).resolve().parent
    installed = package / "_share" / name
    return installed if installed.is_dir() else package.parent / name
