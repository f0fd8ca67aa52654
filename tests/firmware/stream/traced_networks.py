"""Networks of the registry as the compiler's planner takes them, without a file."""

import random
from collections.abc import Mapping

import torch

from edgeprune.firmware.stream_costs import StreamCosts, stream_costs
from edgeprune.graph.cost import graph_of
from edgeprune.models.registry import ModelSpec, build, entry, make_spec


def costs_of(spec: ModelSpec) -> StreamCosts:
    with torch.device("meta"):
        model = build(spec)
    return stream_costs(model, graph_of(spec), spec.input_shape, entry(spec.name).layout)


def random_widths(spec: ModelSpec, seed: int) -> Mapping[str, int]:
    generator = random.Random(seed)
    groups = graph_of(spec).prunable(dense_layers=True)
    return {name: generator.randint(1, group.filters) for name, group in groups.items()}


SPECS = {
    "dcase21": make_spec("dcase21", 10, (1, 40, 51)),
    "vggish": make_spec("vggish", 10, width=0.05),
    "dscnn": make_spec("dscnn", 12),
    "cpmobile": make_spec("cpmobile", 10, width=0.5),
}
