"""A run's result: `result.json`, parsed once into values with names and types.

Parts that an older or unfinished run did not write are None or empty. Accuracies are fractions, log losses nats, sizes
bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Literal

from edgeprune.errors import EdgepruneError
from edgeprune.files import read_json
from edgeprune.recipe import FORMATS
from edgeprune.results.json_fields import mapping, number, objects, sequence, text, whole
from edgeprune.tabular import Tabular

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
NETWORKS: tuple[NetworkName, ...] = ("dense", "pruned")
KINDS = ("measured", "emulated", "estimated")
DENSE_PREFIX = "dense_"
_UNIT_IN_MS = {"ns": 1e-6, "us": 1e-3, "\N{MICRO SIGN}s": 1e-3, "ms": 1.0, "s": 1e3}

NetworkName = Literal["dense", "pruned"]


@dataclass(frozen=True)
class LayerFigures:
    """What one layer takes; `name` is its module's, `kind` as `conv`, `dense`, `pool`."""

    name: str
    kind: str | None
    filters: int | None
    params: int | None
    macs: int | None


@dataclass(frozen=True)
class CostFigures:
    """What a network takes.

    Attributes:
        params: parameters that ship: batch norm folded, zeros included.
        params_trainable, params_with_statistics: as trained, without and with batch norm's moving statistics.
        macs: multiply-accumulates of one input.
        flash_bytes: int8 weights and int32 biases.
        arena_bytes: int8 activation memory as TFLite Micro plans it.
        peak_bound_bytes: the most int8 activations alive at once, which no arena is below (`peak_ram_bytes` in JSON).
    """

    params: int | None = None
    params_trainable: int | None = None
    params_with_statistics: int | None = None
    macs: int | None = None
    flash_bytes: int | None = None
    arena_bytes: int | None = None
    peak_bound_bytes: int | None = None
    by_layer: tuple[LayerFigures, ...] = ()

    @property
    def ram_bytes(self) -> int | None:
        """The arena; its lower bound where an older result tells no arena."""
        return self.peak_bound_bytes if self.arena_bytes is None else self.arena_bytes

    @staticmethod
    def from_json(value: Mapping[str, Any], where: str = "") -> CostFigures:
        layers = tuple(
            LayerFigures(
                str(row.get("name")),
                text(row.get("kind")),
                whole(row.get("filters")),
                whole(row.get("params")),
                whole(row.get("macs")),
            )
            for row in objects(value, "by_layer", where)
        )
        return CostFigures(
            params=whole(value.get("params")),
            params_trainable=whole(value.get("params_trainable")),
            params_with_statistics=whole(value.get("params_with_statistics")),
            macs=whole(value.get("macs")),
            flash_bytes=whole(value.get("flash_bytes")),
            arena_bytes=whole(value.get("arena_bytes")),
            peak_bound_bytes=whole(value.get("peak_ram_bytes")),
            by_layer=layers,
        )


@dataclass(frozen=True)
class GroupScores:
    """Metrics of the clips of one class, device or city."""

    accuracy: float | None
    log_loss: float | None
    clips: int | None


