"""The result of a measurement, the same for every kind of device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgeprune.errors import EdgepruneError
from edgeprune.files import sha256_file
from edgeprune.tabular import Tabular

if TYPE_CHECKING:
    import pandas as pd

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
        runs: number of timed inferences, without warm-up.
        peak_ram_bytes: None where it is not known; `detail` names what it covers.
        threads: threads the inference could use.
        model: file name, without its folder.
        sha256: of the model file.
        detail: what else belongs to the record (processor, runtime, how RAM was measured); plain JSON values.
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
            kinds = ", ".join(get_args(Kind))
            raise EdgepruneError(f"{self.device}: a result of the kind {self.kind!r}; use one of {kinds}.")
        if self.runs < 1 or not 0 <= self.p5 <= self.median <= self.p95 < float("inf"):
            runs = f"{self.runs} runs with p5 {self.p5}, median {self.median}, p95 {self.p95} {self.unit}"
            raise EdgepruneError(f"{self.device}: {runs} are no measurement; measure again.")

    @staticmethod
    def of_runs(
        device: str, kind: Kind, unit: str, path: Path, values: Sequence[float] | NDArray[np.float64], **rest: Any
    ) -> Measurement:
        """The record of a file from the value of each run in `unit`; `rest` has the fields that are left."""
        p5, median, p95 = (float(value) for value in np.percentile(values, [5, 50, 95]))
        fields = {"threads": 1, "model": path.name, "sha256": sha256_file(path), **rest}
        return Measurement(device, kind, unit, median, p5, p95, len(values), **fields)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, as `result.json` and `--json` hold them."""
        return asdict(self)


@dataclass(frozen=True)
class Measurements(Tabular):
    """Records of files on devices; `.table()` has one row a file, device and thread count."""

    records: tuple[Measurement, ...]

    def table(self) -> pd.DataFrame:
        """The numbers of the records, without their details."""
        import pandas as pd

        columns = [name for name in Measurement.__dataclass_fields__ if name != "detail"]
        return pd.DataFrame([record.to_dict() for record in self.records], columns=columns)

    def to_json(self) -> list[dict[str, Any]]:
        """The records as plain values, as `latency` in `result.json` holds them."""
        return [record.to_dict() for record in self.records]
