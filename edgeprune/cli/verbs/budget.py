"""`edgeprune budget`: the filters each layer may keep within a budget; nothing is trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional

from edgeprune.cli.model_argument import ModelArgument, resolve_model
from edgeprune.cli.output import check_plot, judged, print_json, print_verdicts
from edgeprune.console import print_table, say
from edgeprune.errors import EdgepruneError
from edgeprune.flags import Bits, Latency, Limit, PruneDense, Shape
from edgeprune.recipe import Budget, Prune, Runtime
from edgeprune.reporting.numbers import format_exact, format_percent
from edgeprune.results.run_folder import RunFolder

if TYPE_CHECKING:
    from edgeprune.firmware.stream_costs import StreamCosts
    from edgeprune.pruning.allocation.allocate import Allocation
    from edgeprune.pruning.frontier import FrontierPoint
    from edgeprune.pruning.prune import ScoredNetwork


PROGRAM = {
    "emulated": "of the whole program, stack included, linked for a Cortex-M4 and run in QEMU",
    "estimated": "of the whole program, estimated; arm-none-eabi-gcc and qemu-system-arm would read them back",
}


@dataclass(frozen=True)
class BudgetCommand:
    """Find the best allocation of filters within a budget; nothing is trained. Exit code 3 if there is none."""

    model: Positional[str]
    """A registry name (random weights), a run folder (its dense.ckpt, else pruned.ckpt) or a .ckpt file."""
    params: Limit = None
    """Parameters, batch norm folded, zeros included."""
    macs: Limit = None
    """Multiply-accumulates a network input."""
    peak_ram: Limit = None
    """Bytes of RAM: int8 activations (runtime tflm), or all that the linked program takes (stream)."""
    flash: Limit = None
    """Bytes of flash: int8 weights and int32 biases (runtime tflm), or all of the linked program (stream)."""
    latency_ms: Latency = None
    """Milliseconds an inference, by the profile of a device: 0.8@host."""
    runtime: Runtime = "tflm"
    """Whose RAM and flash the limits mean: TFLite Micro's, or edgeprune's streaming C, linked for a Cortex-M4."""
    include_frontend: bool = False
    """The limits on RAM and flash hold for the network and its log-mel front-end in C together."""
    rules: str | None = None
    """The limits of a challenge as well: dcase2021, dcase2022, dcase2023, dcase2024."""
    bits: Bits = 8
    """Bits a weight will be stored in, for the rules."""
    keep: float = Prune.keep
    """No layer keeps more than this share of its filters."""
    min_filters: int = Prune.min_filters
    """No layer goes below."""
    multiple_of: int = Prune.multiple_of
    """Layers keep multiples of so many filters, or all of theirs."""
    dense_layers: PruneDense = False
    """Prune hidden units of dense layers too."""
    criterion: str = Prune.criterion
    """How filters are judged: operator_norm, l1, l2, random ..."""
    objective: str = Prune.objective
    """What is maximised: log_mass, mass, log_width, or sensitivity, measured on clips of the run."""
    allocation: Literal["solver", "uniform"] = Prune.allocation
    """uniform: the same share of every layer, to compare with."""
    profile: Path | None = None
    """Latency table of `edgeprune profile` (default: the run folder's)."""
    frontier: bool = False
    """Show too what the best allocation keeps over a range of budgets, from a quarter of this one to four times."""
    plot: Path | None = None
    """Draw that range into this .svg or .png file."""
    input: Shape = None
    """Input of a registry's network, channels x height x width."""
    classes: int | None = None
    """Classes of a registry's network (default: 10)."""
    json: bool = False
    """Print JSON."""

    def __call__(self) -> int:
        check_plot(self.plot)
        limits = self._limits()
        nothing = not limits.sizes() and limits.latency_ms is None
        ranged = self.frontier or self.plot is not None
        if ranged and nothing:
            raise EdgepruneError("budget: a frontier is drawn over a range of limits; give at least one.")
        rules = Prune(
            criterion=self.criterion,
            keep=self.keep,
            dense_layers=self.dense_layers,
            min_filters=self.min_filters,
            multiple_of=self.multiple_of,
            objective=self.objective,
            allocation=self.allocation,
            profile=self.profile,
        ).check()
        if nothing and self.keep == 1:
            flags = "--params, --macs, --peak-ram, --flash, --latency-ms, --rules or --keep"
            raise EdgepruneError(f"budget: no limit is given; give {flags}.")
        network = resolve_model(self.model, ("dense", "pruned"), self.input, self.classes)
        limits = self._limits(network.input_s())
        limits, shared = _without_frontend(network, limits)
        planner = _Planner.of(network, rules, limits)
        allocation, kind = planner.fit(limits)
        if limits.runtime == "tflm":
            asked, reached = (_sum(values, shared) for values in (allocation.asked, allocation.reached))
            allocation = replace(allocation, asked=asked, reached=reached)
        answer = {**network.describe(), "random_weights": network.path is None, **planner.describe(allocation)}
        answer |= {"frontend": shared or None, "runtime": self.runtime, "kind": kind}
        if self.rules is not None:
            from edgeprune.submitting.rules import check_rules

            verdicts = check_rules(self.rules, allocation.cost, self.bits, input_s=network.input_s())
            answer["rules"] = judged(self.rules, verdicts)
        points = planner.frontier(limits) if ranged else []
        if points:
            answer["frontier"] = [point.to_dict() for point in points]
        if points and self.plot is not None:
            from edgeprune.reporting.drawing import write_figure
            from edgeprune.reporting.network_figures import frontier_figure

            write_figure(frontier_figure(points), self.plot)
            say(f"{self.plot}: {len(points)} budgets")
        if self.json:
            print_json(answer)
            return 0
        _print_plan(network, allocation, answer)
        if points:
            _print_frontier(points)
        if self.rules is not None:
            print_verdicts(self.rules, verdicts)
        return 0

    def _limits(self, input_s: float | None = None) -> Budget:
        limits = Budget(
            self.params, self.macs, self.peak_ram, self.flash, self.latency_ms, self.runtime, self.include_frontend
        )
        if self.rules is None:
            return limits
        from edgeprune.submitting.rules import limits as limits_of

        own = limits_of(self.rules, self.bits, input_s)
        tighter: dict[str, Any] = {
            name: value if getattr(limits, name) is None else min(value, getattr(limits, name))
            for name, value in own.items()
        }
        return replace(limits, **tighter)


def _without_frontend(network: ModelArgument, limits: Budget) -> tuple[Budget, dict[str, int]]:
    """The limits that are left to the network (by the runtime `stream` all), and the bytes of the front-end."""
    if not limits.include_frontend:
        return limits, {}
    from edgeprune.firmware.frontend_budget import frontend_bytes, left_for_network

    frontend = network.frontend()
    if frontend is None:
        raise EdgepruneError(f"{network.title()}: has no log-mel front-end to include; leave out --include-frontend.")
    return left_for_network(limits, frontend), frontend_bytes(frontend, limits.runtime)


def _sum(values: Mapping[str, float], more: Mapping[str, int]) -> dict[str, float]:
    return {name: value + more.get(name, 0) for name, value in values.items()}


@dataclass(frozen=True)
class _Planner:
    """A network with its scores, ready for any number of budgets."""

    scored: "ScoredNetwork"
    dense: dict[str, int]
    table: Any
    costs: "StreamCosts | None"

    @staticmethod
    def of(network: ModelArgument, rules: Prune, limits: Budget) -> "_Planner":
        import torch

        from edgeprune.data.load import sensitivity_batches
        from edgeprune.graph.cost import graph_of
        from edgeprune.pruning.allocation.objective import check_objective
        from edgeprune.pruning.prune import score_filters

        check_objective(rules.objective)
        table = _latency_table(network, rules, limits)
        batches = network.score_batches([rules.criterion])(rules.criterion)
        clips = None
        if rules.objective == "sensitivity":
            recipe, data = network.run_data("sensitivity: is measured on clips of the run")
            clips = sensitivity_batches(data, recipe.prune.clips)
        model, example = network.model(), torch.zeros(1, *network.spec.input_shape)
        torch.manual_seed(0)  # for the criterion `random`
        scored = score_filters(model, example, graph_of(network.spec), rules, batches, clips)
        costs = network.stream_costs(limits.include_frontend) if limits.limits_program else None
        return _Planner(scored, dict(network.spec.widths), table, costs)

    @property
    def rules(self) -> Prune:
        return self.scored.settings

    def plan(self, limits: Budget, **rules: Any) -> "Allocation":
        scored = replace(self.scored, settings=replace(self.rules, **rules))
        return scored.allocate(limits, self.table, runtime=self.costs)

    def fit(self, limits: Budget) -> "tuple[Allocation, str | None]":
        """The allocation, and how RAM and flash of a linked program became known; None where they are not limited."""
        if self.costs is None:
            return self.plan(limits), None
        from edgeprune.devices.fit_program import fit_program

        fitted = fit_program(self.scored, limits, self.costs, self.table)
        return fitted.allocation, fitted.kind

    def describe(self, allocation: "Allocation") -> dict[str, Any]:
        from edgeprune.graph.cost import count

        return {
            "criterion": self.rules.criterion,
            "objective": self.rules.objective if self.rules.allocation == "solver" else None,
            "allocation": self.rules.allocation,
            **allocation.to_dict(),
            "widths": {"dense": self.dense, "pruned": {**self.dense, **allocation.widths}},
            "cost": {"dense": count(self.scored.graph).to_dict(), "pruned": allocation.cost.to_dict()},
        }

    def frontier(self, limits: Budget) -> "list[FrontierPoint]":
        from edgeprune.pruning.frontier import frontier

        return frontier(self.scored, limits, self.table, self.costs)


def _latency_table(network: ModelArgument, rules: Prune, limits: Budget) -> Any:
    latency = limits.latency()
    if latency is None:
        return None
    _, device = latency
    from edgeprune.devices.latency_profile import LatencyProfile
    from edgeprune.graph.cost import graph_of

    path = rules.profile
    if path is None and network.path is not None:
        path = RunFolder(network.path.parent).profile(device)
    if path is None or not path.is_file():
        raise EdgepruneError(
            f"budget: a limit on latency needs a profile of {device}; make one with `edgeprune profile RUN --device "
            f"{device}`, or give --profile FILE."
        )
    return LatencyProfile.load(path).of(device, graph_of(network.spec), path)


def _print_plan(network: ModelArgument, allocation: "Allocation", answer: Mapping[str, Any]) -> None:
    print(network.title())
    if allocation.asked:
        rows = [
            (
                name.replace("_", " "),
                *map(format_exact, (limit, allocation.reached[name], allocation.slack()[name])),
                format_percent(allocation.reached[name] / limit, 1),
                "binding" if name == allocation.binding else "",
            )
            for name, limit in allocation.asked.items()
        ]
        print_table("", ("limit", "asked, at most", "reached", "slack", "used", ""), rows)
    before, after = answer["widths"]["dense"], answer["widths"]["pruned"]
    widths = [
        (
            name,
            before[name],
            after[name],
            format_percent(after[name] / before[name], 1),
            format_percent(allocation.kept[name], 1) if name in allocation.kept else "not pruned",
        )
        for name in before
    ]
    print_table("filters", ("layer", "before", "after", "filters kept", "scores kept"), widths)
    dense = answer["cost"]["dense"]
    costs = [
        (
            title,
            *map(format_exact, (dense[key], getattr(allocation.cost, key))),
            format_percent(getattr(allocation.cost, key) / dense[key], 1),
        )
        for title, key in (
            ("parameters", "params"),
            ("MACs", "macs"),
            ("bound of any arena, B", "peak_ram_bytes"),
            ("RAM (arena), B", "arena_bytes"),
            ("flash, B", "flash_bytes"),
        )
    ]
    print_table("cost", ("", "before", "after", "left"), costs)
    if answer["frontend"]:
        ram, flash = (format_exact(answer["frontend"][name]) for name in ("peak_ram", "flash"))
        print(f"Limits on RAM and flash include {ram} and {flash} B of the front-end.")
    if answer["kind"] is not None:
        print(f"RAM and flash of the limits: {PROGRAM[answer['kind']]}.")
    print(_how_good(allocation, answer))


def _print_frontier(points: "Sequence[FrontierPoint]") -> None:
    """A row for each budget; the scores kept say how much of the network stays, not how well it will do."""
    from edgeprune.pruning.frontier import mean_kept

    names = [name.replace("_", " ") for name in points[0].solver.asked]
    rows = [
        (
            f"{point.factor:.2f}",
            *(format_exact(point.solver.reached[name]) for name in point.solver.asked),
            format_percent(mean_kept(point.solver), 1),
            format_percent(mean_kept(point.uniform), 1),
            "proven" if point.solver.proven else "",
        )
        for point in points
    ]
    heads = ("times the budget", *(f"{name}, reached" for name in names), "scores kept", "by the same share", "")
    print_table("frontier", heads, rows)
    print("Scores kept: the geometric mean over layers; accuracy takes training to tell.")


def _how_good(allocation: "Allocation", answer: Mapping[str, Any]) -> str:
    if answer["allocation"] == "uniform":
        return "The same share of every layer, the largest that fits."
    objective = answer["objective"]
    if allocation.proven:
        return f"No allocation within the limits has a higher {objective} ({allocation.value:.4f}): proven."
    return (
        f"{objective} {allocation.value:.4f}; no allocation within the limits can have more than "
        f"{allocation.bound:.4f}, {allocation.gap:.4f} above."
    )