@dataclass(frozen=True)
class Scores:
    """Metrics of the evaluation part.

    Attributes:
        interval: 95 % interval of the accuracy.
        groups: by `class`, `device` and `city`, metrics by name.
        confusion: counts `[true class, predicted class]`, in the order of `classes`.
    """

    accuracy: float | None = None
    macro_accuracy: float | None = None
    log_loss: float | None = None
    interval: tuple[float, float] | None = None
    clips: int | None = None
    groups: Mapping[str, Mapping[str, GroupScores]] = field(default_factory=dict)
    confusion: tuple[tuple[int, ...], ...] = ()
    classes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything was evaluated."""
        return any(value not in (None, {}, ()) for value in vars(self).values())

    @staticmethod
    def from_json(value: Mapping[str, Any], where: str = "") -> Scores:
        bounds = [number(bound) for bound in sequence(value, "interval", where)]
        interval = (bounds[0], bounds[1]) if len(bounds) == 2 else (None, None)
        groups: dict[str, Mapping[str, GroupScores]] = {}
        for kind in ("class", "device", "city"):
            rows = mapping(value, f"per_{kind}", where)
            groups[kind] = {name: _group_scores(mapping(rows, name, f"{where}per_{kind}.")) for name in rows}
        return Scores(
            accuracy=number(value.get("accuracy")),
            macro_accuracy=number(value.get("macro_accuracy")),
            log_loss=number(value.get("log_loss")),
            interval=None if interval[0] is None or interval[1] is None else (interval[0], interval[1]),
            clips=whole(value.get("clips")),
            groups={kind: rows for kind, rows in groups.items() if rows},
            confusion=tuple(tuple(whole(n) or 0 for n in row) for row in sequence(value, "confusion", where)),
            classes=tuple(str(name) for name in sequence(value, "classes", where)),
        )


def _group_scores(value: Mapping[str, Any]) -> GroupScores:
    return GroupScores(number(value.get("accuracy")), number(value.get("log_loss")), whole(value.get("clips")))


@dataclass(frozen=True)
class Parity:
    """How far a file's outputs are from its network's; `label_flips` of `clips` compared have another top class."""

    max_abs_error: float | None = None
    label_flips: int | None = None
    transposes: int | None = None
    clips: int | None = None


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
    def key(self) -> str:
        """Its name among the artefacts of `result.json`: `int8`, or `dense_int8` of the unpruned network."""
        return self.format if self.network == "pruned" else f"{DENSE_PREFIX}{self.format}"

    @staticmethod
    def from_json(network: NetworkName, format: str, value: Mapping[str, Any]) -> File:
        where = f"artefacts.{format if network == 'pruned' else DENSE_PREFIX + format}."
        parity = mapping(value, "parity", where)
        return File(
            network=network,
            format=format,
            path=str(value.get("path") or ""),
            bytes=whole(value.get("bytes")),
            sha256=text(value.get("sha256")),
            cost=CostFigures.from_json(mapping(value, "cost", where), f"{where}cost."),
            scores=Scores.from_json(mapping(value, "accuracy", where), f"{where}accuracy."),
            parity=Parity(
                number(parity.get("max_abs_error")),
                whole(parity.get("label_flips")),
                whole(parity.get("transposes")),
                whole(parity.get("clips")),
            ),
        )


@dataclass(frozen=True)
class NetworkResult:
    """One of a run's two networks, unpruned (`dense`) or pruned.

    Attributes:
        cost, scores: of the float network itself.
        files: its exported files by number format, in the order of `FORMATS`.
        widths: filters (or units) of each layer that may be pruned.
        before_finetuning: metrics right after filters were removed; of the pruned network alone.
        onnx: file name of its ONNX form.
    """

    name: NetworkName
    cost: CostFigures
    scores: Scores
    files: Mapping[str, File]
    widths: Mapping[str, int]
    before_finetuning: Scores
    onnx: str | None

    def __bool__(self) -> bool:
        """Whether the result tells anything of it."""
        return self.cost != CostFigures() or bool(self.scores) or bool(self.files)


@dataclass(frozen=True)
class Timing:
    """What a device was measured, emulated or estimated to take for one inference of a file (or to hold in memory)."""

    device: str
    kind: str | None
    unit: str | None
    file: str
    median: float | None
    p5: float | None
    p95: float | None
    runs: int | None
    threads: int
    peak_ram_bytes: int | None
    sha256: str | None
    detail: Mapping[str, Any]

    @property
    def median_ms(self) -> float | None:
        """Milliseconds; None where the unit is no time."""
        scale = _UNIT_IN_MS.get(self.unit or "")
        return None if self.median is None or scale is None else self.median * scale

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Timing:
        return Timing(
            device=str(value.get("device") or "device"),
            kind=text(value.get("kind")),
            unit=text(value.get("unit")),
            file=PurePath(str(value.get("model") or "")).name,
            median=number(value.get("median")),
            p5=number(value.get("p5")),
            p95=number(value.get("p95")),
            runs=whole(value.get("runs")),
            threads=whole(value.get("threads")) or 1,
            peak_ram_bytes=whole(value.get("peak_ram_bytes")),
            sha256=text(value.get("sha256")),
            detail=mapping(value, "detail", "latency."),
        )


@dataclass(frozen=True)
class BudgetOutcome:
    """What was asked, what was reached, and how good the allocation is; limits by `params`, `macs`, `peak_ram` ..."""

    asked: Mapping[str, Any] = field(default_factory=dict)
    reached: Mapping[str, float] = field(default_factory=dict)
    slack: Mapping[str, float] = field(default_factory=dict)
    binding: tuple[str, ...] = ()
    kept_scores: Mapping[str, float] = field(default_factory=dict)
    value: float | None = None
    gap: float | None = None
    proven: bool = False
    read_from: str | None = None

    def __bool__(self) -> bool:
        """Whether the result tells of a budget."""
        return bool(self.asked or self.reached)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> BudgetOutcome:
        binding = value.get("binding")
        return BudgetOutcome(
            asked=dict(mapping(value, "asked", "budget.")),
            reached=_numbers(mapping(value, "reached", "budget.")),
            slack=_numbers(mapping(value, "slack", "budget.")),
            binding=(binding,) if isinstance(binding, str) else tuple(sequence(value, "binding", "budget.")),
            kept_scores=_numbers(mapping(value, "kept_scores", "budget.")),
            value=number(value.get("value")),
            gap=number(value.get("gap")),
            proven=value.get("proven") is True,
            read_from=text(value.get("read_from")),
        )


def _numbers(value: Mapping[str, Any]) -> dict[str, float]:
    """The entries that are numbers."""
    amounts = ((name, number(entry)) for name, entry in value.items())
    return {name: amount for name, amount in amounts if amount is not None}


@dataclass(frozen=True)
class DataFacts:
    """Which clips: data set, split, clips by part (`train`, `validation`, `test`), and the split's hash."""

    name: str = ""
    split: str | None = None
    clips: Mapping[str, int] = field(default_factory=dict)
    sha256: str | None = None

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> DataFacts:
        clips = value.get("clips")
        counts = {"all": clips} if not isinstance(clips, Mapping | None) else dict(clips or {})
        parts = {name: count for name, count in ((name, whole(n)) for name, n in counts.items()) if count is not None}
        return DataFacts(str(value.get("name") or ""), text(value.get("split")), parts, text(value.get("sha256")))


