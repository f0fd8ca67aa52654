"""Budgets on a linked program: what is promised is what the program takes."""

from dataclasses import replace

import pytest
import torch

from edgeprune.devices import fit_program as fitting
from edgeprune.devices.fit_program import fit_program, read_back
from edgeprune.devices.linked_program import can_link, link_program
from edgeprune.errors import InfeasibleBudgetError
from edgeprune.firmware.frontend import frontend_cost
from edgeprune.firmware.stream_costs import StreamCosts, stream_costs
from edgeprune.graph.cost import graph_of
from edgeprune.models.registry import ModelSpec, build
from edgeprune.pruning.prune import ScoredNetwork, score_filters
from edgeprune.recipe import Budget, LogMel, Prune

SPEC = ModelSpec("dcase21", 3, (1, 20, 10), {"conv1": 6, "conv2": 8, "conv3": 10, "fc1": 12})
FRONTEND = LogMel(16000, n_fft=512, window_s=0.032, hop_s=0.016, mels=20, patch_frames=10, patch_hop_frames=10)
needs_toolchain = pytest.mark.skipif(
    not can_link(), reason="needs arm-none-eabi-gcc and qemu-system-arm (Debian gcc-arm-none-eabi, qemu-system-arm)"
)


def _scored() -> ScoredNetwork:
    torch.manual_seed(1)
    return score_filters(build(SPEC).eval(), torch.zeros(1, *SPEC.input_shape), graph_of(SPEC), Prune())


def _costs(frontend: LogMel | None = None) -> StreamCosts:
    with torch.device("meta"):
        model = build(SPEC)
    return stream_costs(model, graph_of(SPEC), SPEC.input_shape, "mels_frames", frontend)


@needs_toolchain
@pytest.mark.parametrize("frontend", [None, FRONTEND])
def test_the_estimate_is_near_the_linked_program(frontend):
    costs = _costs(frontend)
    linked, _ = read_back(costs, {})
    estimated = costs.of({})
    assert linked.ram_bytes <= estimated["peak_ram"] <= linked.ram_bytes + 250
    assert estimated["flash"] == pytest.approx(linked.flash_bytes, rel=0.12)
    assert 100 < linked.stack_bytes < 600


@needs_toolchain
def test_a_budget_is_kept_by_the_program_that_is_linked():
    costs = _costs(FRONTEND)
    narrow, wide = (costs.of(widths)["peak_ram"] for widths in ({"conv1": 1, "conv2": 1, "conv3": 1}, {}))
    budget = Budget(peak_ram=(narrow + wide) // 2, runtime="stream", include_frontend=True)
    fitted = fit_program(_scored(), budget, costs)
    assert fitted.kind == "emulated"
    linked = link_program(costs.plan(fitted.allocation.widths), FRONTEND, "mels_frames")
    assert fitted.allocation.reached["peak_ram"] == linked.ram_bytes <= budget.peak_ram
    assert linked.ram_bytes > frontend_cost(FRONTEND, stream=True).ram_bytes
    wider = [
        replace(costs).of(fitted.allocation.widths | {name: width + 2})
        for name, width in fitted.allocation.widths.items()
        if width + 2 <= SPEC.widths[name]
    ]
    assert all(taken["peak_ram"] > budget.peak_ram - 400 for taken in wider), "the budget is used"


@needs_toolchain
def test_a_refusal_is_proven_by_the_smallest_program():
    costs = _costs()
    linked, _ = read_back(costs, {"conv1": 1, "conv2": 1, "conv3": 1})
    with pytest.raises(InfeasibleBudgetError, match=f"still takes {linked.ram_bytes:,}"):
        fit_program(_scored(), Budget(peak_ram=linked.ram_bytes - 1, runtime="stream"), costs)
    for spare in (0, 30):  # where wider networks do not fit only since more lies beside their state
        fitted = fit_program(_scored(), Budget(peak_ram=linked.ram_bytes + spare, runtime="stream"), costs)
        assert fitted.allocation.reached["peak_ram"] <= linked.ram_bytes + spare


def test_without_a_toolchain_figures_are_estimated(monkeypatch):
    monkeypatch.setattr(fitting, "can_link", lambda: False)
    fitted = fit_program(_scored(), Budget(peak_ram=4000, runtime="stream"), _costs())
    assert fitted.kind == "estimated"
    assert fitted.allocation.reached["peak_ram"] == _costs().of(fitted.allocation.widths)["peak_ram"] <= 4000
