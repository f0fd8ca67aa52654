"""The C of each step: its tables, and the function that computes its next rows."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edgeprune.firmware.c_text import c_array
from edgeprune.firmware.stream.arithmetic import SumParameters
from edgeprune.firmware.stream.depthwise import DepthwiseKernel, depthwise_kernel
from edgeprune.firmware.stream.kernels import Finish, Kernel, Store, kernel_code
from edgeprune.firmware.stream.network import (
    Activation,
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
from edgeprune.firmware.stream.plan import Plan, Ring, Step, filter_words, finish_with, largest_sum, streams
from edgeprune.firmware.stream.tables import convolution_words, depthwise_words, filter_rows


@dataclass
class Code:
    """What the steps add to the program.

    Attributes:
        tables: definitions of constants.
        kernels: inner loops by their names.
        functions: the steps' functions, in order.
        fields: of the state, beside rings and counters.
        resets: statements that begin a window, beside clearing the state.
    """

    prefix: str
    plan: Plan
    tables: list[str] = field(default_factory=list)
    kernels: dict[Kernel, str] = field(default_factory=dict)
    functions: list[str] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)
    resets: list[str] = field(default_factory=list)

    def name(self, text: str) -> str:
        return f"{self.prefix}_{text}"

    def rows_of(self, activation: Activation) -> str:
        """The counter of an activation's rows in the state."""
        for step in self.plan.steps:
            if step.output == activation:
                return f"state->{step.name}_rows"
        return "state->input_rows"

    def table(self, kind: str, name: str, values: object) -> str:
        """Define a constant array and return its name."""
        array = np.asarray(values)
        full = self.name(name)
        sizes = "".join(f"[{size}]" for size in (array.shape[:1] if kind == "ep_filter" else array.shape))
        self.tables.append(c_array(f"static const {kind} {full}{sizes}", array))
        return full


def emit_step(code: Code, step: Step) -> None:
    """Add a step's tables, kernel and function."""
    layer = step.layer
    if isinstance(layer, Convolution):
        body = _convolution(code, step, layer)
    elif isinstance(layer, Depthwise):
        body = _depthwise(code, step, layer)
    elif isinstance(layer, FullyConnected):
        body = _fully_connected(code, step, layer)
    elif isinstance(layer, Mean) or (isinstance(layer, Pooling) and streams(layer)):
        body = _streaming_pool(code, step)
    elif isinstance(layer, Reshape):
        body = _reshape(code, step)
    else:
        body = [*_begin_row(code, step), *_plain(code, step), *_end_row(code, step)]
    title = f"/* {_comment(layer.name)}: {layer.kind}, {_shapes(step)} */"
    head = f"static void {code.name(step.name)}({code.name('state')} *state)"
    code.functions.append("\n".join([title, head, "{", *(f"    {line}" if line else "" for line in body), "}"]) + "\n")


def _comment(text: str) -> str:
    """A name that cannot end a comment."""
    return re.sub(r"[^\w ./;:-]", "?", text, flags=re.ASCII)[:80]


def _shapes(step: Step) -> str:
    inputs = ", ".join(" x ".join(map(str, x.shape)) for x in step.layer.inputs)
    pool = f", then MAX_POOL_2D {' x '.join(map(str, step.pooling.window.kernel))}" if step.pooling else ""
    return f"{inputs} to {' x '.join(map(str, step.output.shape))}{pool}"


# Rows


def slot(ring: Ring, row: str) -> str:
    """The C expression of a row's place in a ring, without its left padding."""
    size = ring.row_bytes // (1 if ring.form == "bytes" else 4)
    place = row if ring.rows >= ring.activation.shape[0] else f"({row}) % {ring.rows}"
    return f"state->{ring.name}" if ring.rows == 1 else f"state->{ring.name} + ({place}) * {size}"


def widen(ring: Ring, source: str, row: str) -> str:
    """The statement that copies a row of stored bytes to a convolution's ring."""
    _, width, channels = ring.activation.shape
    sizes = f"{width}, {channels}, {ring.columns}, {ring.activation.zero_point}"
    if ring.form == "bytes":
        return f"memcpy({slot(ring, row)}, {source}, {width * channels});"
    if ring.form == "pairs":
        return f"ep_widen_pairs({source}, {slot(ring, row)} + {ring.left}, {sizes});"
    return f"ep_widen_taps({source}, ep_at({slot(ring, row)}, {2 * ring.left}), {sizes});"


