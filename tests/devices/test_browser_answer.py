import json
from typing import Any

import numpy as np
import pytest

from edgeprune.devices.browser_answer import AnswerShape, PageAnswer

SHAPE = AnswerShape(outputs=((2, 3), (2, 1)), runs=2)
BROWSER = {"cores": 8, "simd": True, "relaxed_simd": True, "threads": False, "clock_step_ms": 0.1, "hidden": False}


def answer() -> dict[str, Any]:
    first = {"outputs": [0, 0.5, 1, 2, 3, None], "times_ms": [1, 2.5], "inferences": 1}
    second = {"outputs": [1e30, -1], "times_ms": [3, 4], "inferences": 64}
    return {"browser": dict(BROWSER), "results": [first, second]}


def test_a_right_answer():
    found = SHAPE.read(json.dumps(answer()).encode(), "Firefox\n\x1b[0m\N{SNOWMAN}")
    assert isinstance(found, PageAnswer)
    assert found.user_agent == "Firefox  [0m\N{SNOWMAN}"
    first, second = found.files
    assert np.array_equal(first.outputs, np.array([[0, 0.5, 1], [2, 3, np.nan]], np.float32), equal_nan=True)
    assert list(first.times_ms) == [1, 2.5]
    assert (first.outputs.dtype, second.outputs.shape, second.inferences) == (np.float32, (2, 1), 64)


def test_the_longest_right_answer_fits():
    whole = answer()
    number = -1.2345678901234567e-100
    assert len(json.dumps(number)) == 24
    for file, count in zip(whole["results"], (6, 2), strict=True):
        file["outputs"], file["times_ms"] = [number] * count, [-number] * 2
    assert len(json.dumps(whole)) < SHAPE.limit_bytes
    SHAPE.read(json.dumps(whole).encode(), "")


@pytest.mark.parametrize(
    ("error", "reason"),
    [("out of memory.", "out of memory"), ("", "no reason given"), ("\n", "no reason given"), (5000 * "x", 300 * "x")],
)
def test_a_page_that_failed(error, reason):
    assert SHAPE.read(json.dumps({"error": error}).encode(), "") == reason


@pytest.mark.parametrize(
    "content",
    [b"", b"no", b"[]", b"1", b'"error"', b"{}", b'{"error": 1}', b'{"error": "a", "results": []}', b"\xff", b"NaN",
     b'{"browser": {}, "results": []}'],
)  # fmt: skip
def test_contents_that_are_no_answer(content):
    with pytest.raises(ValueError, match=r".+"):
        SHAPE.read(content, "")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("browser",), None),
        (("browser", "cores"), -1),
        (("browser", "cores"), 8.5),
        (("browser", "cores"), True),
        (("browser", "cores"), "8"),
        (("browser", "simd"), 1),
        (("browser", "hidden"), "no"),
        (("browser", "clock_step_ms"), 0),
        (("browser", "clock_step_ms"), None),
        (("browser", "more"), 1),
        (("results",), {}),
        (("results",), []),
        (("results", 0), []),
        (("results", 0, "more"), 1),
        (("results", 0, "outputs"), [1, 2, 3, 4, 5]),
        (("results", 0, "outputs"), [1, 2, 3, 4, 5, True]),
        (("results", 0, "outputs"), [1, 2, 3, 4, 5, "6"]),
        (("results", 0, "outputs"), [[1, 2, 3], [4, 5, 6]]),
        pytest.param(("results", 0, "outputs", 0), 10**400, id="integer beyond float64"),
        (("results", 0, "times_ms"), [1]),
        (("results", 0, "times_ms"), [1, 2, 3]),
        (("results", 0, "times_ms", 0), 0),
        (("results", 0, "times_ms", 0), -1),
        (("results", 0, "times_ms", 0), None),
        (("results", 1, "inferences"), 0),
        (("results", 1, "inferences"), 1.0),
        (("results", 1, "inferences"), True),
    ],
)
def test_one_wrong_field_is_enough(place, value):
    whole: Any = answer()
    inner = whole
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    with pytest.raises(ValueError, match=r".+"):
        SHAPE.read(json.dumps(whole).encode(), "")


def test_a_missing_field_and_a_number_too_large():
    whole = answer()
    del whole["browser"]["simd"]
    with pytest.raises(ValueError, match="another browser"):
        SHAPE.read(json.dumps(whole).encode(), "")
    content = json.dumps(answer()).replace("2.5", "1e999").encode()
    with pytest.raises(ValueError, match="too large"):
        SHAPE.read(content, "")
