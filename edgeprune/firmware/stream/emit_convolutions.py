"""The C of convolutions and of the max-pools that join them."""

from edgeprune.firmware.stream.code import Code, filter_place, sink_of, sink_row, widen
from edgeprune.firmware.stream.depthwise import DepthwiseKernel, depthwise_kernel
from edgeprune.firmware.stream.kernels import Store
from edgeprune.firmware.stream.network import Convolution, Depthwise
from edgeprune.firmware.stream.plan import Step, filter_words, finish_with, largest_sum
from edgeprune.firmware.stream.tables import convolution_words, depthwise_words, filter_rows


def emit_convolution(code: Code, step: Step, layer: Convolution) -> list[str]:
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
            f"ends[{row}] = ep_spans(spans[{row}], state->{ring.name}, {ring.rows}, {ring.row_bytes},",
            f"    top + from, to - from, {words});",
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
    _, store = sink_of(step)
    place = code.rows_of(step.output) + (f" + {row}" if row else "")
    place = sink_row(step, place)
    if step.layer.output.shape[2] == 1:
        return place
    size = 1 if store == "byte" else 2
    offset = filter_place(step, "f")
    return f"ep_at({place}, {size} * ({offset}))" if size > 1 else f"ep_at({place}, {offset})"


def _finish_peaks(code: Code, step: Step, filters: str, done: str) -> list[str]:
    """Rescale the max-pool's sums where its last row is done, and begin the next."""
    assert step.pooling is not None
    assert step.kernel is not None
    tall, (_, width, channels) = step.pooling.window.kernel[0], step.pooling.output.shape
    name, rows, (ring, store) = f"{step.name}_peaks", code.rows_of(step.output), sink_of(step)
    code.fields.append(f"int32_t {name}[{channels * width}]; /* sums of the max-pool behind {step.name} */")
    reset = [f"for (int32_t i = 0; i < {channels * width}; ++i)", f"    state->{name}[i] = INT32_MIN;"]
    code.resets += reset
    step_ = {"pairs": 2, "taps": 1, "bytes": channels}[ring.form] if not step.through_line else channels
    value = step.kernel.finish.value(f"state->{name}[f * {width} + x]", f"{filters} + f")
    place = filter_place(step, "f") + (f" + x * {step_}" if width > 1 else "")
    body = [
        f"void *const out = {sink_row(step, rows)};",
        f"for (int32_t f = 0; f < {channels}; ++f)",
        f"    for (int32_t x = 0; x < {width}; ++x)",
        f"        ep_store_{store}(out, {place}, {value});",
        *reset,
        *([widen(each, "state->line", rows) for each in step.writes] if step.through_line else []),
        f"++{rows};",
    ]
    lines = [f"state->{step.name}_done += {done};"]
    return [*lines, f"if (state->{step.name}_done % {tall} == 0) {{", *(f"    {line}" for line in body), "}"]


def emit_depthwise(code: Code, step: Step, layer: Depthwise) -> list[str]:
    ring, (sink, store_name) = step.reads[0], sink_of(step)
    store: Store = "half" if store_name == "half" else "byte"
    finish = finish_with(layer.rescale, largest_sum(layer), store)
    step_ = layer.output.shape[2] if store == "byte" else {"pairs": 2, "taps": 1}[sink.form]
    kernel: DepthwiseKernel = depthwise_kernel(layer, step.width, ring.columns, store, step_, finish)
    weights = code.table("uint32_t", f"{step.name}_weights", depthwise_words(kernel).ravel())
    filters = code.table("ep_filter", f"{step.name}_filters", filter_rows(layer.bias, layer.rescale, finish))
    code.functions.append(kernel.code(code.name(step.name), filters, weights, filter_place(step, "f")))
    window, height = layer.window, layer.inputs[0].shape[0]
    turns = -(-window.before[0] // ring.rows) * ring.rows
    rows, first = code.rows_of(step.output), f"state->{step.name}_done * {window.stride[0]} - {window.before[0]}"
    lines = [
        f"const void *rows[{window.kernel[0]}];",
        f"for (int32_t k = 0; k < {window.kernel[0]}; ++k) {{",
        f"    const int32_t at = {first} + k * {window.dilation[0]};",
        f"    uint32_t *const row = state->{ring.name} + (at + {turns}) % {ring.rows} * {ring.row_bytes // 4};",
        f"    if (at >= {height})",
        f"        memset(row, 0, {ring.row_bytes}); /* padding below the last row */",
        "    rows[k] = row;",
        "}",
        f"{code.name(step.name)}_row(rows, {sink_row(step, rows)});",
    ]
    copies = [widen(each, "state->line", rows) for each in step.writes] if step.through_line else []
    return [*lines, *copies, f"++{rows};", f"++state->{step.name}_done;"]