def _begin_row(code: Code, step: Step) -> list[str]:
    """Declare `out`, where a row of stored bytes is written."""
    target = next((ring for ring in step.writes if ring.form == "bytes"), None)
    rows = code.rows_of(step.output)
    place = "state->line" if target is None or step.through_line else slot(target, rows)
    return [f"int8_t *const out = {place};"]


def _end_row(code: Code, step: Step) -> list[str]:
    """Copy the row to the other rings, and count it."""
    rows = code.rows_of(step.output)
    rings = [ring for ring in step.writes if step.through_line or ring.form != "bytes"]
    return [*(widen(ring, "out", rows) for ring in rings), f"++{rows};", f"++state->{step.name}_done;"]


def _sink(step: Step) -> tuple[Ring, str]:
    """Where a convolution stores directly, and in which form: `half` or `byte`."""
    ring = step.writes[0]
    return ring, "byte" if step.through_line or ring.form == "bytes" else "half"


def _sink_row(step: Step, row: str) -> str:
    """The C expression of the row that a convolution stores to; its left padding is passed over."""
    ring, _ = _sink(step)
    if step.through_line:
        return "state->line"
    size = {"bytes": 0, "taps": 2, "pairs": 4}[ring.form]
    return slot(ring, row) if not ring.left else f"ep_at({slot(ring, row)}, {ring.left * size})"


def _filter_place(step: Step, filter_: str) -> str:
    """The element (half or byte) in a row where a filter's results begin."""
    ring, store = _sink(step)
    if store == "byte":
        return filter_
    if ring.form == "taps":
        return f"{filter_} * {ring.columns}"
    return f"({filter_} / 2) * {2 * ring.columns} + {filter_} % 2"


# Convolutions


def _convolution(code: Code, step: Step, layer: Convolution) -> list[str]:
    kernel = step.kernel
    assert kernel is not None
    ring, (height, _, _) = step.reads[0], layer.inputs[0].shape
    kernel_rows, stride, dilation = layer.weights.shape[1], layer.window.stride[0], layer.window.dilation[0]
    words = ring.planes * kernel.words * kernel.filters
    weights = code.table("uint32_t", f"{step.name}_weights", convolution_words(step))
    filters = code.table("ep_filter", f"{step.name}_filters", filter_rows(layer.bias, layer.rescale, kernel.finish))
    loop = code.kernels.setdefault(kernel, code.name(f"kernel_{len(code.kernels)}"))
    at_once, several = step.at_once, step.at_once > 1
    spans = kernel_rows if dilation > 1 else 2
    lines = [f"const int32_t first = state->{step.name}_done;"]
    lines += (
        [f"const int32_t rows = first + {at_once} < {step.rows} ? {at_once} : {step.rows} - first;"] if several else []
    )
    lines += [f"ep_span spans[{at_once}][{spans}];", f"const ep_span *ends[{at_once}];", f"int32_t above[{at_once}];"]
    lines += _spans(step, several, height, kernel_rows, (stride, dilation), words)
    lines += [
        f"for (int32_t f = 0; f < {len(layer.weights)}; f += {kernel.filters}) {{",
        f"    ep_widen_weights({weights}[f / {kernel.filters}], state->weights, {filter_words(step)});"
        if kernel.filters > 1
        else f"    ep_widen_weights({weights}[f], state->weights, {filter_words(step)});",
    ]
    indent = "    "
    if several:
        lines.append("    for (int32_t row = 0; row < rows; ++row) {")
        indent = "        "
    row = "row" if several else "0"
    lines += [
        f"{indent}{loop}(spans[{row}], ends[{row}], state->weights + above[{row}] * {words}, {filters} + f,",
        f"{indent}    {_convolution_out(code, step, row if several else '')}, {step.width - kernel.positions});",
    ]
    lines += ["    }"] if several else []
    lines.append("}")
    done = "rows" if several else "1"
    if step.pooling:
        return [*lines, *_finish_peaks(code, step, filters, done)]
    rows = code.rows_of(step.output)
    if step.through_line:
        copies = [widen(each, "state->line", rows) for each in step.writes]
        return [*lines, *copies, f"++{rows};", f"++state->{step.name}_done;"]
    return [*lines, f"{rows} += {done};", f"state->{step.name}_done += {done};"]


