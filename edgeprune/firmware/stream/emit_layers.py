"""The C of each step: its tables, and the function that computes its next rows."""

import re
from collections.abc import Sequence

import numpy as np

from edgeprune.firmware.stream.arithmetic import SumParameters
from edgeprune.firmware.stream.code import Code, begin_row, end_row, plus, slot, times, widen
from edgeprune.firmware.stream.emit_convolutions import emit_convolution, emit_depthwise
from edgeprune.firmware.stream.kernels import kernel_code
from edgeprune.firmware.stream.network import (
    Combine,
    Concatenation,
    Convolution,
    Depthwise,
    FullyConnected,
    Lookup,
    Mean,
    Padding,
    Pooling,
    Reshape,
    Softmax,
)
from edgeprune.firmware.stream.plan import Step, finish_with, largest_sum, streams
from edgeprune.firmware.stream.tables import filter_rows


def emit_step(code: Code, step: Step) -> None:
    """Add a step's tables, kernel and function."""
    layer = step.layer
    if isinstance(layer, Convolution):
        body = emit_convolution(code, step, layer)
    elif isinstance(layer, Depthwise):
        body = emit_depthwise(code, step, layer)
    elif isinstance(layer, FullyConnected):
        body = _fully_connected(code, step, layer)
    elif isinstance(layer, Mean) or (isinstance(layer, Pooling) and streams(layer)):
        body = _streaming_pool(code, step)
    elif isinstance(layer, Reshape):
        body = _reshape(code, step)
    else:
        body = [*begin_row(code, step), *_plain(code, step), *end_row(code, step)]
    title = f"/* {_comment(layer.name)}: {layer.kind}, {_shapes(step)} */"
    head = f"static void {code.name(step.name)}_step({code.name('state')} *state)"
    code.functions.append("\n".join([title, head, "{", *(f"    {line}" if line else "" for line in body), "}"]) + "\n")


def _comment(text: str) -> str:
    """A name that cannot end a comment."""
    return re.sub(r"[^\w ./;:-]", "?", text, flags=re.ASCII)[:80]


def _shapes(step: Step) -> str:
    inputs = ", ".join(" x ".join(map(str, x.shape)) for x in step.layer.inputs)
    pool = f", then MAX_POOL_2D {' x '.join(map(str, step.pooling.window.kernel))}" if step.pooling else ""
    return f"{inputs} to {' x '.join(map(str, step.output.shape))}{pool}"


def _fully_connected(code: Code, step: Step, layer: FullyConnected) -> list[str]:
    outputs, values = layer.weights.shape
    finish = finish_with(layer.rescale, largest_sum(layer), "byte")
    bias = layer.bias - layer.inputs[0].zero_point * layer.weights.astype(np.int64).sum(axis=1)
    weights = code.table("int8_t", f"{step.name}_weights", layer.weights.ravel())
    single = len(layer.rescale.mantissas) == 1
    if single:
        biases = code.table("int32_t", f"{step.name}_biases", bias)
        rows = filter_rows(np.zeros(1, np.int64), layer.rescale, finish)
        filters = code.table("ep_filter", f"{step.name}_scale", rows)
    else:
        filters = code.table("ep_filter", f"{step.name}_filters", filter_rows(bias, layer.rescale, finish))

    def start(place: str) -> str:
        return f"{biases}[{place}]" if single else f"{filters}[{place}].bias"

    def value(total: str, place: str) -> str:
        return finish.value(total, filters if single else f"{filters} + {place}")

    fours = outputs // 4 * 4
    lines = [*begin_row(code, step), f"const int8_t *const x = state->{step.reads[0].name};"]
    if fours:
        lines += [
            f"for (int32_t f = 0; f < {fours}; f += 4) {{",
            "    int32_t sums[4];",
            "    for (int32_t i = 0; i < 4; ++i)",
            f"        sums[i] = {start('f + i')};",
            f"    ep_dot_four(x, {weights} + f * {values}, {values}, sums);",
            "    for (int32_t i = 0; i < 4; ++i)",
            f"        out[f + i] = (int8_t)({value('sums[i]', 'f + i')});",
            "}",
        ]
    if fours < outputs:
        total = f"ep_dot(x, {weights} + f * {values}, {values}, {start('f')})"
        lines += [
            f"for (int32_t f = {fours}; f < {outputs}; ++f) {{",
            f"    const int32_t sum = {total};",
            f"    out[f] = (int8_t)({value('sum', 'f')});",
            "}",
        ]
    return [*lines, *end_row(code, step)]


