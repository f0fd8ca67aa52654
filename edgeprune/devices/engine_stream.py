"""The engine that ships: edgeprune's own streaming C, for every processor, softmax and all."""

from pathlib import Path

from edgeprune.devices.network_program import NetworkCode
from edgeprune.firmware.c11 import CompiledLayer
from edgeprune.firmware.stream.compile import compile_stream


def compile_network(path: Path, folder: Path, device: str) -> NetworkCode:
    """Compile a file into `folder`; the same C serves every device."""
    network = compile_stream(path, folder / "stream")
    return NetworkCode(
        engine="stream",
        tflite=path,
        sources=network.sources,
        includes=network.includes,
        defines=(),
        marked_sources=network.sources,
        marked_defines=("NET_PROFILE",),
        layers=(*network.layers, CompiledLayer(None, "scheduler")),
        in_order=network.in_rows,
        facts={
            "engine": "stream",
            "walks": f"{network.walk}, {network.rows} rows of {network.row_values} values",
            "state_bytes": network.state_bytes,
            "ram": "start-up code and network alone: its state, a row of input, output, other variables, deepest stack",
            "computed": "the whole network",
        },
    )
