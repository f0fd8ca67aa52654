"""The few errors edgeprune raises on purpose; each carries the exit code the command line ends with."""


class EdgepruneError(Exception):
    """Wrong input: one sentence naming the thing, what was wrong with it and what to do (exit code 2)."""

    exit_code = 2


class InfeasibleBudgetError(EdgepruneError):
    """No network inside the search space meets the budget (exit code 3)."""

    exit_code = 3


class CheckFailedError(EdgepruneError):
    """A promise was broken: parity, an accuracy floor, a checksum of something already built (exit code 4)."""

    exit_code = 4
