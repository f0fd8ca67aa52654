"""Standard output on any code page: the same bytes, and nothing that cannot be encoded."""

import io
import os
import subprocess
import sys

import pytest

from edgeprune import console
from edgeprune.plain_output import encodable

SCRIPT = """
from edgeprune.console import print_table
from edgeprune.exit_codes import guarded

def action(args):
    print_table("title", ("name", "points"), [("a", "\\u22121.20 \\xb1 0.30"), ("b", "\\u2013")])
    print("\\xd7 \\u2026 \\u2192")
    return 0

raise SystemExit(guarded(action, [], "test"))
"""
PAGES = ({"PYTHONIOENCODING": "cp1252"}, {"PYTHONIOENCODING": "cp437"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}, {})


def test_piped_output_is_the_same_on_every_code_page() -> None:
    written = set()
    for page in (*PAGES, {"PYTHONIOENCODING": "utf-8"}, {"PYTHONIOENCODING": "ascii"}):
        environment = {**os.environ, **page}
        done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, check=True)
        assert done.stderr == b""
        written.add(done.stdout)
    (output,) = written
    text = output.decode("ascii")
    assert "-1.20 +- 0.30" in text
    assert "x ... ->" in text
    assert len({len(line) for line in text.splitlines() if line.startswith(("|", "+"))}) == 1  # columns are straight


def stream(encoding: str, terminal: bool = False) -> tuple[io.BytesIO, io.TextIOWrapper]:
    class Terminal(io.TextIOWrapper):
        def isatty(self) -> bool:
            return terminal

    written = io.BytesIO()
    return written, Terminal(written, encoding, "strict", write_through=True)


@pytest.mark.parametrize(
    ("encoding", "terminal", "expected"),
    [
        ("utf-8", False, "Stra\N{LATIN SMALL LETTER SHARP S}e 5 - +-".encode()),
        ("cp1252", False, b"Stra\xdfe 5 - +-"),
        ("ascii", False, b"Stra\\xdfe 5 - +-"),
        ("cp1252", True, b"Stra\xdfe 5 \x96 \xb1"),
        ("cp437", True, b"Stra\xe1e 5 - \xf1"),
        ("utf-8", True, "Stra\N{LATIN SMALL LETTER SHARP S}e 5 \N{EN DASH} \N{PLUS-MINUS SIGN}".encode()),
    ],
)
def test_names_of_users_and_our_marks(monkeypatch, encoding: str, terminal: bool, expected: bytes) -> None:
    written, out = stream(encoding, terminal)
    monkeypatch.setattr(sys, "stdout", out)
    with encodable():
        print("Stra\N{LATIN SMALL LETTER SHARP S}e 5 \N{EN DASH} \N{PLUS-MINUS SIGN}", end="")
    assert written.getvalue() == expected
    assert (out.encoding, out.errors) == (encoding, "strict")


def test_no_name_commands_the_terminal(capsys) -> None:
    """Escape sequences set titles, move the cursor and paste; names of clips and labels may hold them."""
    evil = "a\x1b]0;evil\x07b\x9b2Jc\rd\x08e"
    console.say(f"warning: {evil}")
    console.print_line(evil)
    console.print_table(evil, (evil, "n"), [(evil, 1)])
    out, err = capsys.readouterr()
    assert not set(out + err) & set("\x1b\x07\x9b\r\x08")
    assert out.count(r"\x1b]0;evil\x07b\x9b2Jc") == 4
    assert r"\x1b]0;evil\x07" in err
