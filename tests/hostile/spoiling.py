"""Valid text made hostile: bytes cut, changed and added, and documents with one value that nobody would write."""

import copy
import json
import random
from typing import Any

LONG = "x" * 5000
NASTY_TEXT = (
    *("", " ", "\x00", "\x1b[31mred", "\r\n", "../../etc/passwd", "/dev/zero", "-", "--help", "=1+1", "'\";--", "<b>"),
    *("é" * 200, "x" * 300, LONG, "\ud800", "\N{RIGHT-TO-LEFT OVERRIDE}x", "%s{}", "None"),
    *("nan", "1e999", "9" * 5000, "0x10"),
)
NASTY_VALUES = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**400, 0.5, -0.0, 1e308, 5e-324),
    *(float("nan"), float("inf"), float("-inf")),
    *([], [[]], {}, {"": {}}, [None], [1, "two", 3.0], {"x": 1}, list(range(300))),
    *NASTY_TEXT,
)


def spoil_bytes(rng: random.Random, content: bytes) -> bytes:
    """Up to four changes: cut short, bytes changed, taken out, put in or repeated, other line ends, zero bytes."""
    for _ in range(rng.randint(1, 4)):
        content = rng.choice(_CHANGES)(rng, content)
    return content


def spoil_value(rng: random.Random, document: Any) -> Any:
    """A copy of a document of dictionaries and lists with one to three values replaced, removed, renamed or nested."""
    document = copy.deepcopy(document)
    for _ in range(rng.randint(1, 3)):
        places = list(_places(document))
        if not places:
            break
        holder, key = rng.choice(places)
        change = rng.random()
        if change < 0.65:
            holder[key] = copy.deepcopy(rng.choice(NASTY_VALUES))  # what is put in may be spoilt next
        elif change < 0.8:
            del holder[key]
        elif change < 0.9 and isinstance(holder, dict):
            holder[rng.choice(NASTY_TEXT)] = copy.deepcopy(holder[key])
        elif isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        else:
            holder[key] = [holder[key]]
    return document


def spoil_json(rng: random.Random, document: Any) -> bytes:
    """A JSON file with wrong values, or of broken bytes, or nested deeply, or with keys and digits nobody reads."""
    way = rng.random()
    if way < 0.6:
        return json.dumps(spoil_value(rng, document)).encode()
    text = json.dumps(document, indent=rng.choice((None, 2)))
    if way < 0.85:
        return spoil_bytes(rng, text.encode())
    if way < 0.9:
        return _nested(rng, text).encode()
    if way < 0.95:
        return _with_digits(rng, text).encode()
    return rng.choice((f"[{text}]", f"{text}{text}", f'"{LONG}"', "null", "1", "[]", "{}", "")).encode()


def spoil_toml(rng: random.Random, text: str) -> bytes:
    """A TOML file with wrong values, or of broken bytes, or nested deeply."""
    if rng.random() < 0.3:
        return spoil_bytes(rng, text.encode())
    lines = text.splitlines()
    for _ in range(rng.randint(1, 2)):
        place = rng.choice([place for place, line in enumerate(lines) if "=" in line] or [0])
        key, _, value = lines[place].partition("=")
        lines[place] = rng.choice((f"{key}= {rng.choice(NASTY_TOML)}", f"{key}= [{value}]", f"no{key}={value}", ""))
        if rng.random() < 0.1:
            lines.insert(place, rng.choice((lines[place], "[a.b]", "[[a]]", "=", "[")))
    return "\n".join(lines).encode("utf-8", "surrogatepass")


NASTY_TOML = (
    *("true", "0", "-1", "1", "9223372036854775808", "0x" + "f" * 5000, "9" * 5000, "1e999", "inf", "nan", "1e308"),
    *("[]", "[[]]", "{}", "{ a = 1 }", "1979-05-27T07:32:00Z", "07:32:00", '""', '"\\u0000"', '"\\u001b[31m"'),
    *('["a", 1]', '["a", "a"]', "[" * 2000 + "]" * 2000, "{a=" * 2000 + "1" + "}" * 2000, "[1, 2, 3]", "[inf]"),
    *(f'"{LONG}"', '"../.."', '"/etc/passwd"', '"(((("', '"{x.__class__}"', '"{}"', '"(?P<a>.*)"', '"é"', "zero"),
)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every holder and key of a document."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [(value, key) for key in keys] + [place for key in keys for place in _places(value[key])]


def _nested(rng: random.Random, text: str) -> str:
    """The document, or one of its values, in a thousand or a hundred thousand brackets."""
    depth = rng.choice((1000, 5000, 100_000))
    opening, closing = rng.choice((("[", "]"), ('{"a":', "}")))
    middle = opening * depth + "1" + closing * depth
    place = text.find(": ", rng.randrange(len(text)))
    return middle if place < 0 else f"{text[: place + 2]}{middle}, {text[place + 2 :]}"


def _with_digits(rng: random.Random, text: str) -> str:
    places = [place for place, sign in enumerate(text) if sign.isdigit()]
    place = rng.choice(places) if places else 0
    return (
        text[:place] + rng.choice(("9" * 5000, "1e400", "NaN", "Infinity", "-Infinity", "1e-400")) + text[place + 1 :]
    )


def _cut(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.randint(0, len(content))]


def _change(rng: random.Random, content: bytes) -> bytes:
    place = rng.randrange(len(content) + 1)
    return content[:place] + bytes([rng.randrange(256)]) + content[place + 1 :]


def _take_out(rng: random.Random, content: bytes) -> bytes:
    place = rng.randrange(len(content) + 1)
    return content[:place] + content[place + rng.randint(1, 40) :]


def _put_in(rng: random.Random, content: bytes) -> bytes:
    place = rng.randrange(len(content) + 1)
    what = (
        rng.choice(NASTY_TEXT).encode("utf-8", "surrogatepass"),
        rng.randbytes(rng.randint(1, 30)),
        b'"',
        b",",
        b"\t",
    )
    return content[:place] + rng.choice(what) + content[place:]


def _repeat(rng: random.Random, content: bytes) -> bytes:
    start = rng.randrange(len(content) + 1)
    return content[: start + rng.randint(0, 200)] + content[start:]


def _line_ends(rng: random.Random, content: bytes) -> bytes:
    return content.replace(b"\n", rng.choice((b"\r\n", b"\r", b"\n\n", b"", b"\x0b", b"\xe2\x80\xa8")))


def _encoding(rng: random.Random, content: bytes) -> bytes:
    text = content.decode("latin-1")
    return text.encode(rng.choice(("utf-8", "utf-16", "utf-16-le", "utf-32", "utf-8-sig", "latin-1", "utf-7")))


_CHANGES = (_cut, _change, _change, _take_out, _put_in, _put_in, _repeat, _line_ends, _encoding)
