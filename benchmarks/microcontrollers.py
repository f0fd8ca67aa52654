"""Instructions, memory and estimated cycles of int8 files on the emulated boards, by both engines, as one table.

    python benchmarks/microcontrollers.py runs/half/dense_int8.tflite runs/half/model_int8.tflite \
        [--devices cortex-m0,cortex-m4,riscv32] [--engines stream,cmsis-nn] [--json]

Each file's bytes are those of TFLite Micro before it is counted. RAM is the linked program's, stack included, and flash
its code and constants. A device that refuses a file says why in the last column.
"""

import argparse
from pathlib import Path
from typing import Any

from edgeprune.cli.output import print_json
from edgeprune.console import print_table
from edgeprune.devices.bench import bench
from edgeprune.devices.boards import BOARDS
from edgeprune.devices.cortex_m import ENGINES
from edgeprune.devices.request import DeviceOptions
from edgeprune.errors import EdgepruneError

COLUMNS = (
    "file",
    "device",
    "engine",
    "instructions",
    "a MAC",
    "RAM, B",
    "stack, B",
    "flash, B",
    "estimated cycles",
    "",
)


def row(path: Path, device: str, engine: str) -> dict[str, Any]:
    """The figures of one file, or the refusal."""
    try:
        (record,) = bench(path, device, options=DeviceOptions(engine=engine)).records
    except EdgepruneError as error:
        return {"file": path.name, "device": device, "engine": engine, "refused": str(error)}
    detail = record.detail
    return {
        "file": path.name,
        "device": device,
        "engine": engine,
        "instructions": record.median,
        "instructions_per_mac": detail["instructions_per_mac"],
        "ram_bytes": record.peak_ram_bytes,
        "stack_bytes": detail["stack_bytes"],
        "flash_bytes": detail["flash_bytes"],
        "estimated_cycles": detail.get("estimated_cycles", {}).get("value"),
    }


def shown(found: dict[str, Any]) -> tuple[str, ...]:
    """A row as text."""
    names = ("instructions", "instructions_per_mac", "ram_bytes", "stack_bytes", "flash_bytes", "estimated_cycles")
    values = (found.get(name) for name in names)
    texts = ("" if value is None else f"{value:.3g}" if value < 100 else f"{value:,.0f}" for value in values)
    return found["file"], found["device"], found["engine"], *texts, found.get("refused", "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--devices", default=",".join(BOARDS), help="emulated boards, with commas")
    parser.add_argument("--engines", default=",".join(ENGINES), help="stream, cmsis-nn, with commas")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    rows = [
        row(path, device, engine)
        for path in args.files
        for device in args.devices.split(",")
        for engine in args.engines.split(",")
        if engine == "stream" or BOARDS[device].has_dsp
    ]
    if args.json:
        print_json(rows)
    else:
        print_table("", COLUMNS, [shown(found) for found in rows])


if __name__ == "__main__":
    main()
