"""What each verb does: a dataclass whose fields are its flags; called, it does the work and returns the exit code.

Results go to standard output, as tables or with `--json` as JSON; everything else goes to standard error. Heavy
packages are imported inside the calls, so that parsing and `--help` stay quick.
"""

import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TextIO

from tyro.conf import Positional

from edgeprune.console import print_table, say
from edgeprune.devices.request import TIMEOUT_S, DeviceOptions
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.files import sha256_file, to_jsonable
from edgeprune.flags import Clock, Counts, Names
from edgeprune.recipe import FORMATS, Data

SHOWN = 20
"""Clips of a kind that `data verify` prints; --json has all."""


def print_json(value: Any) -> None:
    """Print `value` to standard output as strict JSON."""
    print(json.dumps(value, indent=2, default=to_jsonable, allow_nan=False))


def only_results() -> redirect_stdout[TextIO]:
    """Keep what libraries print out of standard output, which is for results."""
    return redirect_stdout(sys.stderr)


# Data sets


@dataclass(frozen=True)
class DataList:
    """List the data sets that have a card."""

    json: bool = False
    """Print whole cards as JSON."""

    def __call__(self) -> int:
        from edgeprune.data.cards import list_cards

        cards = list_cards()
        if self.json:
            print_json([asdict(card) for card in cards])
            return 0
        columns = ("name", "title", "classes", "folds", "sample rate", "download", "licence")
        print_table(
            "",
            columns,
            (
                (
                    card.name,
                    card.title,
                    len(card.classes) or "yours",
                    len(card.folds) or (1 if card.kind == "images" else "yours"),
                    "images" if card.kind == "images" else f"{card.sample_rate} Hz" if card.sample_rate else "any",
                    _download_size(card.archives),
                    card.licence,
                )
                for card in cards
            ),
        )
        return 0


def _download_size(archives: Sequence[Any]) -> str:
    sizes = [archive.bytes for archive in archives]
    if not archives:
        return "none"
    known = f"{sum(size or 0 for size in sizes) / 1e9:.2f} GB"
    return known if all(sizes) else "size unknown" if not any(sizes) else f"over {known}"


@dataclass(frozen=True)
class DataMake:
    """Write the synthetic scenes, which need no download; nothing is done where they are there already."""

    root: Path
    """Folder to write them to."""
    clips_per_scene: int = Data.clips_per_scene
    """Clips of each of the ten scenes."""
    clip_s: float = 1.0
    """Seconds a clip."""
    sample_rate: int = 16000
    """Hz."""
    seed: int = 0
    """Another seed, other clips."""

    def __call__(self) -> int:
        from edgeprune.data.synthetic import ensure

        written = ensure(self.root, self.clips_per_scene, self.clip_s, self.sample_rate, self.seed)
        say(f"{self.root}: the synthetic scenes {'are written' if written else 'were there already'}")
        return 0


@dataclass(frozen=True)
class DataFetch:
    """Download, check and unpack a data set; called again it goes on where it stopped."""

    name: Positional[str]
    """A name from `edgeprune data list` or the path of a card of your own; `synthetic` is made, not downloaded."""
    root: Path
    """Folder to put the data set in."""
    only: tuple[str, ...] = ()
    """Only the archives whose names contain one of these texts, such as meta."""

    def __call__(self) -> int:
        from edgeprune.data.cards import load_card
        from edgeprune.data.fetch import fetch

        if self.name == "synthetic":
            if self.only:
                raise EdgepruneError("synthetic: has no archives to choose from; leave out --only.")
            return DataMake(self.root)()
        report = fetch(load_card(self.name), self.root, self.only or None)
        done = f"{len(report.downloaded)} downloaded, {len(report.unpacked)} unpacked"
        say(f"{self.name}: {done}, {len(report.done_before)} done before; check it with `edgeprune data verify`")
        return 0


@dataclass(frozen=True)
class DataVerify:
    """Check every clip of a data set on disk: exit code 4 if any is missing or corrupt."""

    name: Positional[str]
    """A name from `edgeprune data list` or the path of a card of your own."""
    root: Path
    """Folder of the data set."""
    json: bool = False
    """Print all findings as JSON."""

    def __call__(self) -> int:
        from edgeprune.data.cards import load_card
        from edgeprune.data.verify import verify
        from edgeprune.data.verify_images import verify_images

        card = load_card(self.name)
        report = verify_images(card, self.root) if card.kind == "images" else verify(card, self.root)
        if self.json:
            print_json({"name": card.name, "root": str(self.root), "ok": report.ok, **asdict(report)})
        else:
            corrupt = [f"{clip} {fault}" for clip, fault in report.corrupt]
            for title, found in (("missing", report.missing), ("extra", report.extra), ("corrupt", corrupt)):
                _print_findings(title, found)
            print(f"{card.name}: {report.clips:,} {'images' if card.kind == 'images' else 'clips'} are whole")
        return 0 if report.ok else CheckFailedError.exit_code


def _print_findings(title: str, found: Sequence[str]) -> None:
    print(f"{title}: {len(found):,}")
    for line in found[:SHOWN]:
        print(f"  {line}")
    if len(found) > SHOWN:
        print(f"  and {len(found) - SHOWN:,} more (--json lists all)")


