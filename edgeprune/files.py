"""Files that are either whole or absent, and the hashes that name their content."""

import dataclasses
import errno
import hashlib
import json
import os
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from edgeprune.errors import EdgepruneError, first_line
from edgeprune.scratch import scratch_file

T = TypeVar("T")
_HALF_CHARACTER = re.compile("[\\ud800-\\udc7f\\udd00-\\udfff]")
"""Halves of UTF-16 pairs, but those by which Python stands for bytes of a path that is no UTF-8."""
_DEEPEST = 50
"""Levels of JSON and TOML; files of edgeprune have some seven."""
_LARGEST = 1e100
"""Of the numbers in them; squares and sums of such are finite."""


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path in the same folder; rename it to `path` if the block succeeds, remove it if not."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch_file(path) as temporary:
            yield temporary
            os.replace(temporary, path)
    except OSError as error:
        raise cannot_write(path, error) from error


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
    """Write UTF-8; of a path that is none its bytes are escaped."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: Path | str, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, default=to_jsonable, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read a JSON file; see `parse_json`."""
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise _cannot_read(path, error) from error
    return parse_json(content, path)


def read_object(path: Path | str) -> dict[str, Any]:
    """Read a JSON file that holds an object; see `parse_json`."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise EdgepruneError(f"{path}: is no JSON object but {_shown(value)}; write the file again.")
    return value


def parse_json(content: bytes, where: Path | str) -> Any:
    """JSON in UTF-8: whole numbers below 2^63, others up to 1e100, each key once, not nested deeply; else refused.

    `where` is what a sentence calls it.
    """
    try:
        value = json.loads(content.decode("utf-8"), object_pairs_hook=_each_key_once)
        _check_plain(value, _DEEPEST)
    except (ValueError, RecursionError) as error:
        raise EdgepruneError(f"{where}: is not valid JSON ({_reason(error)}); write it again.") from error
    return value


def read_toml(path: Path, name: str = "") -> dict[str, Any]:
    """Read a TOML file of such values as `parse_json` takes; `name` is what a sentence calls it (default: its path)."""
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise _cannot_read(name or path, error) from error
    try:
        value = tomllib.loads(content.decode("utf-8"))
        _check_plain(value, _DEEPEST)
    except (ValueError, RecursionError) as error:
        raise EdgepruneError(f"{name or path}: is not valid TOML ({_reason(error)}); correct it.") from error
    return value


def _cannot_read(path: Path | str, error: OSError | ValueError) -> EdgepruneError:
    reason = error.strerror if isinstance(error, OSError) else "no file can have this name"
    return EdgepruneError(f"{path}: cannot be read ({reason}); check the path.")


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        twice = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise ValueError(f"{twice!r} is there twice")
    return value


def _check_plain(value: Any, depth: int) -> None:
    """Raise ValueError for what JSON and TOML can hold but no field takes, and what would fail far from its file."""
    if depth == 0:
        raise ValueError(f"nested more than {_DEEPEST} deep")
    if isinstance(value, dict):
        for name, inner in value.items():
            _check_plain(name, depth - 1)
            _check_plain(inner, depth - 1)
    elif isinstance(value, list):
        for inner in value:
            _check_plain(inner, depth - 1)
    elif isinstance(value, str):
        if "\0" in value or _HALF_CHARACTER.search(value):
            raise ValueError("a text holds a zero byte or half a character")
    elif isinstance(value, int) and value.bit_length() > 63:
        raise ValueError("a whole number is beyond 2^63")
    elif isinstance(value, float) and not abs(value) <= _LARGEST:  # NaN too
        raise ValueError(f"a number is {value}")


def _reason(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else first_line(error)


def _shown(value: Any) -> str:
    return "null" if value is None else f"a {type(value).__name__}"


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

    `where` comes before a field's name in messages. Unknown and missing fields raise TypeError, and so does a value
    that is no table.
    """
    from typeguard import CollectionCheckStrategy, TypeCheckError, check_type

    if not isinstance(fields, dict):
        raise TypeError(f"{where.rstrip('.: ')} is no table but {_shown(fields)}")
    hints = get_type_hints(kind)
    values = {}
    for name, value in fields.items():
        hint = hints.get(name, Any)
        if isinstance(value, list):
            value = tuple(value)
        elif isinstance(value, str) and Path in get_args(hint):
            value = Path(value)
        elif isinstance(hint, type) and dataclasses.is_dataclass(hint) and not isinstance(value, hint):
            value = from_plain(hint, value, f"{where}{name}.")
        try:
            if isinstance(value, bool) and hint is not bool:  # which Python counts among the integers
                raise TypeCheckError("is a truth value")
            values[name] = check_type(value, hint, collection_check_strategy=CollectionCheckStrategy.ALL_ITEMS)
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
