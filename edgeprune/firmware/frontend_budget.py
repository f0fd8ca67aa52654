"""A budget that the network shares with its log-mel front-end."""

from dataclasses import replace

from edgeprune.errors import InfeasibleBudgetError
from edgeprune.recipe import Budget, LogMel


def frontend_bytes(frontend: LogMel) -> dict[str, int]:
    """RAM and flash of the front-end in C for an int8 network, by the names of the limits they count in.

    Raises:
        EdgepruneError: the front-end cannot be written in C.
    """
    from edgeprune.firmware.frontend import frontend_cost

    found = frontend_cost(frontend, quantised=True)
    return {"peak_ram": found.ram_bytes, "flash": found.flash_bytes}


def left_for_network(budget: Budget, frontend: LogMel | None) -> Budget:
    """The budget less what the front-end takes, where it asks for that; else the budget itself.

    Args:
        frontend: None: a network of images, which has none.

    Raises:
        EdgepruneError: the front-end cannot be written in C.
        InfeasibleBudgetError: a limit is too small for the front-end alone.
    """
    if not budget.include_frontend or frontend is None:
        return budget
    left = {}
    for name, taken in frontend_bytes(frontend).items():
        limit = getattr(budget, name)
        if limit is None:
            continue
        if taken >= limit:
            raise InfeasibleBudgetError(
                f"budget.{name}: {limit:,} B is less than the {taken:,} B of the front-end alone; raise it, or choose "
                "fewer mels or frames."
            )
        left[name] = limit - taken
    return replace(budget, **left)