# Files


@dataclass(frozen=True)
class Export:
    """Make the TFLite files of a finished run."""

    run: Positional[str]
    """Run folder."""
    formats: Names = FORMATS
    """float32, float16, dynamic, int8, int16x8."""
    waveform: bool = False
    """Of each also a file that takes the waveform, its front-end inside."""
    json: bool = False
    """Print JSON."""

    def __call__(self) -> int:
        from edgeprune.run.finished import export

        with only_results():
            paths = export(self.run, self.formats, self.waveform)
        files = {
            name: {"path": str(path), "bytes": path.stat().st_size, "sha256": sha256_file(path)}
            for name, path in paths.items()
        }
        if self.json:
            print_json(files)
        else:
            rows = [(name, f"{file['bytes']:,}", file["path"]) for name, file in files.items()]
            print_table("", ("format", "bytes", "file"), rows)
        return 0


@dataclass(frozen=True)
class Evaluate:
    """Accuracy of an exported file, or of a run, on a data set's split."""

    target: Positional[str]
    """A .tflite file or a run folder."""
    data: Data = field(default_factory=Data)
    split: Literal["test", "train"] = "test"
    """Which part of the official split."""
    json: bool = False
    """Print JSON."""

    def default_data(self) -> Data | None:
        """The data of the run that the target is or lies in; None where it is in none."""
        target = Path(self.target)
        folder = target if target.is_dir() else target.parent
        if not (folder / "recipe.json").is_file():
            return None
        from edgeprune.recipe_files import load_recipe

        return load_recipe(str(folder)).data

    def __call__(self) -> int:
        from edgeprune.reporting.numbers import format_decimal, format_interval, format_percent
        from edgeprune.reporting.tables import interval_of
        from edgeprune.run.finished import evaluate

        with only_results():
            found = evaluate(self.target, self.data, self.split)
        if self.json:
            print_json(found)
            return 0
        rows = [
            ("accuracy", format_percent(found["accuracy"])),
            ("95 % interval", format_interval(interval_of(found))),
            ("macro accuracy", format_percent(found["macro_accuracy"])),
            ("log loss", format_decimal(found["log_loss"])),
            ("clips", f"{found['clips']:,}"),
        ]
        print(f"{self.target} on {self.data.name}, {self.split}")
        print_table("", ("", ""), rows)
        for group in ("class", "device", "city"):
            parts = found[f"per_{group}"].items()
            rows_of = [(n, p["clips"], format_percent(p["accuracy"]), format_decimal(p["log_loss"])) for n, p in parts]
            if rows_of:
                print_table("", (group, "clips", "accuracy", "log loss"), rows_of)
        return 0


@dataclass(frozen=True)
class Bench:
    """Measure TFLite files on a device, once their outputs were found right: exit code 4 if they are not."""

    models: Positional[tuple[Path, ...]]
    """.tflite files; on a device with a clock they are timed against each other."""
    device: str = "host"
    """host, tflm, cortex-m4, cortex-m7, cortex-m33, ethos-u55-128, ethos-u55-256, ethos-u85-256, ssh://user@host:port,
    adb:SERIAL; `edgeprune doctor` tells which can be used here."""
    clips: tuple[Path, ...] = ()
    """Audio to compare outputs on (default: evaluation clips of the run a file lies in, else synthetic scenes)."""
    threads: Counts = (1,)
    """Numbers of threads to measure."""
    runs: int = 50
    """Timed runs of each file, interleaved."""
    xnnpack: bool = True
    """Host: with the XNNPACK delegate, LiteRT's default."""
    timeout: float = TIMEOUT_S
    """Seconds after which a device that gives no answer is cut off."""
    clock: Clock = None
    """Cortex-M: its clock, as 80MHz, for an estimate of the time."""
    benchmark_model: Path | None = None
    """Android: TFLite's benchmark_model for the phone's processor (default: from the settings)."""
    json: bool = False
    """Print JSON."""

    def __call__(self) -> int:
        from edgeprune.devices.bench import bench
        from edgeprune.reporting.tables import detail_table, latency_table

        if self.timeout <= 0:
            raise EdgepruneError(f"--timeout {self.timeout:g}: give seconds above 0.")
        with only_results():
            measured = bench(
                self.models,
                self.device,
                runs=self.runs,
                threads=self.threads,
                clips=self.clips,
                timeout_s=self.timeout,
                options=DeviceOptions(self.clock, self.benchmark_model, self.xnnpack),
            )
        latency = {"latency": measured.to_json()}
        if self.json:
            print_json(latency)
            return 0
        table = latency_table(latency)
        print_table("", table.columns, table.rows)
        for row in latency["latency"]:
            table = detail_table(row)
            print_table(f"{row['model']} on {row['device']}", table.columns, table.rows)
        return 0


@dataclass(frozen=True)
class Doctor:
    """Say what is installed here: Python, packages, TFLite interpreter, optional tools."""

    json: bool = False
    """Print JSON."""

    def __call__(self) -> int:
        from edgeprune.cli.doctor import examine, print_findings

        found = examine()
        if self.json:
            print_json(found)
        else:
            print_findings(found)
        return 0
