"""`edgeprune cost`: parameters, MACs, flash and RAM of a network, layer by layer."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from edgeprune.cli.model_argument import find_network
from edgeprune.cli.output import judged, print_json, print_verdicts
from edgeprune.console import print_table
from edgeprune.errors import EdgepruneError
from edgeprune.flags import Bits, Shape
from edgeprune.reporting.numbers import format_exact

if TYPE_CHECKING:
    from edgeprune.graph.cost import Cost, LayerCost
    from edgeprune.submitting.rules import Verdict


COUNTING = (
    "MACs: multiply-accumulates of convolutions and dense layers. Parameters: what ships, batch norm folded, zeros "
    "included. Flash: int8 weights and int32 biases. RAM: int8 activations in memory while an operator runs. See "
    "docs/counting.md."
)


_BITS = {"int8": 8, "float16": 16, "float32": 32}


@dataclass(frozen=True)
class CostCommand:
    """What a network costs, layer by layer: parameters, MACs, flash and RAM."""

    model: Positional[str]
    """A registry name (dcase21, vggish, cnn14, vgg16, resnet50, resnet50_cifar), a run folder (its pruned.ckpt, else
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
        if self.rules is not None:
            from edgeprune.submitting.rules import find_rules

            find_rules(self.rules)  # a wrong name is told before anything is computed
        subject = _Subject.find(self)
        verdicts = subject.judge(self.rules) if self.rules is not None else []
        if self.json:
            rules = {} if self.rules is None else {"rules": judged(self.rules, verdicts)}
            print_json({**subject.described, **subject.cost.to_dict(), "counting": COUNTING, **rules})
            return 0
        _print_cost(subject)
        if self.rules is not None:
            print_verdicts(self.rules, verdicts)
        return 0


@dataclass(frozen=True)
class _Subject:
    """What is asked about: its cost, how to call it, and what the rules need to know."""

    title: str
    described: dict[str, Any]
    cost: "Cost"
    bits: int
    input_s: float | None

    @staticmethod
    def find(asked: CostCommand) -> "_Subject":
        path = Path(asked.model)
        if path.suffix in (".onnx", ".tflite") and asked.model not in ("", "."):
            if asked.input is not None or asked.classes is not None:
                raise EdgepruneError(f"{path}: a file has its own input and classes; leave out --input and --classes.")
            return _Subject.of_tflite(path) if path.suffix == ".tflite" else _Subject.of_onnx(path, asked.bits)
        network = find_network(asked.model, ("pruned", "dense"), asked.input, asked.classes)
        from edgeprune.graph.cost import cost

        return _Subject(network.title(), network.describe(), cost(network.spec), asked.bits, network.input_s())

    @staticmethod
    def of_tflite(path: Path) -> "_Subject":
        from edgeprune.tflite.cost import cost_of_tflite, file_facts
        from edgeprune.tflite.metadata import read_description

        cost, facts = cost_of_tflite(path), file_facts(path)
        title = (
            f"{path}: {facts.bytes:,} B in all, {facts.weight_bytes:,} B of them parameters "
            f"({facts.weight_type or 'several types'}; activations {facts.activation_type})"
        )
        try:
            frontend = read_description(path).frontend
            seconds = frontend.patch_s if frontend else None
        except EdgepruneError:  # the file of others, or one without a front-end
            seconds = None
        bits = _BITS.get(facts.weight_type or "", 32)
        return _Subject(title, {"model": str(path), "file": asdict(facts)}, cost, bits, seconds)

    @staticmethod
    def of_onnx(path: Path, bits: int) -> "_Subject":
        from edgeprune.convert.onnx_graph import cost_of_onnx

        return _Subject(str(path), {"model": str(path)}, cost_of_onnx(path), bits, None)

    def judge(self, rules: str) -> "list[Verdict]":
        from edgeprune.submitting.rules import check_rules

        return check_rules(rules, self.cost, self.bits, input_s=self.input_s)


def _print_cost(subject: _Subject) -> None:
    total = subject.cost
    columns = ("layer", "kind", "filters", "parameters", "MACs", "flash, B", "RAM, B", "output")
    sums = map(format_exact, (total.params, total.macs, total.flash_bytes, total.peak_ram_bytes))
    print(subject.title)
    print_table("", columns, [*(_layer_row(layer) for layer in total.by_layer), ("total", "", "", *sums, "")])
    peak = max(total.by_layer, key=lambda layer: layer.ram_bytes)
    if total.params_trainable is None or total.params_with_statistics is None:
        norms = "what batch norm had before it was folded is not in the file"
    else:
        norms = f"trainable {total.params_trainable:,}; with moving statistics {total.params_with_statistics:,}"
    print(f"Parameters: {total.params:,} (batch norm folded); {norms}. The total of RAM is its peak, in '{peak.name}'.")
    if total.unknown:
        print(f"Not known, and not in the sums: {', '.join(total.unknown)}.")
    print(COUNTING)


def _layer_row(layer: "LayerCost") -> tuple[str, ...]:
    counts = map(format_exact, (layer.params, layer.macs, layer.flash_bytes, layer.ram_bytes))
    return layer.name, layer.kind, str(layer.filters), *counts, "x".join(str(size) for size in layer.output_shape)
