"""What a device says about a model, the same for every kind of device."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from edgeprune.errors import EdgepruneError

Kind = Literal["measured", "emulated", "estimated"]
"""`measured`: a clock on the device; `emulated`: an emulator that runs the code; `estimated`: a model of the device."""


@dataclass(frozen=True)
class Measurement:
    """One model on one device.

    Attributes:
        device: its name on the command line (`host`, `cortex-m4`, `ssh://...`).
        kind: how the numbers came about.
        unit: of `median`, `p5` and `p95`, for one inference: `ms`, `instructions`, `cycles` ...
        median: of the runs.
        p5: 5th percentile of the runs.
        p95: 95th percentile of the runs.
        runs: how many inferences were timed, warm-up not counted.
        peak_ram_bytes: None where it is not known; `detail` says what it covers.
        threads: threads the inference could use.
        model: file name, without its folder.
        sha256: of the model file.
        detail: what else belongs to the record (processor, runtime, how RAM was found); plain JSON values.
    """

    device: str
    kind: Kind
    unit: str
    median: float
    p5: float
    p95: float
    runs: int
    peak_ram_bytes: int | None
    threads: int
    model: str
    sha256: str
    detail: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise EdgepruneError(
                f"{self.device}: a result of the kind {self.kind!r}; use one of {', '.join(get_args(Kind))}."
            )
        if self.runs < 1 or not 0 <= self.p5 <= self.median <= self.p95 < float("inf"):
            raise EdgepruneError(
                f"{self.device}: {self.runs} runs with p5 {self.p5}, median {self.median}, p95 {self.p95} {self.unit} "
                "are no measurement; measure again."
            )

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, as `result.json` and `--json` hold them."""
        return asdict(self)
