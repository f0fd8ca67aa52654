"""How the layers of a network slide over height and width, by the names that their operators have in its graph."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from edgeprune.graph.graph import Graph, Operator

Pair = tuple[int, int]


@dataclass(frozen=True)
class LayerWindow:
    """A layer's window; each pair is `(height, width)`.

    Attributes:
        before: padding at the top and at the left.
        average: of a pool that averages.
    """

    kernel: Pair
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    before: Pair = (0, 0)
    average: bool = False


def layer_windows(model: nn.Module, graph: Graph) -> dict[str, LayerWindow]:
    """The windows of convolutions, pools and paddings, by operator.

    A pool that is no module of the network has none, and neither has one whose size follows from its input's.
    """
    modules = dict(model.named_modules())
    lasts = [path.rpartition(".")[2] for path in modules if path]
    labels = {path.rpartition(".")[2]: path for path in modules if lasts.count(path.rpartition(".")[2]) == 1}
    windows = {}
    for operator in graph.operators:
        label = operator.name.removesuffix(".pad") if operator.kind == "pad" else operator.name
        module = modules.get(operator.path or labels.get(label, label))
        window = None if module is None else _window(module, operator)
        if window is not None:
            windows[operator.name] = window
    return windows


def _window(module: nn.Module, operator: Operator) -> LayerWindow | None:
    if isinstance(module, nn.ZeroPad2d):
        left, _, top, _ = module.padding
        return LayerWindow((1, 1), before=(top, left))
    if isinstance(module, nn.Conv2d):
        kernel, dilation = _pair(module.kernel_size), _pair(module.dilation)
        before = _pair(module.padding) if not isinstance(module.padding, str) else (0, 0)
        if module.padding == "same":
            before = ((kernel[0] - 1) * dilation[0] // 2, (kernel[1] - 1) * dilation[1] // 2)
        return LayerWindow(kernel, _pair(module.stride), dilation, before)
    if isinstance(module, nn.MaxPool2d | nn.AvgPool2d) and operator.kind in ("pool", "pad"):
        average = isinstance(module, nn.AvgPool2d)
        dilation = (1, 1) if average else _pair(getattr(module, "dilation", 1))
        kernel = _pair(module.kernel_size)
        return LayerWindow(kernel, _pair(module.stride or kernel), dilation, _pair(module.padding), average)
    return None


def _pair(value: Any) -> Pair:
    height, width = (value, value) if isinstance(value, int) else value
    return int(height), int(width)
