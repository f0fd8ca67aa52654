"""Instructions and memory of int8 networks on emulated Cortex-M processors."""

from edgeprune.devices import engine_cmsis_nn
from edgeprune.devices.boards import board_of
from edgeprune.devices.emulated import measure_emulated
from edgeprune.devices.record import Measurement
from edgeprune.devices.request import BenchRequest
from edgeprune.errors import EdgepruneError


def measure(request: BenchRequest) -> list[Measurement]:
    """Count the instructions and memory of each file, whose outputs must be TFLite Micro's, byte for byte."""
    if request.device in ("cortex-m55", "cortex-m85"):
        raise EdgepruneError(
            f"device {request.device}: bakenn's code gives wrong outputs on its vector unit (MVE); use cortex-m4, "
            "cortex-m7, cortex-m33, or ethos-u55-128 for the accelerator beside it."
        )
    if not board_of(request.device).has_dsp:
        raise EdgepruneError(
            f"device {request.device}: has no DSP instructions, which the kernels of CMSIS-NN take; use cortex-m4."
        )
    return measure_emulated(request, engine_cmsis_nn.compile_network)
