"""From a plan to C11: a header, and a source with tables, inner loops, steps and the scheduler that runs them."""

from dataclasses import dataclass

from edgeprune.firmware.c_text import c_float
from edgeprune.firmware.stream.code import Code, plus, slot, times, widen
from edgeprune.firmware.stream.emit_layers import emit_kernels, emit_step
from edgeprune.firmware.stream.network import (
    Activation,
    Convolution,
    Depthwise,
    FullyConnected,
    Padding,
    Pooling,
    Reshape,
)
from edgeprune.firmware.stream.plan import Plan, Step, streams


@dataclass(frozen=True)
class Program:
    """Attributes: header and source as text; state_bytes on a processor of 32 bits."""

    header: str
    source: str
    state_bytes: int


def emit_program(plan: Plan, prefix: str, title: str) -> Program:
    """Write the plan as C whose names begin with `prefix`; `title` is a comment."""
    code = Code(prefix, plan)
    for step in plan.steps:
        emit_step(code, step)
    fields, state_bytes = _state_fields(code)
    return Program(_header(code, fields, title), _source(code, title), state_bytes)


def _state_fields(code: Code) -> tuple[list[str], int]:
    """Declarations of the state's fields, words first, and their bytes."""
    plan, words, rows, total = code.plan, [], [], 0
    for ring in plan.rings:
        size = ring.rows * ring.row_bytes
        reader = f"{ring.why}; {ring.form}, {ring.rows} of {ring.activation.shape[0]} rows"
        if ring.form == "bytes":
            rows.append(f"int8_t {ring.name}[{size}]; /* {reader} */")
        else:
            words.append(f"uint32_t {ring.name}[{size // 4}]; /* {reader} */")
        total += size
    words += code.fields
    total += sum(4 * int(field.split("[")[1].split("]")[0]) for field in code.fields)
    if plan.weight_words:
        words.append(f"uint32_t weights[{plan.weight_words}]; /* of the filters at work, as int16 */")
    if plan.sums:
        words.append(f"int32_t sums[{plan.sums}]; /* of a pool whose windows overlap */")
    if plan.window_words:
        words.append(f"uint32_t window[{plan.window_words}]; /* the rows under a kernel of one channel, in pairs */")
    if plan.row_sums:
        words.append(f"int32_t row_sums[{plan.row_sums}]; /* of a convolution before a max-pool */")
    total += 4 * (plan.weight_words + plan.sums + plan.window_words + plan.row_sums)
    if plan.line_bytes:
        rows.append(f"int8_t line[{plan.line_bytes}]; /* a row on its way to its rings */")
        total += plan.line_bytes
    counters = ["input_rows", *(f"{step.name}_{what}" for step in plan.steps for what in ("done", "rows"))]
    total += 4 * len(counters)
    return [*words, *(f"int32_t {name};" for name in counters), *rows], -(-total // 4) * 4


def _header(code: Code, fields: list[str], title: str) -> str:
    p, capitals, plan = code.prefix, code.prefix.upper(), code.plan
    defines = "\n".join(f"#define {capitals}_{name} {value}" for name, value in _sizes(plan).items())
    declared = "\n".join(f"    {field}" for field in fields)
    return f"""\
/* {title}
 *
 * An int8 network that computes as its input arrives. All that changes lies in the state, which the caller places:
 *
 *     static {p}_state state;
 *     {p}_reset(&state);
 *     for (int i = 0; i < {capitals}_ROWS; ++i)
 *         {p}_push(&state, row);
 *     {p}_output(&state, output);
 *
 * A stored q stands for {capitals}_INPUT_SCALE * (q - {capitals}_INPUT_ZERO_POINT), and likewise for the output. */
#ifndef {capitals}_H
#define {capitals}_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

/* A window is {capitals}_ROWS rows of {capitals}_ROW_VALUES values: {_axes(plan)}. */
{defines}

/* The fields are not for use from outside. */
typedef struct {p}_state {{
{declared}
}} {p}_state;

/* Begin a window. */
void {p}_reset({p}_state *state);

/* Take the next row of the input, and compute all that it completes. */
void {p}_push({p}_state *state, const int8_t *row);

/* The output of the window, after its last row: {capitals}_OUTPUT_SIZE values, in the order of the file. */
void {p}_output(const {p}_state *state, int8_t *output);

/* A whole window at once: {capitals}_INPUT_SIZE values, in the order of the file. */
void {p}_infer({p}_state *state, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}}
#endif

#endif
"""


def _sizes(plan: Plan) -> dict[str, object]:
    x, y = plan.network.input, plan.network.output
    return {
        "ROWS": x.shape[0],
        "ROW_VALUES": x.shape[1] * x.shape[2],
        "INPUT_SIZE": x.size,
        "OUTPUT_SIZE": y.size,
        "INPUT_SCALE": c_float(x.scale),
        "INPUT_ZERO_POINT": f"({x.zero_point})",
        "OUTPUT_SCALE": c_float(y.scale),
        "OUTPUT_ZERO_POINT": f"({y.zero_point})",
        "LAYERS": len(plan.steps),
    }


def _axes(plan: Plan) -> str:
    height, width, channels = plan.network.input.shape
    walked, across = ("column", "rows") if plan.network.turned else ("row", "columns")
    channel = "one channel" if channels == 1 else f"{channels} channels"
    return f"a row here is a {walked} of the file's\n * input, which has {height} of {width} {across} and {channel}"


def _source(code: Code, title: str) -> str:
    parts = [
        f"/* {title} */",
        f'#include "{code.prefix}.h"\n\n#include <string.h>\n\n#include "edgeprune_kernels.h"\n',
        "/* ---- constants ---- */\n",
        *code.tables,
        "/* ---- inner loops ---- */\n",
        *emit_kernels(code),
        "/* ---- layers ---- */\n",
        *code.functions,
        "/* ---- scheduler ---- */\n",
        _advance(code),
        *_ends(code),
    ]
    return "\n".join(parts)


def _advance(code: Code) -> str:
    """The loop that lets the last step work that can, until none can."""
    p, capitals = code.prefix, code.prefix.upper()
    lines = [
        f"#ifdef {capitals}_PROFILE",
        f"void {p}_mark(unsigned layer);",
        f"#define {capitals}_MARK(layer) {p}_mark(layer)",
        "#else",
        f"#define {capitals}_MARK(layer) ((void)0)",
        "#endif\n",
        "/* The last layer that has the rows it needs works first, so that rows are read as soon as they can be. */",
        f"static void {p}_advance({p}_state *state)",
        "{",
        "    for (;;) {",
    ]
    word = "if"
    for number, step in reversed(list(enumerate(code.plan.steps))):
        lines += [
            f"        {word} ({_ready(code, step)}) {{",
            f"            {capitals}_MARK({capitals}_LAYERS);",
            f"            {code.name(step.name)}_step(state);",
            f"            {capitals}_MARK({number});",
        ]
        word = "} else if"
    return "\n".join([*lines, "        } else {", "            return;", "        }", "    }", "}"]) + "\n"


def _ready(code: Code, step: Step) -> str:
    """The C condition under which a step can work on its next rows."""
    done = f"state->{step.name}_done"
    conditions = [f"{done} < {step.rows}"]
    for x in dict.fromkeys(step.layer.inputs):
        conditions.append(f"{code.rows_of(x)} {_needed(step, x, done)}")
    return " &&\n            ".join(conditions)


def _needed(step: Step, x: Activation, done: str) -> str:
    layer, height = step.layer, x.shape[0]
    if height == 1 or isinstance(layer, FullyConnected | Reshape):
        return f">= {height}"
    if isinstance(layer, Convolution | Depthwise) or (isinstance(layer, Pooling) and not streams(layer)):
        window = layer.window
        reach = (window.kernel[0] - 1) * window.dilation[0] + 1 - window.before[0]
        last = plus(times(done, window.stride[0]), reach)
        return f">= ({last} < {height} ? {last} : {height})"
    if isinstance(layer, Padding):
        last = f"{done} + {1 - layer.before[0]}"
        return f">= ({last} < {height} ? {last} : {height})"
    return f"> {done}"


def _ends(code: Code) -> list[str]:
    """The functions of the header."""
    p, plan = code.prefix, code.plan
    height = plan.network.input.shape[0]
    entry = [f"        {widen(ring, 'row', 'state->input_rows')}" for ring in plan.entry]
    resets = [f"    {line}" for line in code.resets]
    reset = [
        f"void {p}_reset({p}_state *state)",
        "{",
        "    memset(state, 0, sizeof *state);",
        *resets,
        "}\n",
    ]
    push = [
        f"void {p}_push({p}_state *state, const int8_t *row)",
        "{",
        f"    if (state->input_rows < {height}) {{",
        *entry,
        "        ++state->input_rows;",
        f"        {p}_advance(state);",
        "    }",
        "}\n",
    ]
    return ["\n".join(reset), "\n".join(push), "\n".join(_output(code)), "\n".join(_infer(code))]


def _output(code: Code) -> list[str]:
    p, plan = code.prefix, code.plan
    y = plan.network.output
    ring = next(ring for ring in plan.rings if ring.form == "bytes" and ring.activation == y)
    height, width, channels = y.shape
    lines = [f"void {p}_output(const {p}_state *state, int8_t *output)", "{"]
    if not plan.network.turned or 1 in (height, width):
        return [*lines, f"    memcpy(output, state->{ring.name}, {y.size});", "}\n"]
    return [
        *lines,
        f"    for (int32_t row = 0; row < {height}; ++row)",
        f"        for (int32_t x = 0; x < {width}; ++x)",
        f"            memcpy(output + (x * {height} + row) * {channels}, {slot(ring, 'row')} + x * {channels},",
        f"                   {channels});",
        "}\n",
    ]


def _infer(code: Code) -> list[str]:
    p, plan = code.prefix, code.plan
    height, width, channels = plan.network.input.shape
    lines = [f"void {p}_infer({p}_state *state, const int8_t *input, int8_t *output)", "{", f"    {p}_reset(state);"]
    lines.append(f"    for (int32_t i = 0; i < {height}; ++i)")
    if not plan.network.turned or 1 in (height, width):
        lines.append(f"        {p}_push(state, input + i * {width * channels});")
    else:
        lines[-1] += " {"
        source = f"input + {times(f'(x * {height} + i)', channels)}"
        lines += [
            f"        int8_t row[{width * channels}];",
            f"        for (int32_t x = 0; x < {width}; ++x)",
            f"            memcpy(row + {times('x', channels)}, {source}, {channels});",
            f"        {p}_push(state, row);",
            "    }",
        ]
    return [*lines, f"    {p}_output(state, output);", "}"]
