"""The engine of comparison: bakenn's C with the kernels of CMSIS-NN, for a Cortex-M with DSP instructions."""

from pathlib import Path

from edgeprune.devices.network_program import NetworkCode
from edgeprune.errors import EdgepruneError
from edgeprune.files import write_text
from edgeprune.firmware.c11 import compile_c11


def compile_network(path: Path, folder: Path, device: str) -> NetworkCode:
    """Compile a file into `folder`; softmax is left to the caller, so the bytes are those of a file without it."""
    network = compile_c11(path, folder, device)
    steps = len(network.layers)
    marked = folder / "marked" / network.source.name
    write_text(marked, mark_steps(network.source.read_text(encoding="utf-8"), steps))
    return NetworkCode(
        engine="cmsis-nn",
        tflite=network.tflite,
        sources=network.sources,
        includes=network.includes,
        defines=network.defines,
        marked_sources=tuple(marked if source == network.source else source for source in network.sources),
        marked_defines=(*network.defines, f"BY_LAYER={steps}"),
        layers=network.layers,
        in_order=lambda stored: stored,
        facts={
            "engine": "cmsis-nn",
            "arena_bytes": network.arena_bytes,
            "ram": "start-up code and network alone: input, output, working memory, other variables, deepest stack",
            "computed": "logits; softmax is left to the caller" if network.logits else "the whole network",
        },
    )


def mark_steps(source: str, steps: int) -> str:
    """Insert calls of `board_mark` into bakenn's network function: two before its first step, one after each step."""
    head, begin, rest = source.partition("    (void)arena;\n")
    body, end, tail = rest.rpartition("\n}\n")
    parts = body.split("\n\n")
    if not begin or not end or tail or len(parts) != steps:
        raise EdgepruneError("bakenn: writes its code in another form than 1.0 does; install the version that fits.")
    mark = "    board_mark();"
    marked = "\n".join([mark, mark, *(f"{part}\n{mark}" for part in parts)])
    include, line, function = head.rpartition("\nvoid ")
    return f"{include}\nvoid board_mark(void);\n{line}{function}{begin}{marked}\n}}\n"
