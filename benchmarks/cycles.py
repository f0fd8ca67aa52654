"""How far the estimate of a Cortex-M4's cycles is from a published figure, for each time the pipeline may take to fill.

    python benchmarks/cycles.py [--json]

The loop does the work of an iteration of Dhrystone 2.1 (`export/boards/calibration.c`), built as every figure is; Arm
publishes 1.25 DMIPS/MHz. `edgeprune bench --device cortex-m4` uses the row that is nearest.
"""

import argparse

from edgeprune.cli.output import print_json
from edgeprune.console import print_table
from edgeprune.devices import cycles

COLUMNS = ("cycles to fill the pipeline", "instructions", "cycles", "DMIPS/MHz", "error")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    as_json = parser.parse_args().json
    counted = cycles.count_loop("cortex-m4", timeout_s=60)
    rows = []
    for refill in cycles.REFILLS:
        taken = counted.with_refill(refill) / cycles.ITERATIONS
        dmips = cycles.PUBLISHED_DMIPS * cycles.PUBLISHED_CYCLES / taken
        rows.append(
            (refill, counted.instructions / cycles.ITERATIONS, taken, dmips, taken / cycles.PUBLISHED_CYCLES - 1)
        )
    if as_json:
        print_json([dict(zip(COLUMNS, row, strict=True)) for row in rows])
        return
    shown = [(str(row[0]), f"{row[1]:.0f}", f"{row[2]:.0f}", f"{row[3]:.2f}", f"{row[4]:+.1%}") for row in rows]
    print_table("an iteration of a loop like Dhrystone", COLUMNS, shown)


if __name__ == "__main__":
    main()
