"""The form in which a trained network is exported: batch norm folded, no dropout, flattened channel-last."""

import copy
from typing import Literal

import torch
from torch import fx, nn
from torch.fx.experimental.optimization import fuse, remove_dropout

from edgeprune.errors import EdgepruneError
from edgeprune.models.layers import Flatten, MelNorm, SubSpectralNorm, channels_last_columns

Output = Literal["softmax", "sigmoid", "logits"]
"""What a file ends in: probabilities of which one is true, independent probabilities, or neither."""
_ELEMENTWISE = (nn.ReLU, nn.ReLU6, nn.Dropout, nn.Dropout2d, nn.Identity)


class _LeafTracer(fx.Tracer):
    """Keeps each `Flatten` and each norm of mel bands as one node, so that it can be rewritten."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, Flatten | MelNorm | SubSpectralNorm) or super().is_leaf_module(m, module_qualified_name)


def export_form(model: nn.Module, output: Output = "softmax") -> nn.Module:
    """A copy of `model` ready for export: in evaluation mode, on the CPU, with what turns its logits into `output`.

    Batch norm is folded into the convolution or dense layer before it (Jacob et al., "Quantization and training of
    neural networks for efficient integer-arithmetic-only inference", CVPR 2018, section 3.2) and dropout is removed.
    `Flatten` becomes channel-last, and the columns of the next dense layer are permuted to match: the tensors of a
    TFLite file are channel-last, so it needs no TRANSPOSE.
    """
    network = copy.deepcopy(model).cpu().eval()
    try:
        traced = fx.GraphModule(network, _LeafTracer().trace(network))
    except fx.proxy.TraceError as error:
        name = type(model).__name__
        raise EdgepruneError(
            f"{name}: cannot be exported, its forward depends on tensor values ({error}); make it a fixed graph."
        ) from error
    _flatten_channels_last(traced)
    # A norm of mel bands becomes a scale and a shift. A convolution cannot take them in: its weights are the same at
    # every mel bin, the scale is not, and its zero padding has no shift.
    for path, module in list(traced.named_modules()):
        if isinstance(module, MelNorm | SubSpectralNorm):
            traced.set_submodule(path, module.as_scale())
    folded = remove_dropout(fuse(traced, inplace=True, no_trace=True))
    ends: dict[Output, list[nn.Module]] = {"softmax": [nn.Softmax(dim=1)], "sigmoid": [nn.Sigmoid()], "logits": []}
    return nn.Sequential(folded, *ends[output]).eval()


def _flatten_channels_last(traced: fx.GraphModule) -> None:
    modules = dict(traced.named_modules())
    layers = {node: modules[str(node.target)] for node in traced.graph.nodes if node.op == "call_module"}
    for node, flatten in layers.items():
        if not isinstance(flatten, Flatten) or flatten.channels_last:
            continue
        channels = _channels_before(node, layers)
        dense = _dense_after(node, layers)
        if dense.in_features % channels:
            raise EdgepruneError(
                f"{node.target}: {dense.in_features} features do not divide into {channels} channels; "
                "the dense layer does not match the convolution before it."
            )
        with torch.no_grad():
            dense.weight.copy_(channels_last_columns(dense.weight, channels))
        flatten.channels_last = True


def _channels_before(node: fx.Node, layers: dict[fx.Node, nn.Module]) -> int:
    """Channels of a flatten's input: those of the nearest convolution or batch norm before it."""
    before = node
    while before.all_input_nodes:
        before = before.all_input_nodes[0]
        layer = layers.get(before)
        if isinstance(layer, nn.Conv2d):
            return layer.out_channels
        if isinstance(layer, nn.BatchNorm2d):
            return layer.num_features
    raise EdgepruneError(f"{node.target}: no convolution leads to this flatten; the network cannot be exported.")


def _dense_after(node: fx.Node, layers: dict[fx.Node, nn.Module]) -> nn.Linear:
    """The only dense layer after a flatten; between them are elementwise layers alone."""
    after = node
    while len(after.users) == 1:
        after = next(iter(after.users))
        layer = layers.get(after)
        if isinstance(layer, nn.Linear):
            return layer
        if not isinstance(layer, _ELEMENTWISE):
            break
    raise EdgepruneError(f"{node.target}: must lead straight to one dense layer; the network cannot be exported.")
