"""The report of a run in a real browser, on a phone and on a desktop, in both themes."""

from pathlib import Path
from typing import Any

import pytest
from browsers import Photograph

from edgeprune.reporting.report import write_report
from edgeprune.results.result import Result

pytestmark = pytest.mark.slow  # starts a browser


def test_report_fits_the_screen(photograph: Photograph, whole: dict[str, Any], tmp_path: Path) -> None:
    """The report of a result with everything, and of data that is remarked on."""
    whole["data"]["warnings"] = [
        "bus: 4 clips of the training part, fewer than five",
        "tram3.wav: is silent throughout",
    ]
    write_report(Result.from_json(whole), tmp_path / "report.html")
    photograph((tmp_path / "report.html").as_uri(), "report")
