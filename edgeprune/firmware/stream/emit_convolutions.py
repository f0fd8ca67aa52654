"""The C of convolutions and of the max-pools that join them."""

from edgeprune.firmware.stream.code import Code, filter_place, plus, sink_of, sink_row, times, widen
from edgeprune.firmware.stream.depthwise import DepthwiseKernel, depthwise_kernel
from edgeprune.firmware.stream.kernels import Store
from edgeprune.firmware.stream.network import Convolution, Depthwise
from edgeprune.firmware.stream.plan import Step, filter_words, finish_with, largest_sum
from edgeprune.firmware.stream.tables import convolution_words, depthwise_words, filter_rows


def emit_convolution(code: Code, step: Step, layer: Convolution) -> list[str]:
    kernel = step.kernel
    assert kernel is not None
    weights = code.table("uint32_t", f"{step.name}_weights", convolution_words(step))
    filters = code.table("ep_filter", f"{step.name}_filters", filter_rows(layer.bias, layer.rescale, kernel.finish))
    loop = code.kernels.setdefault(kernel, code.name(f"kernel_{len(code.kernels)}"))
    group = "f" if kernel.filters == 1 else f"f / {kernel.filters}"
    words = step.row_words // (2 if kernel.packed else 1)
    lines = _paired_rows(step, layer, words) if step.pairs_rows else _spans(step, layer, words)
    if not step.pooling:
        lines.append(f"void *const out = {sink_row(step, code.rows_of(step.output))};")
    step_by = "++f" if kernel.filters == 1 else f"f += {kernel.filters}"
    lines.append(f"for (int32_t f = 0; f < {len(layer.weights)}; {step_by}) {{")
    if not kernel.packed:
        lines.append(f"    ep_widen_weights({weights}[{group}], state->weights, {filter_words(step)});")
    source = f"{weights}[{group}]" if kernel.packed else "state->weights"
    source += "" if step.pairs_rows else f" + above * {words}"
    last = step.width - kernel.positions
    lines.append(f"    {loop}(spans, end, {source}, {filters} + f, {_filter_out(step)}, {last});")
    rows = code.rows_of(step.output)
    if step.pooling:
        across, windows = step.pooling.window.kernel[1], step.pooling.output.shape[1]
        for filter_ in range(kernel.filters):
            place = "f" if filter_ == 0 else f"(f + {filter_})"
            sums = f"state->row_sums + {filter_ * step.width}" if filter_ else "state->row_sums"
            peaks = f"state->{step.name}_peaks + {place} * {windows}"
            lines.append(f"    ep_raise_peaks({sums}, {peaks}, {windows}, {across});")
        return [*lines, "}", *_finish_peaks(code, step, filters)]
    copies = [widen(each, "state->line", rows) for each in step.writes] if step.through_line else []
    return [*lines, "}", *copies, f"++{rows};", f"++state->{step.name}_done;"]


def _spans(step: Step, layer: Convolution, words: int) -> list[str]:
    """Find the rows under the kernel that are not padding."""
    ring, window, height = step.reads[0], layer.window, layer.inputs[0].shape[0]
    tall, dilation = window.kernel[0], window.dilation[0]
    top = f"const int32_t top = {_top(step, layer)};"
    if dilation == 1:
        return [
            top,
            f"const int32_t above = {_above(tall, 1, window.before[0])};",
            f"const int32_t rows = ({height} - top < {tall} ? {height} - top : {tall}) - above;",
            "ep_span spans[2];",
            f"const ep_span *const end = ep_spans(spans, state->{ring.name}, {ring.rows}, {ring.row_bytes},",
            f"    top + above, rows, {words});",
        ]
    return [
        top,
        f"ep_span spans[{tall}], *end = spans;",
        f"const int32_t above = {_above(tall, dilation, window.before[0])};",
        f"const int32_t below = top + {tall * dilation} < {height} ? top + {tall * dilation} : {height};",
        f"for (int32_t at = top + above * {dilation}; at < below; at += {dilation}) {{",
        f"    end->rows = state->{ring.name} + at % {ring.rows} * {ring.row_bytes // 4};",
        f"    end++->words = {words};",
        "}",
    ]


def _above(tall: int, dilation: int, before: int) -> str:
    """The C expression of how many of the kernel's rows lie above the input."""
    rows = "-top" if dilation == 1 else f"(-top + {dilation - 1}) / {dilation}"
    some = f"top < 0 ? {rows} : 0"
    return some if before <= tall * dilation else f"top < {-tall * dilation} ? {tall} : {some}"


