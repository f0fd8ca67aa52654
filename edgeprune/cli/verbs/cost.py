"""`edgeprune cost`: parameters, MACs, flash and RAM of a network, layer by layer."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tyro.conf import Positional

from edgeprune.cli.model_argument import cost_of_file, resolve_model
from edgeprune.cli.output import judged, print_json, print_verdicts
from edgeprune.console import print_table
from edgeprune.errors import EdgepruneError
from edgeprune.flags import Bits, Shape
from edgeprune.reporting.numbers import format_exact

if TYPE_CHECKING:
    from edgeprune.graph.cost import Cost, LayerCost


COUNTING = (
    "MACs: multiply-accumulates of convolutions and dense layers. Parameters: what ships, batch norm folded, zeros "
    "included. Flash: int8 weights and int32 biases. RAM: int8 activations in memory while an operator runs, and in "
    "all the arena that TFLite Micro plans. See docs/counting.md."
)


@dataclass(frozen=True)
class CostCommand:
    """What a network costs, layer by layer: parameters, MACs, flash and RAM."""

    model: Positional[str]
    """A registry name (dcase21, vggish, dscnn, cpmobile, bcresnet ...), a run folder (its pruned.ckpt, else
    dense.ckpt), a .ckpt, .onnx or .tflite file."""
    input: Shape = None
    """Input of a registry's network, channels x height x width."""
    classes: int | None = None
    """Classes of a registry's network (default: 10)."""
    rules: str | None = None
    """Judge by the limits of a challenge: dcase2021, dcase2022, dcase2023, dcase2024."""
    bits: Bits = 8
    """Bits a weight is stored in, for the rules; a .tflite file has its own."""
    json: bool = False
    """Print JSON."""

    def __call__(self) -> int:
        from edgeprune.submitting.rules import check_rules, find_rules

        if self.rules is not None:
            find_rules(self.rules)  # a wrong name is refused before anything is computed
        costed = self._costed()
        verdicts = check_rules(self.rules, costed.cost, costed.bits, input_s=costed.input_s) if self.rules else []
        if self.json:
            rules = {} if self.rules is None else {"rules": judged(self.rules, verdicts)}
            runtimes = {"tflm": {"arena_bytes": costed.cost.arena_bytes}, "stream": costed.stream}
            print_json(
                {**costed.described, **costed.cost.to_dict(), "runtimes": runtimes, "counting": COUNTING, **rules}
            )
            return 0
        print(costed.title)
        _print_cost(costed.cost)
        if costed.stream is not None:
            print(_stream_sentence(costed.stream))
        print(COUNTING)
        if self.rules is not None:
            print_verdicts(self.rules, verdicts)
        return 0

    def _costed(self) -> "_Costed":
        path = Path(self.model)
        if path.suffix not in (".onnx", ".tflite"):
            from edgeprune.graph.cost import cost

            network = resolve_model(self.model, ("pruned", "dense"), self.input, self.classes)
            stream = _stream_figures(lambda: network.stream_costs(with_frontend=False).plan())
            of_network = cost(network.spec)
            return _Costed(network.title(), network.describe(), of_network, self.bits, network.input_s(), stream)
        if self.input is not None or self.classes is not None:
            raise EdgepruneError(f"{path}: a file has its own input and classes; leave out --input and --classes.")
        if path.suffix == ".tflite":
            return _of_tflite(path)
        return _Costed(str(path), {"model": str(path)}, cost_of_file(path), self.bits, None, None)


class _Costed(NamedTuple):
    """A network or file with its cost: a line for the head of the table, and the same for JSON.

    `bits` a weight is stored in and `input_s`, the seconds of audio an input holds, are for the rules; `stream` is what
    streaming C takes, or why the network cannot be compiled to it; None of an .onnx file.
    """

    title: str
    described: dict[str, Any]
    cost: "Cost"
    bits: int
    input_s: float | None
    stream: dict[str, Any] | None


def _of_tflite(path: Path) -> _Costed:
    from edgeprune.tflite.cost import file_facts
    from edgeprune.tflite.metadata import read_description

    cost, facts = cost_of_file(path), file_facts(path)
    title = (
        f"{path}: {format_exact(facts.bytes)} B in all, {format_exact(facts.weight_bytes)} B of them parameters "
        f"({facts.weight_type or 'several types'}; activations {facts.activation_type})"
    )
    try:
        frontend = read_description(path).frontend
    except EdgepruneError:  # not a file of edgeprune's
        frontend = None
    bits = {"int8": 8, "float16": 16}.get(facts.weight_type or "", 32)
    described = {"model": str(path), "file": asdict(facts)}
    from edgeprune.firmware.stream.compile import plan_stream

    stream = _stream_figures(lambda: plan_stream(path))
    return _Costed(title, described, cost, bits, frontend.patch_s if frontend else None, stream)


def _stream_figures(plan_of: Callable[[], Any]) -> dict[str, Any]:
    """State and tables of the streaming C by its plan, and the axis that is walked; else why it has none."""
    from edgeprune.firmware.stream.widths import bytes_of_plan

    try:
        plan = plan_of()
    except EdgepruneError as error:
        return {"refused": str(error)}
    state, tables = bytes_of_plan(plan)
    walk = "width" if plan.network.turned else "height"
    return {"state_bytes": state, "table_bytes": tables, "walk": walk, "rows": plan.network.input.shape[0]}


def _stream_sentence(stream: dict[str, Any]) -> str:
    if "refused" in stream:
        return f"Not as streaming C: {stream['refused']}"
    state, tables = format_exact(stream["state_bytes"]), format_exact(stream["table_bytes"])
    return (
        f"Streaming C: a state of {state} B beside stack and a row of input, tables of {tables} B beside code; it "
        f"takes the {stream['rows']} rows of the input's {stream['walk']} one by one."
    )


def _print_cost(cost: "Cost") -> None:
    columns = ("layer", "kind", "filters", "parameters", "MACs", "flash, B", "RAM, B", "output")
    sums = map(format_exact, (cost.params, cost.macs, cost.flash_bytes, cost.arena_bytes))
    print_table("", columns, [*(_layer_row(layer) for layer in cost.by_layer), ("total", "", "", *sums, "")])
    peak = max(cost.by_layer, key=lambda layer: layer.ram_bytes)
    if cost.params_trainable is None or cost.params_with_statistics is None:
        norms = "what batch norm had before it was folded is not in the file"
    else:
        trainable, all_stored = map(format_exact, (cost.params_trainable, cost.params_with_statistics))
        norms = f"trainable {trainable}; with moving statistics {all_stored}"
    print(f"Parameters: {format_exact(cost.params)} (batch norm folded); {norms}.")
    print(
        f"RAM: the arena of TFLite Micro, {format_exact(cost.arena_bytes)} B; no arena is below the "
        f"{format_exact(cost.peak_ram_bytes)} B that '{peak.name}' needs."
    )
    if cost.unknown:
        print(f"Not known, and not in the sums: {', '.join(cost.unknown)}.")


def _layer_row(layer: "LayerCost") -> tuple[str, ...]:
    counts = map(format_exact, (layer.params, layer.macs, layer.flash_bytes, layer.ram_bytes))
    return layer.name, layer.kind, str(layer.filters), *counts, "x".join(str(size) for size in layer.output_shape)
