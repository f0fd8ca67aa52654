"""Every verb's tables at 80 and 60 columns: no line too long, no figure cut or lost."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import pytest

import edgeprune
from edgeprune.cli.main import main
from edgeprune.cli.verbs import profile as profile_verb
from edgeprune.cli.verbs import submit as submit_verb
from edgeprune.files import write_json

ROOT = Path(edgeprune.__file__).parent
LONG = "features.12.depthwise_convolution.0"


def figures(text: str) -> Counter[str]:
    return Counter(word for word in text.replace("|", " ").split() if re.match(r"[(+\-]*\d", word))


@pytest.fixture(params=[80, 60])
def fits(request, monkeypatch, capsys) -> Callable[[Callable[[], object]], str]:
    """Checks what a call prints at this width against what it prints where there is room; gives the narrow text."""

    def printed(width: int, show: Callable[[], object]) -> str:
        monkeypatch.setenv("COLUMNS", str(width))
        show()
        return capsys.readouterr().out

    def check(show: Callable[[], object]) -> str:
        wide, narrow = (printed(width, show) for width in (2000, request.param))
        sentences = {line for line in wide.splitlines() if not line.startswith(("|", "+"))}  # the terminal breaks them
        long = [line for line in narrow.splitlines() if len(line) > request.param and line not in sentences]
        assert not long, narrow
        assert not figures(wide) - figures(narrow), narrow
        assert "\N{HORIZONTAL ELLIPSIS}" not in narrow
        return narrow

    return check


def names_of(file: str) -> dict[str, Any]:
    """What a helper of another folder's tests defines."""
    return run_path(str(Path(__file__).parents[1] / file))


def verb(*argv: str | Path) -> Callable[[], object]:
    def show() -> None:
        assert main([str(arg) for arg in argv]) == 0

    return show


DCASE21 = ("dcase21", "--classes", "10", "--input", "1x40x500")


@pytest.mark.parametrize(
    "argv",
    [
        ("cost", *DCASE21, "--rules", "dcase2022"),
        ("cost", "vggish", "--classes", "10", "--input", "1x96x64"),
        ("budget", *DCASE21, "--params", "20k", "--macs", "100M"),
        ("score", "dcase21", "--criterion", "l1"),
        ("score", "dcase21", "--criterion", "l1,l2,geometric_median"),
        ("doctor",),
        ("data", "list"),
    ],
    ids=lambda argv: " ".join(argv[:2]),
)
def test_verbs_that_need_no_run(fits, argv: tuple[str, ...]) -> None:
    fits(verb(*argv))


TIMINGS = [
    {
        "model": f"{network}_int8_with_a_long_name.tflite", "device": device, "kind": kind, "unit": unit,
        "median": median, "p5": 0.9 * median, "p95": 1.1 * median, "runs": 1000, "threads": 16,
        "peak_ram_bytes": 65_280_000, "detail": {"arena_bytes": 286_637_800, "flash_bytes": 46_512, "clock_hz": 1e6},
    }
    for network in ("dense", "model")
    for device, kind, unit, median in (
        ("host", "measured", "ms", 1234.5), ("cortex-m4", "emulated", "instructions", 68.8e6),
    )
]  # fmt: skip


def test_bench(fits, monkeypatch) -> None:
    import edgeprune.devices.bench

    monkeypatch.setattr(edgeprune.devices.bench, "bench", lambda *_, **__: SimpleNamespace(to_json=lambda: TIMINGS))
    narrow = fits(verb("bench", "a.tflite"))
    assert "68.8M" in narrow


def test_evaluate(fits, monkeypatch, tmp_path: Path) -> None:
    import edgeprune.running.evaluate
    from edgeprune.results.figures import Scores
    from edgeprune.running.evaluate import Evaluation

    part = {"accuracy": 0.987654, "log_loss": 1.23456, "clips": 123_456}
    metrics = {
        "accuracy": 0.75, "macro_accuracy": 0.7, "log_loss": 0.81234, "interval": [0.6, 0.85], "clips": 1_234_567,
        "per_class": {"street_pedestrian_with_a_very_long_name_of_a_class_indeed_longer_than_60": part, "tram": part},
        "per_device": {"s1": part}, "per_city": {},
    }  # fmt: skip
    monkeypatch.setattr(
        edgeprune.running.evaluate, "evaluate",
        lambda target, *_: Evaluation(Path("model.tflite"), "0", Scores.from_json(metrics), metrics),
    )  # fmt: skip
    (tmp_path / "model.tflite").write_bytes(b"")
    argv = ("evaluate", tmp_path / "model.tflite", "--data.name", "tut2017", "--data.root", tmp_path)
    assert "123,456" in fits(verb(*argv))


