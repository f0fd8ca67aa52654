"""What a killed command must end in, and the table of `make kill`."""

from collections import Counter
from collections.abc import Callable

import pytest
from kills import KILLS, Trial


@pytest.fixture
def holds(record_property: Callable[[str, object], None]) -> Callable[[str, Trial, float], None]:
    """Kill a command and start it again; its folder must hold what it holds after an undisturbed start."""

    def check(command: str, trial: Trial, share: float) -> None:
        left = trial.kill(share)
        record_property("kill", (command, left))
        trial.start_again()
        found = trial.contents()
        assert found.keys() == trial.expected.keys()
        assert [name for name in found if found[name] != trial.expected[name]] == []

    return check


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not KILLS:
        return
    kills, right, left = Counter[str](), Counter[str](), Counter[str]()
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            for _, (command, leftover) in (entry for entry in report.user_properties if entry[0] == "kill"):
                kills[command] += 1
                right[command] += outcome == "passed"
                left[command] += leftover
    terminalreporter.section("kills")
    terminalreporter.write_line(f"{'command':<20}{'kills':>8}{'same result':>14}{'left something':>17}")
    for command in kills:
        terminalreporter.write_line(f"{command:<20}{kills[command]:>8}{right[command]:>14}{left[command]:>17}")
    terminalreporter.write_line(f"{'all':<20}{kills.total():>8}{right.total():>14}{left.total():>17}")
