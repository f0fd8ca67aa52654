"""`edgeprune compare`: runs side by side, and held to a baseline."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from edgeprune.cli.output import print_json
from edgeprune.console import print_line, print_table, say
from edgeprune.errors import EdgepruneError

if TYPE_CHECKING:
    from edgeprune.comparing.comparison import Comparison
    from edgeprune.comparing.gate import Gate


@dataclass(frozen=True)
class CompareCommand:
    """Compare runs: which file to ship, means over seeds and folds, differences to the controls, Pareto fronts.

    With --baseline: exit code 4 if they are worse than earlier runs."""

    runs: Positional[tuple[Path, ...]]
    """Run folders, or folders that hold run folders at any depth."""
    format: str | None = None
    """Number format whose accuracy decides (default: int8 where all have it)."""
    tolerance: float | None = None
    """How much lower than the dense network's the accuracy of the file to ship may be (default: 0.01, one point)."""
    baseline: Path | None = None
    """Earlier run, or folder of runs, that the new ones must not fall behind."""
    max_drop: float | None = None
    """With --baseline: how much lower the accuracy may be, a fraction (default: 0.01, one point)."""
    max_latency: float | None = None
    """With --baseline: how many times the latency may be, on each device that was the same, such as 1.05."""
    max_bytes: float | None = None
    """With --baseline: how many times the size of the file may be, such as 1.0."""
    csv: Path | None = None
    """Write a table with a row a variant and number format."""
    html: Path | None = None
    """Write the comparison as one HTML file."""
    json: bool = False
    """Print JSON."""

    def __call__(self) -> int:
        from edgeprune.comparing.answer import TOLERANCE
        from edgeprune.comparing.compare import compare
        from edgeprune.comparing.gate import MAX_DROP, Limits, judge

        self._check()
        comparison = compare(self.runs, self.format, TOLERANCE if self.tolerance is None else self.tolerance)
        gate = None
        if self.baseline is not None:
            limits = Limits(MAX_DROP if self.max_drop is None else self.max_drop, self.max_latency, self.max_bytes)
            gate = judge(self.runs, [self.baseline], limits, self.format)
        self._write(comparison)
        if self.json:
            print_json(comparison.to_json() | ({} if gate is None else {"gate": gate.to_dict()}))
        else:
            _print(comparison)
            if gate is not None:
                _print_gate(gate, comparison.notes)
        if gate is not None:
            gate.require()
        return 0

    def _check(self) -> None:
        if not self.runs:
            raise EdgepruneError("compare: name the runs first: edgeprune compare RUN... with run folders or sweeps.")
        limits = {"--max-drop": self.max_drop, "--max-latency": self.max_latency, "--max-bytes": self.max_bytes}
        given = [name for name, value in limits.items() if value is not None]
        if given and self.baseline is None:
            raise EdgepruneError(f"compare: {given[0]} limits what may change since earlier runs; add --baseline.")

    def _write(self, comparison: "Comparison") -> None:
        if self.csv is not None:
            from edgeprune.files import write_text
            from edgeprune.spreadsheet import as_text

            table = comparison.table().map(lambda cell: as_text(cell) if isinstance(cell, str) else cell)
            write_text(self.csv, table.to_csv(index=False))
            say(f"{self.csv}: written")
        if self.html is not None:
            from edgeprune.comparing.report.report import write_comparison

            write_comparison(comparison, self.html)
            say(f"{self.html}: written")


def _print(comparison: "Comparison") -> None:
    from edgeprune.comparing.table import LEGEND, controls_table, latency_table, main_table

    if comparison.answer is not None:
        print_line(comparison.answer.sentence)
        for warning in comparison.answer.warnings:
            print_line(f"Warning: {warning}")
        print()
    table = main_table(comparison)
    print_table(f"{comparison.score_name} of the {comparison.format} files", table.columns, table.rows)
    if any(variant.pareto for variant in comparison.variants):
        print(LEGEND.format(score="mean accuracy" if comparison.score == "accuracy" else comparison.score_name))
    for title, more in (("latency", latency_table(comparison)), ("against the controls", controls_table(comparison))):
        if more is not None:
            print_table(title, more.columns, more.rows)
    if any(difference.p_value is not None for variant in comparison.variants for difference in variant.differences):
        print(f"{comparison.test}.")
    for note in comparison.notes:
        print_line(f"- {note}")


def _print_gate(gate: "Gate", printed: Sequence[str]) -> None:
    table = gate.table()
    print_table(f"against the baseline {gate.old}", table.columns, table.rows)
    for note in gate.notes:
        if note not in printed:
            print_line(f"- {note}")
    if gate.passed:
        print(f"Within the limits: {gate.summary()}")