def _paired_rows(step: Step, layer: Convolution, words: int) -> list[str]:
    """Lay the rows under the kernel next to each other, two in a word; rows of padding are zero."""
    ring, window, height = step.reads[0], layer.window, layer.inputs[0].shape[0]
    tall = window.kernel[0]
    pairs, size = -(-tall // 2), ring.row_bytes // 4
    return [
        f"const int32_t top = {_top(step, layer)};",
        f"for (int32_t pair = 0; pair < {pairs}; ++pair) {{",
        "    const uint32_t *rows[2] = {NULL, NULL};",
        f"    for (int32_t i = 0; i < 2 && 2 * pair + i < {tall}; ++i) {{",
        f"        const int32_t at = top + {times('(2 * pair + i)', window.dilation[0])};",
        f"        if (at >= 0 && at < {height})",
        f"            rows[i] = state->{ring.name} + at % {ring.rows} * {size};",
        "    }",
        f"    ep_pair_rows(rows[0], rows[1], state->window + pair * {ring.columns}, {ring.columns});",
        "}",
        f"const ep_span spans[1] = {{{{state->window, {words}}}}}, *const end = spans + 1;",
    ]


def _top(step: Step, layer: Convolution | Depthwise) -> str:
    """The C expression of the first row under the kernel, which may lie in the padding."""
    return plus(times(f"state->{step.name}_done", layer.window.stride[0]), -layer.window.before[0])


def _filter_out(step: Step) -> str:
    """The C expression of where a filter's results begin in the row `out`."""
    if step.pooling:
        return "state->row_sums"
    if step.layer.output.shape[2] == 1:
        return "out"
    _, store = sink_of(step)
    offset = filter_place(step, "f")
    return f"ep_at(out, 2 * ({offset}))" if store == "half" else f"ep_at(out, {offset})"


def _finish_peaks(code: Code, step: Step, filters: str) -> list[str]:
    """Rescale the max-pool's sums where its last row is done, and begin the next."""
    assert step.pooling is not None
    assert step.kernel is not None
    tall, (_, width, channels) = step.pooling.window.kernel[0], step.pooling.output.shape
    name, rows, (ring, store) = f"{step.name}_peaks", code.rows_of(step.output), sink_of(step)
    code.fields.append(f"int32_t {name}[{channels * width}]; /* sums of the max-pool behind {step.name} */")
    code.resets += [f"for (int32_t i = 0; i < {channels * width}; ++i)", f"    state->{name}[i] = INT32_MIN;"]
    step_ = {"pairs": 2, "taps": 1, "bytes": channels}[ring.form] if not step.through_line else channels
    value = step.kernel.finish.value("peaks[x]", f"{filters} + f")
    place = filter_place(step, "f") + f" + {times('x', step_)}"
    body = [
        f"void *const out = {sink_row(step, rows)};",
        f"for (int32_t f = 0; f < {channels}; ++f) {{",
        f"    int32_t *const peaks = state->{name} + f * {width};",
        f"    for (int32_t x = 0; x < {width}; ++x) {{",
        f"        ep_store_{store}(out, {place}, {value});",
        "        peaks[x] = INT32_MIN;",
        "    }",
        "}",
        *([widen(each, "state->line", rows) for each in step.writes] if step.through_line else []),
        f"++{rows};",
    ]
    lines = [f"++state->{step.name}_done;"]
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
    rows = code.rows_of(step.output)
    lines = [
        f"const int32_t top = {_top(step, layer)};",
        f"const void *rows[{window.kernel[0]}];",
        f"for (int32_t k = 0; k < {window.kernel[0]}; ++k) {{",
        f"    const int32_t at = top + {times('k', window.dilation[0])};",
        f"    uint32_t *const row = state->{ring.name} + ({plus('at', turns)}) % {ring.rows} * {ring.row_bytes // 4};",
        f"    if (at >= {height})",
        f"        memset(row, 0, {ring.row_bytes}); /* padding below the last row */",
        "    rows[k] = row;",
        "}",
        f"{code.name(step.name)}_row(rows, {sink_row(step, rows)});",
    ]
    copies = [widen(each, "state->line", rows) for each in step.writes] if step.through_line else []
    return [*lines, *copies, f"++{rows};", f"++state->{step.name}_done;"]
