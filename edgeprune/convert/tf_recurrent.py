"""Recurrent layers of an ONNX graph, written out step by step: TFLite has no GRU, and devices run no loops."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.convert.memory_order import OrderedTensor, new_axes, places_of
from edgeprune.convert.onnx_file import attributes
from edgeprune.convert.tf_builder import TfBuilder, handles

MOST_STEPS = 256
"""Each step becomes a dozen operators."""


@handles("GRU LSTM")
def _recurrent(builder: TfBuilder, node: Any, given: list[Any]) -> list[OrderedTensor]:
    """Outputs as ONNX has them: `[steps, directions, n, units]`, then the last states `[directions, n, units]`."""
    tf, settings = builder.tf, attributes(node)
    x, weights, recurrent = given[:3]
    biases = given[3] if len(given) > 3 else None
    biases = np.zeros((len(weights), 2 * weights.shape[1]), np.float32) if biases is None else biases
    _refuse(builder, node, x, given, settings)
    steps_, inside = x.axes[0], tuple(piece for piece in x.order if piece in x.axes[2])
    x = builder.moved(x, (steps_, inside))
    columns = places_of(x.axes[2], inside)
    step = _gru_step if node.op_type == "GRU" else _lstm_step
    directions, lasts = [], []
    for number, (own, back, bias) in enumerate(zip(weights, recurrent, biases, strict=True)):
        half = len(bias) // 2
        reverse = number == 1 or settings.get("direction", b"forward") == b"reverse"
        inputs = tf.nn.bias_add(tf.matmul(x.tensor, tf.constant(own[:, columns].T)), bias[:half])
        parts = tf.split(inputs, x.shape[0], 0)
        states = list(step(tf, parts[::-1] if reverse else parts, back, bias[half:]))
        lasts.append(states[-1])
        states = states[::-1] if reverse else states
        directions.append(tf.concat(states, 0))
    y = tf.concat(directions, 1) if len(directions) > 1 else directions[0]
    last = tf.concat(lasts, 1) if len(lasts) > 1 else lasts[0]
    ways, units = new_axes([len(weights), recurrent.shape[2]])
    of_last = OrderedTensor(last, (ways, (), units), ((), (*ways, *units)))
    return [OrderedTensor(y, (steps_, ways, (), units), (steps_, (*ways, *units))), of_last]


def _refuse(builder: TfBuilder, node: Any, x: OrderedTensor, given: list[Any], settings: dict[str, Any]) -> None:
    starts = [given[place] for place in (5, 6) if len(given) > place and given[place] is not None]
    if any(isinstance(start, OrderedTensor) or np.any(start) for start in starts):
        raise builder.refusal("its first state is not zero")
    if x.shape[1] != 1:
        raise builder.refusal(f"it takes {x.shape[1]} sequences at once where a file takes one; is batch_first meant?")
    if x.shape[0] > MOST_STEPS:
        raise builder.refusal(f"it runs {x.shape[0]} steps, and at most {MOST_STEPS} are written out")
    if settings.get("activations") or (node.op_type == "GRU" and not settings.get("linear_before_reset", 0)):
        raise builder.refusal("its gates are not those of PyTorch's layer")


def _gru_step(tf: Any, inputs: list[Any], back: NDArray[Any], bias: NDArray[Any]) -> Iterator[Any]:
    """States `[1, units]` (Cho et al., 2014, in PyTorch's form); gates in ONNX's order: update, reset, new."""
    units, matrix = back.shape[1], tf.constant(back.T)
    state = tf.zeros((1, units))
    for given in inputs:
        own, own_new = tf.split(given, [2 * units, units], 1)
        again, again_new = tf.split(tf.nn.bias_add(tf.matmul(state, matrix), bias), [2 * units, units], 1)
        update, reset = tf.split(tf.sigmoid(own + again), 2, 1)
        new = tf.tanh(own_new + reset * again_new)
        state = new + update * (state - new)
        yield state


def _lstm_step(tf: Any, inputs: list[Any], back: NDArray[Any], bias: NDArray[Any]) -> Iterator[Any]:
    """States `[1, units]` (Hochreiter & Schmidhuber, 1997); gates in ONNX's order: input, output, forget, cell."""
    units, matrix = back.shape[1], tf.constant(back.T)
    state = cell = tf.zeros((1, units))
    for given in inputs:
        gates, candidate = tf.split(given + tf.nn.bias_add(tf.matmul(state, matrix), bias), [3 * units, units], 1)
        enter, leave, forget = tf.split(tf.sigmoid(gates), 3, 1)
        cell = forget * cell + enter * tf.tanh(candidate)
        state = leave * tf.tanh(cell)
        yield state
