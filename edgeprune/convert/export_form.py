"""The form in which a trained network is exported: batch norm folded, no dropout, flattened channel-last."""

import copy

import torch
from torch import fx, nn
from torch.fx.experimental.optimization import fuse, remove_dropout

from edgeprune.errors import EdgepruneError
from edgeprune.models.layers import Flatten, MelNorm, MelScale, channels_last_columns

_ELEMENTWISE = (nn.ReLU, nn.ReLU6, nn.Dropout, nn.Dropout2d, nn.Identity)


class _LeafTracer(fx.Tracer):
    """Keeps each `Flatten` and `MelNorm` as one node, so that it can be rewritten."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, Flatten | MelNorm) or super().is_leaf_module(m, module_qualified_name)


def export_form(model: nn.Module, softmax: bool = True) -> nn.Module:
    """A copy of `model` ready for export; `model` itself is left as it is.

    Batch norm is folded into the convolution or dense layer before it (Jacob et al., "Quantization and training of
    neural networks for efficient integer-arithmetic-only inference", CVPR 2018, section 3.2) and dropout is removed.
    `Flatten` becomes channel-last, and the columns of the next dense layer are permuted to match: the tensors of a
    TFLite file are channel-last, so it needs no TRANSPOSE.

    Args:
        model: network from `[n, channels, height, width]` to logits `[n, classes]`.
        softmax: end in probabilities; False leaves logits, for compilers that have no SOFTMAX.

    Returns:
        a module in evaluation mode on the CPU, with the same input and the outputs `[n, classes]`.
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
    _scale_mels(traced)
    folded = remove_dropout(fuse(traced, inplace=True, no_trace=True))
    stages = [folded, nn.Softmax(dim=1)] if softmax else [folded]
    return nn.Sequential(*stages).eval()


def _flatten_channels_last(traced: fx.GraphModule) -> None:
    modules = dict(traced.named_modules())
    for node in traced.graph.nodes:
        flatten = modules.get(str(node.target)) if node.op == "call_module" else None
        if not isinstance(flatten, Flatten) or flatten.channels_last:
            continue
        channels = _channels_before(node, modules)
        dense = _dense_after(node, modules)
        if dense.in_features % channels:
            raise EdgepruneError(
                f"{node.target}: {dense.in_features} features do not divide into {channels} channels; "
                "the dense layer does not match the convolution before it."
            )
        with torch.no_grad():
            dense.weight.copy_(channels_last_columns(dense.weight, channels))
        flatten.channels_last = True


def _scale_mels(traced: fx.GraphModule) -> None:
    """Turn each `MelNorm` into a scale and a shift for each mel bin.

    The next convolution cannot take them in: its weights are the same at every mel bin, the scale is not, and its zero
    padding has no shift.
    """
    for path, module in list(traced.named_modules()):
        if isinstance(module, MelNorm):
            parent, _, name = path.rpartition(".")
            setattr(traced.get_submodule(parent), name, MelScale(module.norm))


def _channels_before(node: fx.Node, modules: dict[str, nn.Module]) -> int:
    """Channels of a flatten's input: those of the nearest convolution or batch norm before it."""
    before = node
    while before.all_input_nodes:
        before = before.all_input_nodes[0]
        module = modules.get(str(before.target)) if before.op == "call_module" else None
        if isinstance(module, nn.Conv2d):
            return module.out_channels
        if isinstance(module, nn.BatchNorm2d):
            return module.num_features
    raise EdgepruneError(f"{node.target}: no convolution leads to this flatten; the network cannot be exported.")


def _dense_after(node: fx.Node, modules: dict[str, nn.Module]) -> nn.Linear:
    """The only dense layer after a flatten; between them are elementwise layers alone."""
    after = node
    while len(after.users) == 1:
        after = next(iter(after.users))
        module = modules.get(str(after.target)) if after.op == "call_module" else None
        if isinstance(module, nn.Linear):
            return module
        if not isinstance(module, _ELEMENTWISE):
            break
    raise EdgepruneError(f"{node.target}: must lead straight to one dense layer; the network cannot be exported.")
