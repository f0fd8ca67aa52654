"""Instructions and memory of int8 networks on an emulated RISC-V processor."""

from edgeprune.devices import engine_stream
from edgeprune.devices.emulated import measure_emulated
from edgeprune.devices.record import Measurement
from edgeprune.devices.request import BenchRequest


def measure(request: BenchRequest) -> list[Measurement]:
    """Count the instructions and memory of each file, whose outputs must be TFLite Micro's, byte for byte."""
    return measure_emulated(request, engine_stream.compile_network)
