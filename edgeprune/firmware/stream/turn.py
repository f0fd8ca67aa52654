"""Exchanging height and width of a network, so that its width is walked: integer sums do not depend on the order."""

from dataclasses import replace
from typing import Any

from edgeprune.firmware.stream.network import (
    Activation,
    Combine,
    Convolution,
    Depthwise,
    FullyConnected,
    IntegerNetwork,
    Layer,
    Padding,
    Pooling,
    Reshape,
)


def turn_network(network: IntegerNetwork) -> IntegerNetwork | None:
    """The network with height and width exchanged; None where a reshape depends on their order."""
    layers = []
    for layer in network.layers:
        if isinstance(layer, Reshape) and any(max(x.shape[:2]) > 1 for x in (*layer.inputs, layer.output)):
            return None
        layers.append(_turn_layer(layer))
    ends = {"input": _turn(network.input), "output": _turn(network.output)}
    return replace(network, layers=tuple(layers), turned=not network.turned, **ends)


def _turn(activation: Activation) -> Activation:
    height, width, channels = activation.shape
    return replace(activation, shape=(width, height, channels))


def _turn_layer(layer: Layer) -> Layer:
    ends: dict[str, Any] = {"inputs": tuple(map(_turn, layer.inputs)), "output": _turn(layer.output)}
    match layer:
        case Convolution() | Depthwise():
            axes = (0, 2, 1, 3) if isinstance(layer, Convolution) else (0, 2, 1)
            return replace(layer, weights=layer.weights.transpose(axes), window=layer.window.turned(), **ends)
        case Pooling():
            return replace(layer, window=layer.window.turned(), **ends)
        case Padding():
            before, after = ((size[1], size[0], size[2]) for size in (layer.before, layer.after))
            return replace(layer, before=before, after=after, **ends)
        case FullyConnected():
            weights = layer.weights.reshape(-1, *layer.inputs[0].shape).transpose(0, 2, 1, 3)
            return replace(layer, weights=weights.reshape(layer.weights.shape), **ends)
        case Combine():
            constant = None if layer.constant is None else layer.constant.transpose(1, 0, 2)
            return replace(layer, constant=constant, **ends)
    return replace(layer, **ends)
