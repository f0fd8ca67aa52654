"""What a network costs, layer by layer: parameters, MACs, int8 flash and int8 activation memory.

Conventions: a MAC is one multiply-accumulate of a convolution or dense layer (biases, pooling and activations are not
counted). `params` are what ships: batch norm folded into the convolution before it, zeros included. `flash_bytes` are
int8 weights and int32 biases. `peak_ram_bytes` is the largest sum of an operator's int8 input and output, activations
fused and flatten in place: the lower bound of any planner for a chain of operators, and what TFLite Micro's reaches.

The networks of the registry are chains, so the cost of any widths follows from one trace by arithmetic alone.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from edgeprune.errors import EdgepruneError
from edgeprune.models.registry import ModelSpec, build


@dataclass(frozen=True)
class Step:
    """One operator of the chain at given widths.

    `repeat`: inputs of a dense layer per filter of the layer before it (the positions that a flatten leaves).
    """

    name: str
    kind: str
    kernel: int
    positions_in: int
    positions_out: int
    repeat: int
    batch_norm: bool
    output_shape: tuple[int, ...]


@dataclass(frozen=True)
class LayerCost:
    """Cost of one operator: counts, and bytes of int8 activations in and out."""

    name: str
    kind: str
    filters: int
    params: int
    macs: int
    flash_bytes: int
    ram_bytes: int
    output_shape: tuple[int, ...]


@dataclass(frozen=True)
class Cost:
    """Cost of a network; `params_trainable` and `params_with_statistics` count batch norm before folding."""

    params: int
    params_trainable: int
    params_with_statistics: int
    macs: int
    peak_ram_bytes: int
    flash_bytes: int
    by_layer: tuple[LayerCost, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Chain:
    """The operators of a network of the registry, traced once; `cost(widths)` is arithmetic."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.steps = _trace(spec)
        self.last = self.steps[-1].name

    def cost(self, widths: Mapping[str, int] | None = None) -> Cost:
        """Cost at `widths` (default: the spec's own)."""
        widths = {**self.spec.widths, **(widths or {})}
        channels = self.spec.input_shape[0]
        norm = 0
        layers = []
        for step in self.steps:
            filters = channels
            params = macs = flash = 0
            if step.kind != "pool":
                filters = self.spec.classes if step.name == self.last else widths[step.name]
                weights = channels * step.repeat * step.kernel * filters
                params, macs = weights + filters, weights * step.positions_out
                flash = weights + 4 * filters
                norm += 2 * filters if step.batch_norm else 0
            ram = channels * step.positions_in + filters * step.positions_out
            shape = (filters, *step.output_shape[1:])
            layers.append(LayerCost(step.name, step.kind, filters, params, macs, flash, ram, shape))
            channels = filters
        params = sum(layer.params for layer in layers)
        return Cost(
            params=params,
            params_trainable=params + norm,
            params_with_statistics=params + 2 * norm,
            macs=sum(layer.macs for layer in layers),
            peak_ram_bytes=max(layer.ram_bytes for layer in layers),
            flash_bytes=sum(layer.flash_bytes for layer in layers),
            by_layer=tuple(layers),
        )


def _trace(spec: ModelSpec) -> list[Step]:
    """Run the network once on shapes alone and note its operators in order."""
    model = build_meta(spec)
    calls: list[tuple[str, nn.Module, torch.Size, torch.Size]] = []

    def note(name: str) -> Any:
        return lambda module, inputs, output: calls.append((name, module, inputs[0].shape, output.shape))

    for path, module in model.named_modules():
        if not list(module.children()):
            module.register_forward_hook(note(path.rsplit(".", 1)[-1]))
    model(torch.zeros(1, *spec.input_shape, device="meta"))
    steps: list[Step] = []
    channels = spec.input_shape[0]
    for index, (name, module, before, after) in enumerate(calls):
        if isinstance(module, nn.Conv2d):
            follower = calls[index + 1][1] if index + 1 < len(calls) else None
            kernel = module.kernel_size[0] * module.kernel_size[1]
            steps.append(
                Step(
                    name,
                    "conv",
                    kernel,
                    before[2:].numel(),
                    after[2:].numel(),
                    1,
                    isinstance(follower, nn.BatchNorm2d),
                    tuple(after[1:]),
                )
            )
            channels = after[1]
        elif isinstance(module, nn.MaxPool2d):
            steps.append(Step(name, "pool", 0, before[2:].numel(), after[2:].numel(), 1, False, tuple(after[1:])))
        elif isinstance(module, nn.Linear):
            repeat = before[1] // channels
            steps.append(Step(name, "dense", 1, repeat, 1, repeat, False, tuple(after[1:])))
            channels = after[1]
        elif not isinstance(module, _FREE) and type(module).__name__ != "Flatten":
            raise EdgepruneError(f"{spec.name}: the cost of a {type(module).__name__} ('{name}') is not known.")
    return steps


_FREE = (nn.ReLU, nn.BatchNorm2d, nn.Dropout, nn.Softmax)


def build_meta(spec: ModelSpec) -> nn.Module:
    """The network without memory for its weights."""
    with torch.device("meta"):
        return build(spec).eval()


def cost(spec: ModelSpec) -> Cost:
    """Cost of the network a spec describes."""
    return Chain(spec).cost()
