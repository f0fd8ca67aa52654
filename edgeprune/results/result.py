"""A run's result: `result.json`, parsed once into values with names and types (their units: see `figures`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Literal

from edgeprune.errors import EdgepruneError
from edgeprune.files import read_json
from edgeprune.recipe import FORMATS
from edgeprune.results.figures import (
    BudgetOutcome,
    CostFigures,
    DataFacts,
    DetectionFigures,
    FrontendFigures,
    Parity,
    ReconstructionFigures,
    Scores,
    Threads,
    Timing,
)
from edgeprune.results.json_fields import mapping, numbers, objects, plain_fields, text, whole
from edgeprune.tabular import Tabular

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
NETWORKS: tuple[NetworkName, ...] = ("dense", "pruned")
KINDS = ("measured", "emulated", "estimated")
DENSE_PREFIX = "dense_"

NetworkName = Literal["dense", "pruned"]


def artefact_key(network: NetworkName, format: str) -> str:
    """A file's name among the artefacts of `result.json`: `int8`, or `dense_int8` of the unpruned network."""
    return format if network == "pruned" else f"{DENSE_PREFIX}{format}"


@dataclass(frozen=True)
class File:
    """An exported file of a network: its size, what it costs, and its own accuracy."""

    network: NetworkName
    format: str
    path: str
    bytes: int | None
    sha256: str | None
    cost: CostFigures
    scores: Scores
    parity: Parity

    @property
    def name(self) -> str:
        """Without its folder."""
        return PurePath(self.path).name

    @property
    def label(self) -> str:
        """As `pruned int8`."""
        return f"{self.network} {self.format}"

    @property
    def key(self) -> str:
        """Its name among the artefacts of `result.json`."""
        return artefact_key(self.network, self.format)

    @staticmethod
    def from_json(network: NetworkName, format: str, value: Mapping[str, Any]) -> File:
        where = f"artefacts.{artefact_key(network, format)}."
        return File(
            network=network,
            format=format,
            path=str(value.get("path") or ""),
            **plain_fields(File, value),
            cost=CostFigures.from_json(mapping(value, "cost", where), f"{where}cost."),
            scores=Scores.from_json(mapping(value, "accuracy", where), f"{where}accuracy."),
            parity=Parity.from_json(mapping(value, "parity", where)),
        )


@dataclass(frozen=True)
class NetworkResult:
    """One of a run's two networks, unpruned (`dense`) or pruned.

    Attributes:
        cost, scores: of the float network itself.
        files: its exported files by number format, in the order of `FORMATS`.
        widths: filters (or units) of each layer that may be pruned.
        before_finetuning: metrics right after filters were removed and the rest reconstructed; of the pruned network
            alone, as is `reconstruction`, which is None where there was none.
        onnx: file name of its ONNX form.
        threshold: what a detector's threshold gives on the validation clips it was set on.
    """

    name: NetworkName
    cost: CostFigures
    scores: Scores
    files: Mapping[str, File]
    widths: Mapping[str, int]
    before_finetuning: Scores
    onnx: str | None
    threshold: DetectionFigures | None = None
    reconstruction: ReconstructionFigures | None = None

    @property
    def label(self) -> str:
        """Its name, as tables show the float network beside its files."""
        return self.name

    @property
    def has_figures(self) -> bool:
        """Whether the result holds costs or metrics of the float network."""
        return self.cost != CostFigures() or bool(self.scores)

    def __bool__(self) -> bool:
        """Whether the result holds anything of it."""
        return self.has_figures or bool(self.files)


