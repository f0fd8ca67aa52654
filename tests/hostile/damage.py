"""What is done to a good input to make a hostile one: to its bytes, and to the values of its parts."""

import math
import random
from collections.abc import Iterator
from typing import Any

import numpy as np

NUMBERS = (-1, 0, 1, 2, 3, 127, 128, 255, 256, 32767, 65535, 65536, 10**6, 2**31 - 1, -(2**31), 2**32 - 1, 2**62)
FLOATS = (0.0, -0.0, -1.0, 1e-45, 1e-30, 1e30, 3e38, math.inf, -math.inf, math.nan)
TEXTS = (b"", b"\xff\xfe\x80", b"a" * 3000, b"\0", b"../../etc/passwd", "\u202e\ud7ff".encode(), b"%s%n{0}")


def damaged_bytes(random: random.Random, content: bytes) -> bytes:
    """Bits flipped, bytes set, or a stretch cut out, repeated, zeroed or filled; the end may be missing."""
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 4, 16))):
        if not data:
            break
        place, length = random.randrange(len(data)), random.choice((1, 2, 4, 8, 64, 1024))
        match random.randrange(9):
            case 0 | 1 | 2:
                data[place] ^= 1 << random.randrange(8)
            case 3 | 4:
                data[place] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))
            case 5:
                value = random.choice(NUMBERS) % (1 << 32)
                data[place : place + 4] = value.to_bytes(4, random.choice(("little", "big")))
            case 6:
                data[place : place + length] = bytes([random.choice((0, 0xFF))]) * length
            case 7:
                del data[place : place + length]
            case 8:
                data[place:place] = data[place : place + length] * random.choice((1, 3))
    if random.random() < 0.1:
        del data[random.randrange(len(data) + 1) :]
    return bytes(data)


def damage_parts(random: random.Random, whole: Any, times: int | None = None) -> None:
    """Change some values anywhere inside lists, tables (dict) and objects."""
    for _ in range(times or random.choice((1, 1, 1, 2, 4))):
        places = list(_places(whole))
        holder, name, value = random.choice(places)
        _put(holder, name, _other(random, value, places))


def _places(holder: Any, depth: int = 0) -> Iterator[tuple[Any, Any, Any]]:
    """Every value inside, with what holds it and its name or number there."""
    if isinstance(holder, dict):
        items = list(holder.items())
    elif isinstance(holder, list):
        items = list(enumerate(holder))[:64]
    elif hasattr(holder, "__dict__"):
        items = list(vars(holder).items())
    else:
        return
    for name, value in items:
        yield holder, name, value
        if depth < 12:
            yield from _places(value, depth + 1)


def _put(holder: Any, name: Any, value: Any) -> None:
    if isinstance(holder, dict | list):
        holder[name] = value
    else:
        setattr(holder, name, value)


def _other(random: random.Random, value: Any, places: list[tuple[Any, Any, Any]]) -> Any:
    """A value of the same kind, seldom of another one."""
    if random.random() < 0.05:
        return random.choice((None, 0, -1, 1e300, "text", [], {}, True, random.choice(places)[2]))
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | np.integer):
        return random.choice((*NUMBERS, int(value) + 1, int(value) - 1, int(value) * 2, -int(value), int(value) ^ 4))
    if isinstance(value, float | np.floating):
        return random.choice((*FLOATS, -float(value), float(value) * 1000))
    if isinstance(value, bytes):
        return random.choice((*TEXTS, damaged_bytes(random, value)))
    if isinstance(value, str):
        return random.choice((*(text.decode("utf-8", "replace") for text in TEXTS), value * 2, value[:-1]))
    if isinstance(value, np.ndarray) and value.dtype == np.uint8:
        return np.frombuffer(damaged_bytes(random, value.tobytes()), np.uint8)
    if isinstance(value, list | np.ndarray):
        return _other_list(random, list(value), places)
    if isinstance(value, dict):
        return {name: each for name, each in value.items() if random.random() < 0.8}
    alike = [other for _, _, other in places if type(other) is type(value)]
    return random.choice((None, random.choice(alike)))


def _other_list(random: random.Random, values: list[Any], places: list[tuple[Any, Any, Any]]) -> list[Any]:
    match random.randrange(6):
        case 0:
            return []
        case 1:
            return values[:-1]
        case 2:
            return [*values, *values[-1:]]
        case 3:
            return values[::-1]
        case 4:
            return values * random.choice((2, 50))
        case _:
            place = random.randrange(len(values)) if values else 0
            return [*values[:place], _other(random, values[place], places) if values else 0, *values[place + 1 :]]
