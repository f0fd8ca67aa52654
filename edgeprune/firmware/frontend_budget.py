"""The budget that the network shares with its log-mel front-end."""

from dataclasses import replace

from edgeprune.errors import InfeasibleBudgetError
from edgeprune.firmware.frontend import frontend_cost
from edgeprune.recipe import Budget, LogMel, Runtime


def frontend_bytes(frontend: LogMel, runtime: Runtime) -> dict[str, int]:
    """Bytes of the front-end in C for an int8 network, by the limits of `Budget` that they count against.

    By the runtime `stream` the network takes frames as they come; otherwise the front-end keeps those of a patch.
    """
    cost = frontend_cost(frontend, quantised=True, stream=runtime == "stream")
    return {"peak_ram": cost.ram_bytes, "flash": cost.flash_bytes}


def left_for_network(budget: Budget, frontend: LogMel | None) -> Budget:
    """The budget less the front-end's bytes where `include_frontend` is set; a network of images has no front-end.

    By the runtime `stream` the limits stay, since they are on the program that holds both.
    """
    if not budget.include_frontend or frontend is None:
        return budget
    limits = {}
    for name, frontend_part in frontend_bytes(frontend, budget.runtime).items():
        limit = getattr(budget, name)
        if limit is None:
            continue
        if frontend_part >= limit:
            raise InfeasibleBudgetError(
                f"budget.{name}: {limit:,} B is less than the {frontend_part:,} B of the front-end alone; raise it, or "
                "choose fewer mels or frames."
            )
        limits[name] = limit - frontend_part
    return budget if budget.runtime == "stream" else replace(budget, **limits)
