"""Hostile inputs are counted, and `make hostile` prints a row for each kind of them."""

import os
from collections.abc import Callable
from dataclasses import asdict

import pytest
from hostile import Tally


@pytest.fixture
def hold(record_property: Callable[[str, object], None]) -> Callable[[Tally], None]:
    """Record what became of the inputs of a kind, and fail if one of them ended in something else than it may.

    Some inputs must be refused and others taken: else the generator does not reach what the test is about.
    """

    def holds(tally: Tally) -> None:
        record_property("hostile", asdict(tally) | {"faults": len(tally.faults)})
        assert not tally.faults, f"{len(tally.faults)} of {tally.inputs}:\n" + "\n".join(tally.faults[:20])
        assert 0 < tally.refused < tally.inputs, tally

    return holds


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if "EDGEPRUNE_HOSTILE" not in os.environ:
        return
    terminalreporter.section("hostile inputs")
    terminalreporter.write_line(f"{'kind':<40}{'inputs':>9}{'refused':>9}{'seconds':>9}{'faults':>8}")
    reports = [each for name in ("passed", "failed") for each in terminalreporter.stats.get(name, [])]
    rows = [value for report in reports for name, value in report.user_properties if name == "hostile"]
    for row in sorted(rows, key=lambda row: row["kind"]):
        terminalreporter.write_line(
            f"{row['kind']:<40}{row['inputs']:>9,}{row['refused']:>9,}{row['seconds']:>9.1f}{row['faults']:>8}"
        )