@dataclass(frozen=True)
class Result(Tabular):
    """The result of a finished run.

        result = edgeprune.load("runs/quickstart-fold1-seed0")
        result.networks["pruned"].files["int8"].scores.accuracy
        result.table()

    Attributes:
        recipe: the settings as stored, newer fields absent.
        task: `scenes` (one class a clip), `tags` (several) or `detection` (whether one sound is heard).
        networks: `dense` and `pruned`, of the same shape.
        latency: timings of the files, in the order they were taken.
        history: rows of each training, by `dense` and `finetune`.
        threads: that the run was computed with at first, and after each start that changed them.
        folder: the run folder; None of a result that was not read from one.
        raw: the content of `result.json`, as it is on disk.
    """

    recipe: Mapping[str, Any]
    seed: int | None
    versions: Mapping[str, Any]
    data: DataFacts
    networks: Mapping[NetworkName, NetworkResult]
    budget: BudgetOutcome
    latency: tuple[Timing, ...]
    frontend: FrontendFigures | None
    history: Mapping[str, list[Mapping[str, Any]]]
    threads: tuple[Threads, ...] = ()
    task: str = "scenes"
    folder: Path | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def name(self) -> str:
        """The recipe's."""
        return str(self.recipe.get("name") or "")

    @property
    def files(self) -> list[File]:
        """All exported files, the dense network's first."""
        return [file for network in self.networks.values() for file in network.files.values()]

    @property
    def shipped(self) -> File | None:
        """The file meant for the device: the pruned network's int8 one, else its first."""
        files = self.networks["pruned"].files
        return files.get("int8") or next(iter(files.values()), None)

    @staticmethod
    def from_json(value: Mapping[str, Any], folder: Path | None = None) -> Result:
        """Parse the content of a `result.json`.

        Raises:
            EdgepruneError: it has another schema, or a part of it does not fit the schema.
        """
        schema = value.get("schema", SCHEMA)
        if schema != SCHEMA:
            raise EdgepruneError(
                f"result.json: its schema is {schema!r} and this edgeprune reads {SCHEMA}; "
                "use the version that wrote it."
            )
        recipe, history = mapping(value, "recipe"), mapping(value, "history")
        return Result(
            recipe=recipe,
            seed=whole(value.get("seed", recipe.get("seed"))),
            versions=mapping(value, "versions"),
            data=DataFacts.from_json(mapping(value, "data")),
            networks={name: _network(name, value) for name in NETWORKS},
            budget=BudgetOutcome.from_json(mapping(value, "budget")),
            latency=tuple(Timing.from_json(row) for row in objects(value, "latency")),
            frontend=FrontendFigures.from_json(mapping(value, "frontend")),
            history={name: objects(history, name, "history.") for name in history},
            threads=tuple(Threads.from_json(row) for row in objects(value, "threads")),
            task=text(value.get("task")) or "scenes",
            folder=folder,
            raw=value,
        )

    @staticmethod
    def read(path: Path | str) -> Result:
        """Read a run folder's `result.json`, given the path of either.

        Raises:
            EdgepruneError: it is missing, not JSON, of another schema or malformed.
        """
        path = Path(path)
        file = path if path.suffix == ".json" else path / "result.json"
        value = read_json(file)
        if not isinstance(value, Mapping):
            raise EdgepruneError(f"{file}: holds no object; run the recipe again.")
        return Result.from_json(value, file.parent)

    def to_json(self) -> dict[str, Any]:
        """The content of `result.json`."""
        return dict(self.raw)

    def table(self) -> pd.DataFrame:
        """One row a file: network, format, costs, bytes, scores, and the host's latency on one thread.

        Scores are accuracy and log loss; of independent classes also mean average precision, of a detector recall and
        false alarms an hour.
        """
        import pandas as pd

        rows = []
        for file in self.files:
            cost = file.cost if file.cost != CostFigures() else self.networks[file.network].cost
            on_host = (file.name, "host", 1)
            timings = [row.median_ms for row in self.latency if (row.file, row.device, row.threads) == on_host]
            rows.append(
                {
                    "network": file.network,
                    "format": file.format,
                    "params": cost.params,
                    "macs": cost.macs,
                    "arena_bytes": cost.arena_bytes,
                    "bytes": file.bytes,
                    **file.scores.columns(),
                    "host_latency_ms": timings[0] if timings else None,
                }
            )
        return pd.DataFrame(rows)


def _network(name: NetworkName, result: Mapping[str, Any]) -> NetworkResult:
    value, artefacts, widths = mapping(result, name), mapping(result, "artefacts"), mapping(result, "widths")
    files = {}
    for key in artefacts:
        if key.startswith(DENSE_PREFIX) == (name == "dense"):
            format = key.removeprefix(DENSE_PREFIX)
            files[format] = File.from_json(name, format, mapping(artefacts, key, "artefacts."))
    ordered = sorted(files, key=lambda format: FORMATS.index(format) if format in FORMATS else len(FORMATS))
    return NetworkResult(
        name=name,
        cost=CostFigures.from_json(mapping(value, "cost", f"{name}."), f"{name}.cost."),
        scores=Scores.from_json(mapping(value, "accuracy", f"{name}."), f"{name}.accuracy."),
        files={format: files[format] for format in ordered},
        widths={layer: int(width) for layer, width in numbers(mapping(widths, name, "widths.")).items()},
        before_finetuning=Scores.from_json(mapping(value, "before_finetuning", f"{name}."), f"{name}."),
        onnx=text(mapping(value, "onnx", f"{name}.").get("path")),
        threshold=DetectionFigures.from_json(mapping(value, "threshold_on_validation", f"{name}.")),
        reconstruction=ReconstructionFigures.from_json(mapping(value, "reconstruction", f"{name}.")),
    )