def test_export(fits, monkeypatch, tmp_path: Path) -> None:
    import edgeprune.running.export_more

    path = tmp_path / ("long" * 20) / "model_int8.tflite"
    path.parent.mkdir()
    path.write_bytes(bytes(46_512))
    monkeypatch.setattr(edgeprune.running.export_more, "export_more", lambda *_: {"int8": path})
    assert "46,512" in fits(verb("export", "RUN"))


def test_deploy(fits, monkeypatch, tmp_path: Path) -> None:
    import edgeprune.bundles.targets

    bundle = tmp_path / "out"
    files = {f"app/src/main/java/org/example/listening/very/deep/{LONG}.kt": {"bytes": 123_456_789}}
    write_json(bundle / "manifest.json", {"files": files})
    monkeypatch.setattr(edgeprune.bundles.targets, "write_bundle", lambda *_: bundle)
    assert "123,456,789" in fits(verb("deploy", tmp_path, "--target", "c11", "--out", tmp_path / "new"))


def test_run(fits, monkeypatch) -> None:
    from edgeprune.reporting.summary import print_summary
    from edgeprune.results.result import Result

    fits(lambda: print_summary(Result.from_json(names_of("stored_result.py")["stored_result"]())))


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    made = names_of("comparing/run_folders.py")
    for seed in range(3):
        for name, accuracy in (("operator_norm", 0.7), ("random", 0.6), ("geometric_median", 0.65)):
            recipe = made["pruned"](seed, criterion=name)
            made["write_run"](tmp_path / "sweep" / f"{name}{seed}", recipe, accuracy=accuracy, dense_accuracy=0.75)
    return tmp_path / "sweep"


def test_compare(fits, sweep: Path) -> None:
    argv = ("compare", sweep / "operator_norm0", "--baseline", sweep / "operator_norm1")
    assert "70.00" in fits(verb("compare", sweep))
    fits(verb(*argv))


def test_profile(fits) -> None:
    answer = {
        "stages": [{"name": LONG, "groups": [LONG, "conv1"], "full_ms": 1234.56789}],
        "overhead_ms": 0.0123,
        "check": [
            {
                "widths": {f"{LONG}{place}": 512 for place in range(9)},
                "predicted_ms": 12345.678, "measured_ms": 12345.679, "relative_error": -0.0123,
            }
        ],
    }  # fmt: skip
    assert "1234.5679" in fits(lambda: profile_verb._print_profile(answer))


def test_submit(fits) -> None:
    verdict = {"rule": "multiply-accumulates of a second", "counted": 29_203_560, "limit": 30_000_000, "word": "kept"}
    done = {
        "rules": "dcase2022", "verdicts": {"runs/a-run-with-a-long-name-fold1-seed0": [verdict] * 2}, "files": [],
        "zip": "a.zip", "open": [], "notes": [], "ready": True,
    }  # fmt: skip
    assert "29,203,560" in fits(lambda: submit_verb._print(done, Path()))


def test_sweep(fits, monkeypatch, tmp_path: Path) -> None:
    from edgeprune.cli.sweep_output import show_ends, show_plan
    from edgeprune.comparing.sweeping import estimate
    from edgeprune.results.result import Result

    folder = "operator_norm-log_mass-params20000-macs100000000/seed0-fold1"
    cell = SimpleNamespace(folder=folder, role="variant", criterion="operator_norm")
    kind = SimpleNamespace(kind="variants with 20,000 parameters", runs=1234, seconds=86400.0, how="a run of 1,234 s")
    plan = SimpleNamespace(out=tmp_path, recipes=[cell], state=lambda _: "new", open_cells=lambda: [cell])
    monkeypatch.setattr(estimate, "estimates", lambda *_: [kind])
    monkeypatch.setattr(estimate, "total_seconds", lambda *_: 86400.0)
    end = SimpleNamespace(
        cell=cell,
        state="done",
        result=Result.from_json(names_of("stored_result.py")["stored_result"]()),
        seconds=1e5,
        reason="",
    )
    fits(lambda: show_plan(plan, 2, 1, False))
    fits(lambda: show_ends(plan, [end], False))


def test_one_mechanism_draws_all_tables() -> None:
    """A table drawn elsewhere would not be fitted."""
    drawing = [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py") if "rich.table" in path.read_text()]
    assert drawing == ["console.py"]
