"""Instructions, memory and estimated cycles of int8 files on the emulated boards, by both engines, as one table.

    python benchmarks/microcontrollers.py [FILE.tflite ...] [--devices cortex-m0,cortex-m4,riscv32]
        [--engines stream,cmsis-nn] [--json]

Without files: DCASE21_Net on 1 s and on 10 s of audio, dense and with half of each layer's filters. Their weights are
random, which costs as much as trained ones.
Each file's bytes are those of TFLite Micro before it is counted. RAM is the linked program's, stack included, and flash
its code and constants. A device that refuses a file says why below the table.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

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
)
FRAMES = {"1s": 51, "10s": 500}
HALF = {"conv1": range(8), "conv2": range(8), "conv3": range(16)}


def make_files(folder: Path) -> list[Path]:
    """The int8 files of DCASE21_Net, such as `half_10s_int8.tflite`."""
    import torch

    from edgeprune.convert.onnx_export import export_onnx
    from edgeprune.convert.tflite_export import convert
    from edgeprune.graph.surgery import remove_filters
    from edgeprune.models.registry import build, make_spec

    files = []
    for seconds, frames in FRAMES.items():
        for kept in ("half", "dense"):
            torch.manual_seed(0)
            spec = make_spec("dcase21", 10, (1, 40, frames))
            model = build(spec).eval()
            if kept == "half":
                model, spec = remove_filters(model, spec, HALF)
            clips = np.random.default_rng(0).standard_normal((16, *spec.input_shape)).astype(np.float32)
            onnx = export_onnx(model, spec.input_shape, folder / f"{kept}_{seconds}.onnx")
            files.append(convert(onnx, folder, ("int8",), clips, {}, prefix=f"{kept}_{seconds}")["int8"])
    return files


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


def shown(figures: dict[str, Any]) -> tuple[str, ...]:
    """A row as text."""
    names = ("instructions", "instructions_per_mac", "ram_bytes", "stack_bytes", "flash_bytes", "estimated_cycles")
    values = (figures.get(name) for name in names)
    texts = ("" if value is None else f"{value:.3g}" if value < 100 else f"{value:,.0f}" for value in values)
    return figures["file"], figures["device"], figures["engine"], *texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--devices", default=",".join(BOARDS), help="emulated boards, with commas")
    parser.add_argument("--engines", default=",".join(ENGINES), help="stream, cmsis-nn, with commas")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edgeprune-") as folder:
        rows = [
            row(path, device, engine)
            for path in args.files or make_files(Path(folder))
            for device in args.devices.split(",")
            for engine in args.engines.split(",")
            if engine == "stream" or BOARDS[device].has_dsp
        ]
    if args.json:
        print_json(rows)
    else:
        print_table("", COLUMNS, [shown(each) for each in rows if "refused" not in each])
        for each in rows:
            if "refused" in each:
                print(f"{each['file']}, {each['engine']}: {each['refused']}")


if __name__ == "__main__":
    main()
