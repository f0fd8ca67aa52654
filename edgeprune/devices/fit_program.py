"""An allocation that keeps its limits on the device: what it takes is read back from a linked program."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from edgeprune.console import say
from edgeprune.devices.linked_program import BOARD, LinkedProgram, can_link, link_program
from edgeprune.errors import InfeasibleBudgetError
from edgeprune.firmware.stream_costs import StreamCosts
from edgeprune.pruning.allocation.allocate import Allocation, narrowest
from edgeprune.pruning.allocation.latency_limit import LatencyTable
from edgeprune.pruning.prune import ScoredNetwork
from edgeprune.recipe import Budget

MOST_FLASH = 1_000_000
"""Programs with more bytes of tables are not linked: writing them as C takes minutes."""
_ROUNDS = 6


@dataclass(frozen=True)
class Fitted:
    """An allocation within limits on a linked program.

    Attributes:
        kind: `emulated`: RAM and flash were read back from a program; `estimated`: the toolchain is missing here, or
            the network is too large for it.
    """

    allocation: Allocation
    kind: str


def with_smallest_program(costs: StreamCosts, least: Mapping[str, int]) -> StreamCosts | None:
    """The costs, corrected by a linked program of the narrowest widths; None where none can be linked."""
    if not can_link() or costs.of(least)["flash"] > MOST_FLASH:
        return None
    say(f"{BOARD}: linking programs, to read back what they take")
    return costs.corrected(read_back(costs, least)[1])


def fit_program(
    scored: ScoredNetwork,
    budget: Budget,
    costs: StreamCosts,
    profile: LatencyTable | None = None,
    caps: Mapping[str, int] | None = None,
) -> Fitted:
    """Allocate, link a program with these widths, and go smaller until it keeps the limits.

    The narrowest network is linked first, so that a refusal is proven by a program as well.
    """
    least = narrowest({name: scores.tolist() for name, scores in scored.scores.items()}, scored.settings, caps)
    smallest = with_smallest_program(costs, least)
    if smallest is None:
        why = "the network is too large to link here" if can_link() else "its toolchain is not installed here"
        say(f"{BOARD}: {why}, so RAM and flash of the program are estimated")
        return Fitted(scored.allocate(budget, profile, caps, costs), "estimated")
    costs = smallest
    for round_ in range(_ROUNDS):
        try:
            allocation = scored.allocate(budget, profile, caps, costs)
        except InfeasibleBudgetError:
            if round_ == 0:
                raise
            # more lies beside the state of wider networks: only the smallest is known to fit
            allocation = scored.allocate(budget, profile, least, smallest)
        if costs.of(allocation.widths)["flash"] > MOST_FLASH:
            return Fitted(allocation, "estimated")
        linked, beside = read_back(costs, allocation.widths)
        taken = {name: value for name, value in _bytes(linked).items() if name in allocation.asked}
        if all(value <= allocation.asked[name] for name, value in taken.items()):
            return Fitted(replace(allocation, reached={**allocation.reached, **taken}), "emulated")
        costs = costs.corrected(beside)
    raise InfeasibleBudgetError(
        f"budget: no program that was linked keeps {', '.join(taken)}; the last takes "
        f"{', '.join(f'{value:,} B' for value in taken.values())}; raise the limits."
    )


def read_back(costs: StreamCosts, widths: Mapping[str, int]) -> tuple[LinkedProgram, dict[str, int]]:
    """The program of these widths, and the bytes it takes beside state, tables and front-end."""
    linked = link_program(costs.plan(widths), costs.frontend, costs.layout or "frames_mels")
    return linked, costs.beside_of(_bytes(linked), widths)


def _bytes(linked: LinkedProgram) -> dict[str, int]:
    return {"peak_ram": linked.ram_bytes, "flash": linked.flash_bytes}
