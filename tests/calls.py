"""Calls of the command line within the test's process."""

import json
from pathlib import Path
from typing import Any

import pytest

from edgeprune.cli.main import main


def call(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one call."""
    code = main([str(arg) for arg in argv])
    out, err = capsys.readouterr()
    return code, out, err


def call_json(capsys: pytest.CaptureFixture[str], *argv: str | Path, code: int = 0) -> Any:
    """What a call prints with `--json`."""
    found, out, err = call(capsys, *argv, "--json")
    assert found == code, err
    return json.loads(out)