def _spans(step: Step, several: bool, height: int, kernel_rows: int, apart: tuple[int, int], words: int) -> list[str]:
    """Find the rows under the kernel that are not padding, for each output row."""
    ring, (stride, dilation) = step.reads[0], apart
    assert isinstance(step.layer, Convolution)
    before = step.layer.window.before[0]
    row, first = ("row", "(first + row)") if several else ("0", "first")
    top = f"{first} * {stride} - {before}"
    if dilation == 1:
        inside = [
            f"const int32_t top = {top};",
            "const int32_t from = top < 0 ? -top : 0;",
            f"const int32_t to = {height} - top < {kernel_rows} ? {height} - top : {kernel_rows};",
            f"above[{row}] = from;",
            f"ends[{row}] = ep_spans(spans[{row}], state->{ring.name}, {ring.rows}, {ring.row_bytes}, top + from, to - from,",
            f"    {words});",
        ]
    else:
        size = ring.row_bytes // 4
        inside = [
            f"ep_span *span = spans[{row}];",
            f"above[{row}] = -1;",
            f"for (int32_t k = 0; k < {kernel_rows}; ++k) {{",
            f"    const int32_t at = {top} + k * {dilation};",
            f"    if (at < 0 || at >= {height})",
            "        continue;",
            f"    above[{row}] = above[{row}] < 0 ? k : above[{row}];",
            f"    span->rows = state->{ring.name} + at % {ring.rows} * {size};",
            f"    span++->words = {words};",
            "}",
            f"above[{row}] = above[{row}] < 0 ? 0 : above[{row}];",
            f"ends[{row}] = span;",
        ]
    loop = f"for (int32_t row = 0; row < {'rows' if several else '1'}; ++row) {{"
    return [loop, *(f"    {line}" for line in inside), "}"] if several else ["{", *(f"    {x}" for x in inside), "}"]


def _convolution_out(code: Code, step: Step, row: str) -> str:
    if step.pooling:
        return f"state->{step.name}_peaks + f * {step.pooling.output.shape[1]}"
    ring, store = _sink(step)
    place = code.rows_of(step.output) + (f" + {row}" if row else "")
    place = _sink_row(step, place)
    if step.layer.output.shape[2] == 1:
        return place
    size = 1 if store == "byte" else 2
    offset = _filter_place(step, "f")
    return f"ep_at({place}, {size} * ({offset}))" if size > 1 else f"ep_at({place}, {offset})"


def _finish_peaks(code: Code, step: Step, filters: str, done: str) -> list[str]:
    """Rescale the max-pool's sums where its last row is done, and begin the next."""
    assert step.pooling is not None and step.kernel is not None
    tall, (_, width, channels) = step.pooling.window.kernel[0], step.pooling.output.shape
    name, rows, (ring, store) = f"{step.name}_peaks", code.rows_of(step.output), _sink(step)
    code.fields.append(f"int32_t {name}[{channels * width}]; /* sums of the max-pool behind {step.name} */")
    reset = [f"for (int32_t i = 0; i < {channels * width}; ++i)", f"    state->{name}[i] = INT32_MIN;"]
    code.resets += reset
    step_ = {"pairs": 2, "taps": 1, "bytes": channels}[ring.form] if not step.through_line else channels
    value = step.kernel.finish.value(f"state->{name}[f * {width} + x]", f"{filters} + f")
    place = _filter_place(step, "f") + (f" + x * {step_}" if width > 1 else "")
    body = [
        f"void *const out = {_sink_row(step, rows)};",
        f"for (int32_t f = 0; f < {channels}; ++f)",
        f"    for (int32_t x = 0; x < {width}; ++x)",
        f"        ep_store_{store}(out, {place}, {value});",
        *reset,
        *([widen(each, "state->line", rows) for each in step.writes] if step.through_line else []),
        f"++{rows};",
    ]
    lines = [f"state->{step.name}_done += {done};"]
    return [*lines, f"if (state->{step.name}_done % {tall} == 0) {{", *(f"    {line}" for line in body), "}"]


