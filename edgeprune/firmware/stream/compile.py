"""An int8 .tflite as streaming C11: read, plan, emit."""

import re
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from edgeprune.errors import EdgepruneError, unknown_name
from edgeprune.files import share_folder, write_bytes, write_text
from edgeprune.firmware.c11 import CompiledLayer
from edgeprune.firmware.stream.emit import Program, emit_program
from edgeprune.firmware.stream.kernels import Kernel
from edgeprune.firmware.stream.network import IntegerNetwork
from edgeprune.firmware.stream.plan import Plan, Step, make_plan
from edgeprune.firmware.stream.read import read_network
from edgeprune.firmware.stream.turn import turn_network
from edgeprune.tflite.flatbuffer import describe_tensors, unpack_model
from edgeprune.tflite.metadata import read_description

Walk = Literal["auto", "height", "width"]
WALKS: tuple[Walk, ...] = ("auto", "height", "width")
KERNELS = "edgeprune_kernels.h"


@dataclass(frozen=True)
class Buffer:
    """A part of the state: its field's name, its bytes, and why it is as large as it is."""

    name: str
    bytes: int
    why: str


@dataclass(frozen=True)
class StreamNetwork:
    """A network as streaming C.

    Attributes:
        prefix: of all C names; macros have it in capitals.
        header, sources, includes: C files to include and to compile, and folders of headers.
        walk: the axis of the file's input that rows follow each other along.
        rows: of a window.
        row_shape: positions and channels of a row; where the file begins with RESHAPE, those of the new shape.
        input_shape, output_shape: as the file has them, with a batch of 1.
        input_quantisation, output_quantisation: `(scale, zero_point)`: real = scale x (stored - zero_point).
        state_bytes: size of the state on a processor of 32 bits.
        buffers: its parts.
        layers: the steps, in the order of their numbers in profiles.
    """

    prefix: str
    header: Path
    sources: tuple[Path, ...]
    includes: tuple[Path, ...]
    walk: Walk
    rows: int
    row_shape: tuple[int, int]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    input_quantisation: tuple[float, int]
    output_quantisation: tuple[float, int]
    state_bytes: int
    buffers: tuple[Buffer, ...]
    layers: tuple[CompiledLayer, ...]

    @property
    def row_values(self) -> int:
        """How many values a row has."""
        return prod(self.row_shape)

    def in_rows(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Inputs `[n, ...]` as the file stores them, as `[n, rows, positions, channels]`."""
        positions, channels = self.row_shape
        if self.walk == "height":
            return stored.reshape(-1, self.rows, positions, channels)
        return stored.reshape(-1, positions, self.rows, channels).swapaxes(1, 2)


def compile_stream(path: Path, out: Path, prefix: str = "net", walk: Walk = "auto") -> StreamNetwork:
    """Write an int8 .tflite as C11 to the folder `out`: `<prefix>.h`, `<prefix>.c` and the header of all kernels.

    Args:
        walk: the axis along which rows arrive. `auto`: time, where the file says that its input is a log-mel; else the
            axis that needs less memory.

    Raises:
        EdgepruneError: the file holds what the compiler does not take; the sentence names it.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", prefix):
        raise EdgepruneError(f"prefix: '{prefix}' makes no C name; use up to 31 of a-z, 0-9 and _, a letter first.")
    if walk not in WALKS:
        raise unknown_name("walk", walk, WALKS)
    plan = plan_stream(path, walk)
    program = write_program(plan, out, prefix, f"Written by edgeprune from {_plain(path.name)}.")
    header, source = out / f"{prefix}.h", out / f"{prefix}.c"
    (x,), (y,) = describe_tensors(unpack_model(path))
    return StreamNetwork(
        prefix=prefix,
        header=header,
        sources=(source,),
        includes=(out,),
        walk="width" if plan.network.turned else "height",
        rows=plan.network.input.shape[0],
        row_shape=plan.network.input.shape[1:],
        input_shape=(1, *x["shape"][1:]),
        output_shape=(1, *y["shape"][1:]),
        input_quantisation=(x["scale"], x["zero_point"]),
        output_quantisation=(y["scale"], y["zero_point"]),
        state_bytes=program.state_bytes,
        buffers=tuple(Buffer(ring.name, ring.bytes, ring.why) for ring in plan.rings),
        layers=tuple(_compiled(step) for step in plan.steps),
    )


def write_program(plan: Plan, out: Path, prefix: str, title: str) -> Program:
    """Write a plan's C to the folder `out`, as `compile_stream` does; `title` is a comment."""
    program = emit_program(plan, prefix, title)
    write_text(out / f"{prefix}.h", program.header)
    write_text(out / f"{prefix}.c", program.source)
    write_bytes(out / KERNELS, (share_folder("export") / "stream" / KERNELS).read_bytes())
    return program


def plan_stream(path: Path, walk: Walk = "auto") -> Plan:
    """The plan of a file; see `compile_stream`."""
    network = read_network(path)
    plans = [make_plan(each) for each in _candidates(path, network, walk)]
    return min(plans, key=ring_bytes)


def ring_bytes(plan: Plan) -> int:
    """Bytes of all rings."""
    return sum(ring.bytes for ring in plan.rings)


def _candidates(path: Path, network: IntegerNetwork, walk: Walk) -> list[IntegerNetwork]:
    time = _time_axis(path) if walk == "auto" else None
    if "height" in (walk, time):
        return [network]
    turned = turn_network(network)
    if turned is None and walk == "width":
        raise EdgepruneError(
            f"{path}: cannot be walked along its width, since a RESHAPE depends on its rows; use height."
        )
    if turned and "width" in (walk, time):
        return [turned]
    return [network, turned] if turned else [network]


def _time_axis(path: Path) -> Walk | None:
    """The axis of time, where the file describes its front-end."""
    try:
        description = read_description(path)
    except EdgepruneError:  # a file by others
        return None
    if description.frontend is None or description.takes_waveform:
        return None
    return "width" if description.layout == "mels_frames" else "height"


def _compiled(step: Step) -> CompiledLayer:
    kernel = step.kernel
    shape = _kernel_name(kernel) if isinstance(kernel, Kernel) else type(step.layer).__name__.lower()
    return CompiledLayer(step.layer.operator, shape)


def _kernel_name(kernel: Kernel) -> str:
    return f"{kernel.filters} filters x {kernel.positions} positions x {kernel.taps} taps"


def _plain(text: str) -> str:
    """A file name that cannot end a comment."""
    return re.sub(r"[^\w .-]", "?", text, flags=re.ASCII)
