"""`edgeprune profile`: how long each layer takes by its width, for a limit on latency."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tyro.conf import Positional

from edgeprune.cli.model_argument import resolve_model
from edgeprune.cli.output import print_json
from edgeprune.console import print_table, say
from edgeprune.errors import EdgepruneError
from edgeprune.reporting.numbers import format_decimal


@dataclass(frozen=True)
class ProfileCommand:
    """Measure how long each layer of a run's network takes, by its widths: the table a limit on latency is held to."""

    run: Positional[Path]
    """Run folder."""
    device: str = "host"
    """Where to measure: host is this machine."""
    format: Literal["int8", "float32"] = "int8"
    """Which file of the dense network is measured."""
    threads: int = 1
    """Threads of an inference."""
    points: int = 6
    """Widths a layer is measured at."""
    runs: int = 15
    """Timed runs of each."""
    check: int = 6
    """Whole networks of random widths to compare the prediction with."""
    out: Path | None = None
    """Table to write (default: profile_DEVICE.json in the run folder)."""
    json: bool = False
    """Print JSON."""

    def __call__(self) -> int:
        if self.device != "host":
            raise EdgepruneError(f"device '{self.device}': this version profiles on host only; use --device host.")
        if not self.run.is_dir():
            raise EdgepruneError(f"{self.run}: is no run folder; the files of a finished run are profiled.")
        network = resolve_model(str(self.run), ("dense",))
        path = self.run / f"dense_{self.format}.tflite"
        if not path.is_file():
            raise EdgepruneError(
                f"{path}: is not there; finish the run with --export.dense-formats {self.format} among its formats."
            )
        from edgeprune.devices.profiling import ProfileSettings, profile, verify
        from edgeprune.graph.cost import graph_of

        graph = graph_of(network.spec)
        profiled = profile(path, graph, self.device, ProfileSettings(self.threads, self.points, self.runs))
        out = self.out or self.run / f"profile_{self.device}.json"
        profiled.save(out)
        say(f"{out}: {len(profiled.stages)} stages of {path.name}")
        checks = verify(profiled, path, graph, _some_widths(graph, self.check)) if self.check > 0 else []
        answer = {
            "path": str(out),
            "device": profiled.device,
            "kind": profiled.kind,
            "overhead_ms": profiled.overhead_ms,
            "stages": [
                {"name": stage.name, "groups": stage.groups, "full_ms": float(stage.times_ms.flat[-1])}
                for stage in profiled.stages
            ],
            "check": checks,
        }
        if self.json:
            print_json(answer)
        else:
            _print_profile(answer)
        return 0


def _some_widths(graph: Any, number: int) -> list[dict[str, int]]:
    """The network itself, and random widths of it, the same each time."""
    import random

    chance = random.Random(0)
    groups = graph.prunable(dense_layers=True)
    whole = {name: group.filters for name, group in groups.items()}
    return [
        whole if turn == 0 else {name: chance.randint(max(1, count // 8), count) for name, count in whole.items()}
        for turn in range(number)
    ]


def _print_profile(answer: Mapping[str, Any]) -> None:
    stages = [(stage["name"], stage["groups"], stage["full_ms"]) for stage in answer["stages"]]
    stages.append(("a call", [], answer["overhead_ms"]))
    rows = [(name, " x ".join(groups), format_decimal(time_ms, 4)) for name, groups, time_ms in stages]
    print_table("at full width", ("stage", "depends on", "ms"), rows)
    if answer["check"]:
        checks = [
            (
                ", ".join(f"{name} {width}" for name, width in check["widths"].items()),
                format_decimal(check["predicted_ms"]),
                format_decimal(check["measured_ms"]),
                f"{100 * check['relative_error']:+.1f} %",
            )
            for check in answer["check"]
        ]
        print_table("whole networks", ("widths", "predicted, ms", "measured, ms", "error"), checks)