def _depthwise(code: Code, step: Step, layer: Depthwise) -> list[str]:
    ring, (sink, store_name) = step.reads[0], _sink(step)
    store: Store = "half" if store_name == "half" else "byte"
    finish = finish_with(layer.rescale, largest_sum(layer), store)
    step_ = layer.output.shape[2] if store == "byte" else {"pairs": 2, "taps": 1}[sink.form]
    kernel: DepthwiseKernel = depthwise_kernel(layer, step.width, ring.columns, store, step_, finish)
    weights = code.table("uint32_t", f"{step.name}_weights", depthwise_words(kernel).ravel())
    filters = code.table("ep_filter", f"{step.name}_filters", filter_rows(layer.bias, layer.rescale, finish))
    code.functions.append(kernel.code(code.name(step.name), filters, weights, _filter_place(step, "f")))
    window, height = layer.window, layer.inputs[0].shape[0]
    turns = -(-window.before[0] // ring.rows) * ring.rows
    rows = code.rows_of(step.output)
    lines = [
        f"const void *rows[{window.kernel[0]}];",
        f"for (int32_t k = 0; k < {window.kernel[0]}; ++k) {{",
        f"    const int32_t at = state->{step.name}_done * {window.stride[0]} + k * {window.dilation[0]} - {window.before[0]};",
        f"    uint32_t *const row = state->{ring.name} + (at + {turns}) % {ring.rows} * {ring.row_bytes // 4};",
        f"    if (at >= {height})",
        f"        memset(row, 0, {ring.row_bytes}); /* padding below the last row */",
        "    rows[k] = row;",
        "}",
        f"{code.name(step.name)}_row(rows, {_sink_row(step, rows)});",
    ]
    copies = [widen(each, "state->line", rows) for each in step.writes] if step.through_line else []
    return [*lines, *copies, f"++{rows};", f"++state->{step.name}_done;"]


# Other layers


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
    lines = [*_begin_row(code, step), f"const int8_t *const x = state->{step.reads[0].name};"]
    if fours:
        lines += [
            f"for (int32_t f = 0; f < {fours}; f += 4) {{",
            f"    int32_t sums[4] = {{{start('f')}, {start('f + 1')}, {start('f + 2')}, {start('f + 3')}}};",
            f"    ep_dot_four(x, {weights} + f * {values}, {values}, sums);",
            "    for (int32_t i = 0; i < 4; ++i)",
            f"        out[f + i] = (int8_t)({value('sums[i]', 'f + i')});",
            "}",
        ]
    if fours < outputs:
        total = f"ep_dot(x, {weights} + f * {values}, {values}, {start('f')})"
        lines += [f"for (int32_t f = {fours}; f < {outputs}; ++f)", f"    out[f] = (int8_t)({value(total, 'f')});"]
    return [*lines, *_end_row(code, step)]


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
        f"const int32_t row = state->{step.name}_done++, window = (row + {before}) / {stride};",
        f"const int32_t first = window * {stride} - {before}, last = first + {tall} < {height} ? first + {tall} : {height};",
        f"if (window >= {step.output.shape[0]} || row >= last)",
        "    return;",
        "if (row == (first > 0 ? first : 0))",
        f"    for (int32_t i = 0; i < {windows * channels}; ++i)",
        f"        state->{name}[i] = {lowest};",
        f"{function}({slot(ring, 'row')}, state->{name}, {windows}, &pool);",
        "if (row + 1 < last)",
        "    return;",
        *_begin_row(code, step),
        f"for (int32_t x = 0; x < {windows}; ++x)",
        f"    for (int32_t c = 0; c < {channels}; ++c) {{",
        f"        const int32_t sum = state->{name}[x * {channels} + c];",
        f"        out[x * {channels} + c] = (int8_t){_pooled_value(step, peak, height * width)};",
        "    }",
        *_end_row(code, step)[:-1],
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
        f"        memcpy(out + (x + {layer.before[1]}) * {deep} + {layer.before[2]}, {slot(ring, 'row')} + x * {channels}, {channels});",
    ]


def _overlapping_pool(step: Step, layer: Pooling) -> list[str]:
    (height, width, channels), (_, windows, _) = layer.inputs[0].shape, step.output.shape
    window, ring, peak = layer.window, step.reads[0], layer.kind == "MAX_POOL_2D"
    function = "ep_pool_peak" if peak else "ep_pool_sum"
    value = f"ep_limit({'sum' if peak else 'ep_average(sum, (to - from) * ep_pool_columns(&pool, x))'}, "
    return [
        f"static const ep_pool pool = {{{width}, {channels}, {window.kernel[1]}, {window.stride[1]}, {window.before[1]}}};",
        f"const int32_t top = state->{step.name}_done * {window.stride[0]} - {window.before[0]};",
        f"const int32_t from = top > 0 ? top : 0, to = top + {window.kernel[0]} < {height} ? top + {window.kernel[0]} : {height};",
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
