"""The form in which a trained network is exported: batch norm folded, no dropout, its last function behind it."""

import copy

from torch import Tensor, fx, nn
from torch.fx.experimental.optimization import fuse, remove_dropout

from edgeprune.errors import EdgepruneError, first_line
from edgeprune.models.layers import MelNorm, SubSpectralNorm
from edgeprune.tflite.description import Output


class _LeafTracer(fx.Tracer):
    """Keeps each norm of mel bands as one node, so that it can be replaced."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, MelNorm | SubSpectralNorm) or super().is_leaf_module(m, module_qualified_name)


def export_form(model: nn.Module, output: Output = "softmax", example: Tensor | None = None) -> nn.Module:
    """A copy of `model` ready for export: in evaluation mode, on the CPU, with `output` behind it.

    Batch norm is folded into the convolution or dense layer before it (Jacob et al., "Quantization and training of
    neural networks for efficient integer-arithmetic-only inference", CVPR 2018, section 3.2) and dropout is removed.
    A forward that PyTorch's symbolic trace cannot follow stays as it is, if `torch.export` can follow it on `example`.
    """
    network = copy.deepcopy(model).cpu().eval()
    ends: dict[Output, list[nn.Module]] = {"softmax": [nn.Softmax(dim=1)], "sigmoid": [nn.Sigmoid()]}
    last = ends.get(output, [])
    try:
        traced = fx.GraphModule(network, _LeafTracer().trace(network))
    except Exception as error:  # whatever the forward makes of a stand-in for a tensor
        _check_fixed(network, example, error)
        return nn.Sequential(network, *last).eval()
    # A norm of mel bands becomes a scale and a shift. A convolution cannot take them in: its weights are the same at
    # every mel bin, the scale is not, and its zero padding has no shift.
    for path, module in list(traced.named_modules()):
        if isinstance(module, MelNorm | SubSpectralNorm):
            traced.set_submodule(path, module.as_scale())
    folded = remove_dropout(fuse(traced, inplace=True, no_trace=True))
    return nn.Sequential(folded, *last).eval()


def _check_fixed(network: nn.Module, example: Tensor | None, error: Exception) -> None:
    """Refuse a forward whose operators depend on the values that it is given."""
    from torch.export import export  # takes a second to import

    try:
        if example is None:
            raise error
        export(network, (example,), strict=False)
    except Exception as reason:
        raise EdgepruneError(
            f"{type(network).__name__}: cannot be exported, its forward depends on tensor values "
            f"({first_line(reason)[:200]}); make it a fixed graph."
        ) from reason
