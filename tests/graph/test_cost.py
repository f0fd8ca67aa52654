"""Cost by arithmetic against counts taken from the torch modules themselves."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgeprune.convert import onnx_graph
from edgeprune.graph.cost import COUNTERS, cost, count, graph_of
from edgeprune.graph.kinds import SCALE, UNKNOWN
from edgeprune.graph.operators import PAIRS
from edgeprune.models import registry
from edgeprune.models.registry import ModelSpec, build, make_spec
from edgeprune.tflite import read_graph

SHAPES = {
    "dcase21": st.tuples(st.integers(1, 2), st.integers(20, 64), st.integers(5, 60)),
    "vggish": st.tuples(st.integers(1, 3), st.integers(16, 50), st.integers(16, 50)),
}


@st.composite
def specs(draw):
    name = draw(st.sampled_from(sorted(SHAPES)))
    layers = make_spec(name).widths
    widths = {layer: draw(st.integers(1, 9), label=layer) for layer in layers}
    return ModelSpec(name, draw(st.integers(2, 12)), draw(SHAPES[name]), widths)


def _count(spec: ModelSpec) -> dict[str, int]:
    """Parameters of the module, and MACs and int8 bytes of activations from one run of it."""
    model = build(spec).eval()
    total = {"macs": 0, "peak_ram": 0}

    def visit(module, inputs, output) -> None:
        if isinstance(module, nn.Conv2d):
            rows, columns = module.kernel_size
            total["macs"] += output.numel() * module.in_channels * rows * columns
        elif isinstance(module, nn.Linear):
            total["macs"] += module.in_features * module.out_features
        total["peak_ram"] = max(total["peak_ram"], inputs[0].numel() + output.numel())

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.MaxPool2d):
            module.register_forward_hook(visit)
    with torch.no_grad():
        model(torch.zeros(1, *spec.input_shape))
    kernels = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    weights, biases = sum(layer.weight.numel() for layer in kernels), sum(layer.bias.numel() for layer in kernels)
    statistics = sum(norm.running_mean.numel() + norm.running_var.numel() for norm in norms)
    trainable = sum(parameter.numel() for parameter in model.parameters())
    return total | {
        "params": weights + biases,
        "flash": weights + 4 * biases,
        "trainable": trainable,
        "statistics": trainable + statistics,
    }


@settings(deadline=None, max_examples=40)
@given(spec=specs())
def test_cost_is_what_the_module_holds_and_does(spec) -> None:
    ours = cost(spec)
    assert _count(spec) == {
        "params": ours.params,
        "trainable": ours.params_trainable,
        "statistics": ours.params_with_statistics,
        "macs": ours.macs,
        "peak_ram": ours.peak_ram_bytes,
        "flash": ours.flash_bytes,
    }


@settings(deadline=None, max_examples=20)
@given(spec=specs())
def test_one_trace_serves_all_widths(spec) -> None:
    graph = graph_of(make_spec(spec.name, spec.classes, spec.input_shape))
    assert count(graph, spec.widths) == cost(spec)


@settings(deadline=None, max_examples=20)
@given(spec=specs())
def test_layers_add_up(spec) -> None:
    ours = cost(spec)
    for total in ("params", "macs", "flash_bytes"):
        assert getattr(ours, total) == sum(getattr(layer, total) for layer in ours.by_layer)
    shapes = {layer.name: layer.output_shape for layer in ours.by_layer}
    seen = {}
    model = build(spec).eval()
    names = {module: path.rsplit(".", 1)[-1] for path, module in model.named_modules()}
    for module, name in names.items():
        if name in shapes:
            module.register_forward_hook(lambda own, _inputs, output: seen.update({names[own]: output.shape[1:]}))
    model(torch.zeros(1, *spec.input_shape))
    assert {name: tuple(shape) for name, shape in seen.items()} == shapes


def test_counting_takes_no_memory_for_weights() -> None:
    """A VGGish sixteen times as wide would need more than 50 GB."""
    spec = registry.make_spec("vggish", width=16)
    assert cost(spec).params > 14 * 10**9


def test_the_table_has_a_row_a_layer() -> None:
    ours = cost(make_spec("dcase21"))
    table = ours.table()
    assert table["name"].tolist() == [layer.name for layer in ours.by_layer]
    assert table["macs"].sum() == ours.macs
    assert "conv1" in ours._repr_html_()


def test_every_kind_that_a_reader_makes_is_counted() -> None:
    made = {
        *onnx_graph._KINDS.values(),
        *read_graph._KINDS.values(),
        *(layer[0] for layer in read_graph._LAYERS.values()),
    }
    assert made | PAIRS | {SCALE, UNKNOWN, "grouped conv", "matmul"} <= COUNTERS.keys()