@dataclass(frozen=True)
class FrontendFigures:
    """What the log-mel front-end in C takes beside the network.

    Attributes:
        instructions_per_hop: by emulated processor.
    """

    ram_bytes: int | None
    flash_bytes: int | None
    hop_s: float | None
    instructions_per_hop: Mapping[str, float]

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> FrontendFigures | None:
        if not value:
            return None
        rows = [(str(row.get("board")), row) for row in objects(value, "emulated", "frontend.")]
        counts = ((board, number(row.get("instructions_per_hop"))) for board, row in rows)
        return FrontendFigures(
            whole(value.get("ram_bytes")),
            whole(value.get("flash_bytes")),
            number(value.get("hop_s")),
            {board: count for board, count in counts if count is not None},
        )


@dataclass(frozen=True)
class Result(Tabular):
    """Everything a finished run found.

        result = edgeprune.load("runs/quickstart-fold1-seed0")
        result.networks["pruned"].files["int8"].scores.accuracy
        result.table()

    Attributes:
        recipe: the settings as stored, newer fields absent.
        networks: `dense` and `pruned`, of the same shape.
        latency: timings of the files, in the order they were taken.
        history: rows of each training, by `dense` and `finetune`.
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
            EdgepruneError: it has another schema, or a part of it is not what the schema says.
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
        """One row a file: network, format, costs, bytes, accuracy, log loss, and the host's latency on one thread."""
        import pandas as pd

        rows = []
        for file in self.files:
            cost = file.cost if file.cost != CostFigures() else self.networks[file.network].cost
            timings = [
                row.median_ms
                for row in self.latency
                if row.file == file.name and row.device == "host" and row.threads == 1
            ]
            rows.append(
                {
                    "network": file.network,
                    "format": file.format,
                    "params": cost.params,
                    "macs": cost.macs,
                    "arena_bytes": cost.arena_bytes,
                    "bytes": file.bytes,
                    "accuracy": file.scores.accuracy,
                    "log_loss": file.scores.log_loss,
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
        widths={layer: int(width) for layer, width in _numbers(mapping(widths, name, "widths.")).items()},
        before_finetuning=Scores.from_json(mapping(value, "before_finetuning", f"{name}."), f"{name}."),
        onnx=text(mapping(value, "onnx", f"{name}.").get("path")),
    )
