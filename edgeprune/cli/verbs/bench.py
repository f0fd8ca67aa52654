"""`edgeprune bench`: latency, instructions and memory of TFLite files on devices."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import OmitArgPrefixes, Positional, arg

from edgeprune.cli.file_description import FileDescription
from edgeprune.cli.output import only_results, print_json
from edgeprune.devices.request import TIMEOUT_S, DeviceOptions
from edgeprune.errors import EdgepruneError
from edgeprune.flags import Clock, Names, Numbers


@dataclass(frozen=True)
class BenchCommand:
    """Measure TFLite files on devices, once their outputs were found right: exit code 4 if they are not."""

    models: Positional[tuple[Path, ...]]
    """.tflite files; on a device with a clock they are timed against each other."""
    device: Names = ("host",)
    """One, or several with commas between: host, tflm, cortex-m0, cortex-m4, cortex-m7, cortex-m33, riscv32,
    ethos-u55-128, ethos-u55-256, ethos-u85-256, ssh://user@host:port, adb:SERIAL, browser, browser://HOST:PORT for that
    of a phone; `edgeprune doctor` tells which can be used here."""
    clips: tuple[Path, ...] = ()
    """Audio to compare outputs on (default: evaluation clips of the run a file lies in, else synthetic scenes)."""
    threads: Numbers = (1,)
    """Numbers of threads to measure."""
    runs: int = 50
    """Timed runs of each file, interleaved."""
    xnnpack: Annotated[bool, arg(help_behavior_hint="(default: with it)")] = True
    """Host: TFLite's own kernels, without the XNNPACK delegate."""
    timeout: float = TIMEOUT_S
    """Seconds after which a device that gives no answer is cut off."""
    clock: Clock = None
    """Cortex-M4: its clock, as 80MHz, for a time from the estimated cycles."""
    engine: Literal["stream", "cmsis-nn"] = "stream"
    """Cortex-M: edgeprune's streaming C, or bakenn's with CMSIS-NN for comparison."""
    benchmark_model: Path | None = None
    """Android: TFLite's benchmark_model for the phone's processor (default: from the settings)."""
    json: bool = False
    """Print JSON."""
    description: OmitArgPrefixes[FileDescription] = field(default_factory=FileDescription)
    """Of files by others."""

    def __call__(self) -> int:
        from edgeprune.devices.bench import bench
        from edgeprune.reporting.tables import detail_table, latency_table
        from edgeprune.results.figures import Timing

        if self.timeout <= 0:
            raise EdgepruneError(f"--timeout {self.timeout:g}: give seconds above 0.")
        with only_results():
            measured = bench(
                [self.description.of(path) for path in self.models],
                self.device,
                runs=self.runs,
                threads=self.threads,
                clips=self.clips,
                timeout_s=self.timeout,
                options=DeviceOptions(self.clock, self.benchmark_model, self.engine, self.xnnpack),
            )
        if self.json:
            print_json({"latency": measured.to_json()})
            return 0
        timings = [Timing.from_json(row) for row in measured.to_json()]
        latency_table(timings).print()
        for timing in timings:
            detail_table(timing).print(f"{timing.file} on {timing.device}")
        return 0
