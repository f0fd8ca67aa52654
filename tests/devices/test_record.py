import json
from typing import Any

import pytest

from edgeprune.devices.record import Measurement
from edgeprune.errors import EdgepruneError

FIELDS: dict[str, Any] = {
    "device": "cortex-m4",
    "kind": "emulated",
    "unit": "instructions",
    "median": 2.0,
    "p5": 1.0,
    "p95": 3.0,
    "runs": 5,
    "peak_ram_bytes": None,
    "threads": 1,
    "model": "model_int8.tflite",
    "sha256": "0" * 64,
    "detail": {"board": "mps2-an386"},
}


def test_to_dict_is_plain_json() -> None:
    assert json.loads(json.dumps(Measurement(**FIELDS).to_dict(), allow_nan=False)) == FIELDS


@pytest.mark.parametrize("kind", ["measured", "emulated", "estimated"])
def test_kinds(kind) -> None:
    assert Measurement(**{**FIELDS, "kind": kind}).kind == kind


def test_one_run_may_be_all_there_is() -> None:
    assert Measurement(**{**FIELDS, "p5": 2.0, "p95": 2.0, "runs": 1}).runs == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "guessed"}, "kind 'guessed'; use one of measured, emulated, estimated"),
        ({"runs": 0}, "0 runs"),
        ({"p5": 2.5}, "p5 2.5, median 2.0"),
        ({"p95": 1.5}, "p95 1.5 instructions are no measurement"),
        ({"p5": -1.0}, "p5 -1.0"),
        ({"median": float("nan")}, "median nan"),
        ({"p95": float("inf")}, "p95 inf"),
        ({"p5": float("nan")}, "p5 nan"),
    ],
)
def test_refused(change, says) -> None:
    with pytest.raises(EdgepruneError, match=f"cortex-m4: .*{says}"):
        Measurement(**{**FIELDS, **change})
