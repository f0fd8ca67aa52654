"""How long a comparison of many runs takes, and how much memory.

    python benchmarks/compare.py RUN... [--runs 1000] [--seeds 5] [--html] [--json]

It copies the recipes and results of real runs into a temporary folder, under other seeds and budgets and with random
changes of the accuracies. A fresh process compares them. The seconds leave out the start of Python; the memory is the
peak of that process.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from edgeprune.cli.output import print_json
from edgeprune.console import print_table
from edgeprune.files import read_json, write_json

CRITERIA = ("operator_norm", "l1", "l2", "random")


def make(sources: list[Path], root: Path, runs: int, seeds: int) -> float:
    """Write the folders; returns the mean size of a result in bytes."""
    chance, size = random.Random(0), 0
    for number in range(runs):
        source = sources[number % len(sources)]
        recipe, result = read_json(source / "recipe.json"), read_json(source / "result.json")
        point, seed = divmod(number, seeds)
        recipe["seed"] = result["seed"] = seed
        recipe["prune"]["criterion"] = CRITERIA[point % len(CRITERIA)]
        recipe["budget"]["params"] = 10_000 + 100 * (point // len(CRITERIA))
        result["recipe"] = recipe
        for file in result["artefacts"].values():
            file["accuracy"]["accuracy"] += chance.uniform(-0.05, 0.05)
        folder = root / f"point{point}" / f"seed{seed}"
        write_json(folder / "recipe.json", recipe)
        write_json(folder / "result.json", result)
        size += (folder / "result.json").stat().st_size
    return size / runs


def measure(root: Path, html: bool) -> None:
    """Compare in this process, and print seconds, bytes and counts as JSON."""
    from edgeprune.comparing.compare import compare
    from edgeprune.comparing.table import main_table

    start = time.perf_counter()
    comparison = compare([root])
    compared = time.perf_counter()
    main_table(comparison), comparison.table().to_csv(), json.dumps(comparison.to_json())
    shown = time.perf_counter()
    figures = {"variants": len(comparison.variants), "compare_s": compared - start, "tables_s": shown - compared}
    if html:
        from edgeprune.comparing.report.report import write_comparison

        write_comparison(comparison, root / "comparison.html")
        figures["html_s"] = time.perf_counter() - shown
    print(json.dumps({**figures, "peak_bytes": _peak_bytes()}))


def _peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", type=Path)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--html", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.sources[0], options.html)
        return
    with tempfile.TemporaryDirectory() as folder:
        size = make(options.sources, Path(folder), options.runs, options.seeds)
        command = [sys.executable, __file__, folder, "--measure", *(["--html"] if options.html else [])]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures: dict[str, Any] = {"runs": options.runs, "result_bytes": size, **json.loads(done.stdout)}
    if options.json:
        print_json(figures)
    else:
        print_table("", ("", ""), [(name, f"{value:,.2f}".removesuffix(".00")) for name, value in figures.items()])


if __name__ == "__main__":
    main()
