"""`edgeprune plot`: training, confusion matrix, costs by layer or Pareto front of finished runs, as an image."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

from edgeprune.cli.output import check_plot
from edgeprune.console import say
from edgeprune.errors import EdgepruneError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class PlotCommand:
    """Draw what finished runs hold: `history`, `confusion` and `layers` of one run, `pareto` of several."""

    what: Positional[Literal["history", "confusion", "layers", "pareto"]]
    """history: loss and accuracy by epoch; confusion: clips by true and predicted class; layers: MACs and parameters
    of each layer before and after pruning; pareto: accuracy against a cost, a point a variant."""
    runs: Positional[tuple[Path, ...]]
    """Run folders; of pareto also folders that hold run folders at any depth, such as a sweep's."""
    out: Path
    """The .svg or .png file to write."""
    form: str | None = None
    """Of confusion: whose, as `pruned int8` or `dense float32` (default: the file that ships)."""
    cost: str = "macs"
    """Of pareto: macs, params, bytes (of the file), flash_bytes, peak_ram_bytes, or a device whose latency is known."""

    def __call__(self) -> int:
        check_plot(self.out)
        from edgeprune.reporting.drawing import write_figure

        write_figure(self._figure(), self.out)
        say(f"{self.out}: {self.what} of {', '.join(map(str, self.runs))}")
        return 0

    def _figure(self) -> "Figure":
        from edgeprune.reporting.run_figures import confusion_figure, history_figure, layer_figure
        from edgeprune.results.run_folder import load

        if self.what == "pareto":
            from edgeprune.comparing.compare import compare
            from edgeprune.comparing.report.pareto_figure import pareto_figure

            return pareto_figure(compare(self.runs), self.cost)
        if len(self.runs) != 1:
            raise EdgepruneError(f"plot {self.what}: draws one run, and {len(self.runs)} are given; name one.")
        result = load(self.runs[0])
        if self.what == "confusion":
            return confusion_figure(result, self.form)
        return history_figure(result) if self.what == "history" else layer_figure(result)
