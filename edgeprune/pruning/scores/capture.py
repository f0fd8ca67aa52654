"""Which tensor of a forward pass is a layer's feature map."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_LAYERS = {"conv1d", "conv2d", "conv3d", "linear"}
_NORMS = {"batch_norm", "instance_norm", "group_norm", "layer_norm"}
_ACTIVATIONS = {
    *("relu", "relu6", "leaky_relu", "prelu", "rrelu", "threshold", "hardtanh", "clamp", "clamp_min", "elu", "selu"),
    *("celu", "gelu", "silu", "mish", "hardswish", "sigmoid", "hardsigmoid", "logsigmoid", "tanh", "softplus"),
    *("softsign", "softshrink", "hardshrink", "tanhshrink"),
}


@dataclass
class _Waiting:
    """The output of a layer, or of the norm after it, until its consumer shows whether it is the feature map."""

    tensor: Tensor
    name: str
    normalised: bool


@dataclass
class _Call:
    """A layer's module that is running."""

    name: str
    seen: bool = False


class Capture(TorchFunctionMode):
    """While active, hands each layer's feature map to `receive` as soon as a forward pass has made it.

    The feature map is the layer's output after the norm and the activation function that directly follow it, whether
    they are modules, functions or methods, in place or not. Where another function (a sum, a pool, the next layer)
    takes the output first, the output itself is the map, and `receive` gets it before that function runs. An activation
    written out by hand, such as `x * x.sigmoid()`, counts as such a function. A layer that is called several times
    has several maps. Outputs that no function takes wait for `finish`.

    Tensors are followed by identity, from the convolution or product that takes the layer's weight. Where none does (a
    subclass may alter its weight first), they are followed from the output of the layer's module. `receive` gets the
    layer's name and its map `[n, filters, ...]`, of dense layers `[n, ..., filters]`, which the network may change in
    place afterwards.
    """

    def __init__(self, layers: Mapping[str, nn.Module], receive: Callable[[str, Tensor], None]) -> None:
        super().__init__()
        self._layers = layers
        self._receive = receive
        self._names = {id(own_weight(layer)): name for name, layer in layers.items() if own_weight(layer) is not None}
        self._waiting: dict[int, _Waiting] = {}
        self._calls: list[_Call] = []
        self._hooks: list[Any] = []

    def __enter__(self) -> "Capture":
        for name, layer in self._layers.items():
            self._hooks.append(layer.register_forward_pre_hook(lambda *_, name=name: self._calls.append(_Call(name))))
            self._hooks.append(layer.register_forward_hook(lambda _module, _inputs, output: self._end(output)))
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        for hook in self._hooks:
            hook.remove()

    def finish(self) -> None:
        """Hand over what is still waiting at the end of a forward pass."""
        self._hand_over(list(self._waiting.values()))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        kind = name.rstrip("_")
        source = self._waiting.get(id(args[0] if args else kwargs.get("input")))
        if source and kind in _ACTIVATIONS:
            result = func(*args, **kwargs)
            source.tensor = result
            self._hand_over([source])
        elif source and kind in _NORMS and not source.normalised:
            result = func(*args, **kwargs)
            del self._waiting[id(source.tensor)]
            self._wait(_Waiting(result, source.name, normalised=True))
        else:
            result = self._taken_by_another(func, args, kwargs, changes=name.endswith("_"))
        if kind in _LAYERS:
            self._from_weight(kwargs["weight"] if "weight" in kwargs else args[1], result)
        return result

    def _taken_by_another(self, func: Any, args: Any, kwargs: Any, changes: bool) -> Any:
        """Call a function that is neither norm nor activation; the outputs it takes are feature maps as they are."""
        taken = [self._waiting[id(each)] for each in _tensors((*args, *kwargs.values())) if id(each) in self._waiting]
        if taken and changes and func.__name__ != "__get__":
            self._hand_over(taken)  # before the values are gone
            taken = []
        result = func(*args, **kwargs)
        if taken:
            made = [each for each in _tensors([result]) if each.is_floating_point()]
            # A function that returns no new tensor, such as `size`, or dropout in inference, does not count.
            if made and not any(each is one.tensor for each in made for one in taken):
                self._hand_over(taken)
        return result

    def _end(self, output: Any) -> None:
        call = self._calls.pop()
        if not call.seen and isinstance(output, Tensor):
            self._wait(_Waiting(output, call.name, normalised=False))

    def _from_weight(self, weight: Any, result: Tensor) -> None:
        name = self._names.get(id(weight))
        if self._calls and own_weight(self._layers[self._calls[-1].name]) is weight:  # layers may share one weight
            name = self._calls[-1].name
            self._calls[-1].seen = True
        if name is not None:
            self._wait(_Waiting(result, name, normalised=False))

    def _wait(self, waiting: _Waiting) -> None:
        self._waiting[id(waiting.tensor)] = waiting  # which keeps the tensor, so that no other takes its id

    def _hand_over(self, these: list[_Waiting]) -> None:
        for one in these:
            self._waiting = {key: other for key, other in self._waiting.items() if other is not one}
            self._receive(one.name, one.tensor)


def own_weight(layer: nn.Module) -> Tensor | None:
    """The weight a module holds as it is; None where it makes it anew for each call, as parametrisations do."""
    return layer._parameters.get("weight")


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from (item for item in value if isinstance(item, Tensor))
