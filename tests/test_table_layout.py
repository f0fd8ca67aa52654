"""Whatever a table holds and however narrow it is, no figure is cut and no line is too long."""

import re
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeprune.table_layout import fit, paragraphs, wrap

figures = st.one_of(
    st.integers(-(10**12), 10**12).map("{:,}".format),
    st.floats(-1e6, 1e6).map("{:.3f}".format),
    st.floats(0, 100).map("{:.2f} %".format),
    st.tuples(st.floats(0, 99), st.floats(0, 9)).map(lambda pair: f"{pair[0]:.2f} \N{PLUS-MINUS SIGN} {pair[1]:.2f}"),
    st.floats(0.001, 999).map("{:.3g} ms (measured)".format),
)
names = st.text("abcxyzäß_-./ ", max_size=30).map(lambda text: " ".join(text.split()))
cells = st.one_of(figures, names, st.sampled_from(["", "\N{EN DASH}", "conv2d", "features.12.conv.0", "1x40x500"]))


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    columns = draw(st.integers(1, 9))
    heads = draw(st.lists(names, min_size=columns, max_size=columns))
    rows = draw(st.lists(st.lists(cells, min_size=columns, max_size=columns), min_size=1, max_size=5))
    return heads, rows


def words(text: str) -> Counter[str]:
    """The figures of a text: words that begin with a digit, after signs."""
    return Counter(word for word in text.split() if re.match(r"[(+\-]*\d", word))


def text_of(table: tuple[list[str], list[list[str]]], width: int) -> list[str]:
    layout = fit(*table, width)
    if layout is None:
        return list(paragraphs(*table, width))
    assert layout.width() <= width
    # a line of a row is the n-th line of each of its cells
    lines = []
    for row in layout.rows:
        parts = [cell.split("\n") for cell in row]
        for number in range(max(map(len, parts))):
            lines.append(" ".join(part[number] for part in parts if number < len(part)))
    return lines


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(table=tables(), width=st.integers(40, 160))
def test_no_figure_is_cut_and_no_line_too_long(table, width: int) -> None:
    lines = text_of(table, width)
    assert all(len(line) <= width for line in lines)
    held, shown = words(" ".join(" ".join(row) for row in table[1])), words(" ".join(lines))
    assert not held - shown


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(table=tables(), width=st.integers(40, 160))
def test_no_letter_is_lost(table, width: int) -> None:
    shown = Counter("".join("".join(text_of(table, width)).split()))
    held = Counter(character for row in table[1] for cell in row for character in cell if not character.isspace())
    dropped = Counter({character: held[character] for character in "-\N{EN DASH}"})  # columns that hold nothing go
    assert not held - shown - dropped


def test_the_steps_from_wide_to_narrow() -> None:
    heads, rows = ["layer", "kind", "MACs"], [["conv_first", "\N{EN DASH}", "286,637,800"]]
    whole = fit(heads, rows, 80)
    assert whole is not None
    assert (whole.bordered, whole.names, whole.rows) == (True, tuple(heads), (tuple(rows[0]),))
    assert whole.width() == len("| conv_first | kind | 286,637,800 |")
    bare = fit(heads, rows, 30)
    assert bare is not None
    assert (bare.bordered, bare.width()) == (False, len("conv_first  kind  286,637,800"))
    fewer = fit(heads, rows, 25)
    assert fewer is not None
    assert (fewer.names, fewer.width()) == (("layer", "MACs"), len("conv_first  286,637,800"))
    wrapped = fit(heads, rows, 20)
    assert wrapped is not None
    assert wrapped.rows == (("conv_\nfirst", "286,637,800"),)
    assert fit(heads, rows, 16) is None
    assert list(paragraphs(heads, rows, 22)) == ["conv_first", "  kind  \N{EN DASH}", "  MACs  286,637,800"]


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("model_int8.tflite", 8, ["model_", "int8.", "tflite"]),
        ("model_int8.tflite", 12, ["model_int8.", "tflite"]),
        ("5th to 95th percentile", 10, ["5th to", "95th", "percentile"]),
        ("lr-0.5 a-b_v1.2.x", 6, ["lr-0.5", "a-b_", "v1.2.x"]),
        ("abcdefgh", 3, ["abc", "def", "gh"]),
        ("", 5, []),
    ],
)
def test_wrap(text: str, width: int, lines: list[str]) -> None:
    assert wrap(text, width) == lines