def _streaming_pool(code: Code, step: Step) -> list[str]:
    """A pool whose windows do not overlap in height: each input row is added to the sums of its windows."""
    layer, name = step.layer, f"{step.name}_sums"
    (height, width, channels), (_, windows, _) = layer.inputs[0].shape, step.output.shape
    code.fields.append(f"int32_t {name}[{windows * channels}]; /* of the windows that {step.name} works on */")
    if isinstance(layer, Pooling):
        window = layer.window
        tall, stride, before = window.kernel[0], window.stride[0], window.before[0]
        across, peak = (window.kernel[1], window.stride[1], window.before[1]), layer.kind == "MAX_POOL_2D"
    else:
        tall, stride, before, across, peak = height, height, 0, (width, width, 0), False
    pool = f"{{{width}, {channels}, {across[0]}, {across[1]}, {across[2]}}}"
    lowest = "INT32_MIN" if peak else "0"
    function = "ep_pool_peak" if peak else "ep_pool_sum"
    ring = step.reads[0]
    return [
        f"static const ep_pool pool = {pool};",
        f"const int32_t row = state->{step.name}_done++, window = ({plus('row', before)}) / {stride};",
        f"const int32_t first = {plus(times('window', stride), -before)};",
        f"const int32_t last = first + {tall} < {height} ? first + {tall} : {height};",
        f"if (window >= {step.output.shape[0]} || row >= last)",
        "    return;",
        "if (row == (first > 0 ? first : 0))",
        f"    for (int32_t i = 0; i < {windows * channels}; ++i)",
        f"        state->{name}[i] = {lowest};",
        f"{function}({slot(ring, 'row')}, state->{name}, {windows}, &pool);",
        "if (row + 1 < last)",
        "    return;",
        *begin_row(code, step),
        f"for (int32_t x = 0; x < {windows}; ++x)",
        f"    for (int32_t c = 0; c < {channels}; ++c) {{",
        f"        const int32_t sum = state->{name}[x * {channels} + c];",
        f"        out[x * {channels} + c] = (int8_t){_pooled_value(step, peak, height * width)};",
        "    }",
        *end_row(code, step)[:-1],
    ]


def _pooled_value(step: Step, peak: bool, count: int) -> str:
    layer = step.layer
    if isinstance(layer, Mean):
        mantissa, shift = int(layer.rescale.mantissas[0]), int(layer.rescale.shifts[0])
        zeros = count * layer.inputs[0].zero_point
        scaled = f"ep_multiply(sum - ({zeros}), {mantissa}, {shift}) + {layer.rescale.zero_point}"
        return f"ep_limit({scaled}, -128, 127)"
    assert isinstance(layer, Pooling)
    limits = f"{layer.limits[0]}, {layer.limits[1]}"
    if peak:
        return f"ep_limit(sum, {limits})"
    rows = "last - (first > 0 ? first : 0)"
    return f"ep_limit(ep_average(sum, ({rows}) * ep_pool_columns(&pool, x)), {limits})"


def _plain(code: Code, step: Step) -> list[str]:
    """The layers that make a row of bytes from rows of bytes."""
    layer, row = step.layer, f"state->{step.name}_done"
    _, width, channels = step.output.shape
    sources = [slot(ring, row if ring.activation.shape[0] > 1 else "0") for ring in step.reads]
    match layer:
        case Lookup():
            table = code.table("int8_t", f"{step.name}_table", layer.table)
            return [f"ep_lookup({sources[0]}, out, {width * channels}, {table});"]
        case Combine():
            return _combine(code, step, layer, sources)
        case Concatenation():
            return _concatenation(step, sources)
        case Padding():
            return _padding(step, layer)
        case Softmax():
            table = code.table("int32_t", f"{step.name}_exponentials", layer.exponentials)
            if width == 1:
                return [f"ep_softmax({sources[0]}, out, {channels}, {table});"]
            call = f"ep_softmax({sources[0]} + x * {channels}, out + x * {channels}, {channels}, {table});"
            return [f"for (int32_t x = 0; x < {width}; ++x)", f"    {call}"]
        case Pooling():
            return _overlapping_pool(step, layer)
    raise TypeError(f"{layer.kind} has no C")


