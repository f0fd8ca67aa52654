"""Instructions and memory of int8 networks on emulated Cortex-M processors."""

from edgeprune.devices import engine_cmsis_nn, engine_stream
from edgeprune.devices.boards import board_of
from edgeprune.devices.emulated import measure_emulated
from edgeprune.devices.record import Measurement
from edgeprune.devices.request import BenchRequest
from edgeprune.errors import EdgepruneError, unknown_name

ENGINES = {"stream": engine_stream.compile_network, "cmsis-nn": engine_cmsis_nn.compile_network}
"""What makes C of a file, by the name on the command line."""


def check_name(device: str) -> None:
    """Refuse a processor of which no board is emulated."""
    if device in ("cortex-m55", "cortex-m85"):
        raise EdgepruneError(
            f"device {device}: no board of it is emulated here, and bakenn's code gives wrong outputs on its vector "
            "unit (MVE); use cortex-m33, or ethos-u55-128 for the accelerator beside it."
        )
    board_of(device)


def measure(request: BenchRequest) -> list[Measurement]:
    """Count the instructions and memory of each file, whose outputs must be TFLite Micro's, byte for byte."""
    engine = request.options.engine
    if engine not in ENGINES:
        raise unknown_name("engine", engine, ENGINES)
    check_name(request.device)
    if engine == "cmsis-nn" and not board_of(request.device).has_dsp:
        raise EdgepruneError(
            f"device {request.device}: has no DSP instructions, which CMSIS-NN's kernels need; use --engine stream."
        )
    return measure_emulated(request, ENGINES[engine])