def _combine(code: Code, step: Step, layer: Combine, sources: Sequence[str]) -> list[str]:
    parameters, (_, width, channels) = layer.parameters, step.output.shape
    shapes = [x.shape for x in layer.inputs]
    places = list(sources)
    if layer.constant is not None:
        table = code.table("int8_t", f"{step.name}_constant", layer.constant.ravel())
        shape = layer.constant.shape
        row = f"{table} + state->{step.name}_done * {shape[1] * shape[2]}" if shape[0] > 1 else table
        at = 0 if layer.constant_first else 1
        shapes.insert(at, (shape[0], shape[1], shape[2]))
        places.insert(at, row)
    elif len(places) == 1:  # an activation with itself
        shapes, places = shapes * 2, places * 2
    operands = []
    for shape, place in zip(shapes, places, strict=True):
        operands.append(f"(ep_operand){{{place}, {shape[2] if shape[1] > 1 else 0}, {int(shape[2] > 1)}}}")
    zero, output = parameters.zero_points, parameters.output_zero_point
    limits = f"{output}, {parameters.lowest}, {parameters.highest}"
    if isinstance(parameters, SumParameters):
        (m0, s0), (m1, s1), (m, s) = *parameters.inputs, parameters.output
        sign = -1 if parameters.subtracts else 1
        call = f"ep_add({operands[0]}, {operands[1]}, out, {width}, {channels}, &k, {sign});"
    else:
        (m0, s0), (m1, s1), (m, s) = (0, 0), (0, 0), parameters.multiplier
        call = f"ep_product({operands[0]}, {operands[1]}, out, {width}, {channels}, &k);"
    fields = f"{{{zero[0]}, {zero[1]}}}, {{{m0}, {m1}}}, {{{s0}, {s1}}}, {m}, {s}, {limits}"
    return [f"static const ep_combination k = {{{fields}}};", call]


def _concatenation(step: Step, sources: Sequence[str]) -> list[str]:
    _, width, channels = step.output.shape
    lines, at = [f"for (int32_t x = 0; x < {width}; ++x) {{"], 0
    for x, source in zip(step.layer.inputs, sources, strict=True):
        lines.append(f"    memcpy(out + x * {channels} + {at}, {source} + x * {x.shape[2]}, {x.shape[2]});")
        at += x.shape[2]
    return [*lines, "}"]


def _padding(step: Step, layer: Padding) -> list[str]:
    (height, width, channels), (_, wide, deep) = layer.inputs[0].shape, step.output.shape
    ring, row = step.reads[0], f"state->{step.name}_done - {layer.before[0]}"
    return [
        f"const int32_t row = {row};",
        f"memset(out, {layer.value}, {wide * deep});",
        f"if (row >= 0 && row < {height})",
        f"    for (int32_t x = 0; x < {width}; ++x)",
        f"        memcpy(out + (x + {layer.before[1]}) * {deep} + {layer.before[2]},",
        f"               {slot(ring, 'row')} + x * {channels}, {channels});",
    ]


def _overlapping_pool(step: Step, layer: Pooling) -> list[str]:
    (height, width, channels), (_, windows, _) = layer.inputs[0].shape, step.output.shape
    window, ring, peak = layer.window, step.reads[0], layer.kind == "MAX_POOL_2D"
    function = "ep_pool_peak" if peak else "ep_pool_sum"
    value = f"ep_limit({'sum' if peak else 'ep_average(sum, (to - from) * ep_pool_columns(&pool, x))'}, "
    across = f"{window.kernel[1]}, {window.stride[1]}, {window.before[1]}"
    return [
        f"static const ep_pool pool = {{{width}, {channels}, {across}}};",
        f"const int32_t top = {plus(times(f'state->{step.name}_done', window.stride[0]), -window.before[0])};",
        f"const int32_t from = top > 0 ? top : 0, below = top + {window.kernel[0]};",
        f"const int32_t to = below < {height} ? below : {height};",
        f"for (int32_t i = 0; i < {windows * channels}; ++i)",
        f"    state->sums[i] = {'INT32_MIN' if peak else '0'};",
        "for (int32_t row = from; row < to; ++row)",
        f"    {function}({slot(ring, 'row')}, state->sums, {windows}, &pool);",
        f"for (int32_t x = 0; x < {windows}; ++x)",
        f"    for (int32_t c = 0; c < {channels}; ++c) {{",
        f"        const int32_t sum = state->sums[x * {channels} + c];",
        f"        out[x * {channels} + c] = (int8_t){value}{layer.limits[0]}, {layer.limits[1]});",
        "    }",
    ]


def _reshape(code: Code, step: Step) -> list[str]:
    """All rows at once, in the same order."""
    source, (height, width, channels) = f"state->{step.reads[0].name}", step.output.shape
    copies = [widen(ring, f"{source} + row * {width * channels}", "row") for ring in step.writes]
    lines = [f"for (int32_t row = 0; row < {height}; ++row) {{", *(f"    {copy}" for copy in copies), "}"]
    return [*lines, f"{code.rows_of(step.output)} = {height};", f"++state->{step.name}_done;"]


def emit_kernels(code: Code) -> list[str]:
    """The convolutions' inner loops."""
    return [kernel_code(kernel, name) for kernel, name in code.kernels.items()]
