"""`edgeprune sweep`: its flags and the recipe's, the dry run, its table and exit codes, and a real one end to end."""

import json
from pathlib import Path

import pytest
from sweeps import HALF, order, started

from edgeprune.cli.verbs.sweep import main as run_sweep
from edgeprune.errors import EdgepruneError
from edgeprune.files import read_json, sha256_file


def call(capsys, *argv: str | Path) -> tuple[int, str, str]:
    code = run_sweep([str(arg) for arg in argv])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.usefixtures("stand_in")
def test_the_table_tells_what_is_done_and_what_failed(script, tmp_path, capsys):
    out = tmp_path / "s"
    order(out, **{HALF.replace("/", "__"): "fail"})
    flags = (script, "--keep", "0.5,0.25", "--controls", "none", "--out", out)
    code, said, progress = call(capsys, *flags)
    assert code == 4
    assert f"{HALF}: NAME: was wrong; do better." in said
    assert "2 of 3 runs are done" in said
    assert "50.0 %" in said
    assert "runs that share the host are not timed on it" in progress
    order(out)
    code, said, _ = call(capsys, *flags, "--json")
    told = json.loads(said)
    assert (code, told["failed"]) == (0, 0)
    assert told["cells"][1]["folder"] == str(out / HALF)
    assert (told["cells"][1]["role"], told["cells"][1]["keep"]) == ("variant", 0.5)
    assert told["cells"][1]["formats"]["int8"] == {"accuracy": 0.5, "log_loss": 1.5, "bytes": 46_000}
    assert started(out).count(HALF) == 2


@pytest.mark.usefixtures("stand_in")
def test_flags_of_the_recipe_go_to_every_run(script, tmp_path, capsys):
    out = tmp_path / "s"
    flags = ("--train.epochs", "4", "--seed", "7", "--keep", "0.5", "--data.clips-per-scene=12", "--out", out)
    assert call(capsys, script, *flags)[0] == 0
    recipes = [read_json(path) for path in out.glob("*/*/recipe.json")]
    assert len(recipes) == 4  # with the controls: dense, scratch and random
    assert {(one["train"]["epochs"], one["seed"], one["data"]["clips_per_scene"]) for one in recipes} == {(4, 7, 12)}


def test_a_dry_run_writes_nothing(script, tmp_path, capsys):
    out = tmp_path / "s"
    code, said, _ = call(capsys, script, "--params", "2k,1k", "--seeds", "0,1", "--out", out, "--dry-run")
    assert code == 0
    assert "14 runs in" in said
    assert "0 of them done" in said
    assert "estimated" in said
    assert not out.exists()
    flags = (script, "--params", "2k", "--train.threads", "3", "--out", out)
    told = json.loads(call(capsys, *flags, "--dry-run", "--json")[1])
    assert (told["estimate"]["kind"], told["estimate"]["threads"]) == ("estimated", 3)
    assert told["cells"][0] == {
        "folder": "dense/seed0-fold1",
        "role": "dense",
        "criterion": "operator_norm",
        "state": "new",
    }


def test_a_dry_run_without_the_data_says_so(script, tmp_path, capsys):
    flags = (script, "--data.name", "esc10", "--data.root", tmp_path / "nowhere", "--out", tmp_path / "s", "--dry-run")
    code, said, _ = call(capsys, *flags)
    assert code == 0
    assert "No estimate of the time: esc10: the folder" in said


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "name the recipe first"),
        (("--params", "40k"), "name the recipe first"),
        (("quickstrat",), "perhaps you meant 'quickstart'"),
        (("quickstart", "--critera", "l1"), "perhaps you meant '--criteria'"),
        (("quickstart", "--params", "20k", "--budget.macs", "3M"), "beside --params give it as --macs"),
        (("quickstart", "--params", "20k", "--prune.keep", "0.9"), "beside --params give it as --keep"),
        (("quickstart", "--jobs", "0"), "--jobs 0: give at least 1"),
        (("quickstart", "--address", "auto"), "add --engine ray"),
        (("quickstart", "--criteria", "l3"), "criterion 'l3' is unknown"),
    ],
)
def test_wrong_flags(flags, said):
    with pytest.raises(EdgepruneError) as error:
        run_sweep(list(flags))
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--data.rot", "X"), "--data.root"),
        (("--params", "20x"), "'20x' is not a size"),
        (("--seeds", "0,a"), "'a' is no whole number"),
        (("--keep", "0.5,half"), "'half' is no share"),
    ],
)
def test_wrong_flags_that_end_the_program(flags, said, capsys):
    with pytest.raises(SystemExit) as stop:
        run_sweep(["quickstart", *flags])
    assert stop.value.code == 2
    assert said in "".join(capsys.readouterr())


def test_help_names_the_flags_and_the_rules(capsys):
    with pytest.raises(SystemExit) as stop:
        run_sweep(["--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert "two budgets" in said
    for flag in ("--params", "--peak-ram", "--criteria", "--controls", "--engine", "--dry-run", "--track"):
        assert flag in said


@pytest.mark.slow
def test_a_real_sweep(script, tmp_path, capsys):
    """Two runs: the dense network and half of it, which starts from the same weights."""
    from edgeprune.models import checkpoint

    out = tmp_path / "s"
    flags = (script, "--keep", "0.5", "--controls", "none", "--jobs", "1", "--out", out)
    code, said, _ = call(capsys, *flags)
    assert code == 0, said
    dense, half = (read_json(out / name / "result.json") for name in ("dense/seed0-fold1", HALF))
    assert dense["pruned"]["cost"] == dense["dense"]["cost"] == half["dense"]["cost"]
    assert dense["pruned"]["accuracy"] == dense["dense"]["accuracy"] == half["dense"]["accuracy"]
    assert half["pruned"]["cost"]["params"] < half["dense"]["cost"]["params"] / 2
    assert [path.name for path in (out / HALF).glob("*.tflite")] == ["model_float32.tflite"]
    weights = [checkpoint.load(out / name / "dense.ckpt").model.state_dict() for name in ("dense/seed0-fold1", HALF)]
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])
    assert {row["device"] for row in half["latency"]} == {"host"}  # one at a time: timed alone
    before = {path: stamp(path) for path in out.rglob("*") if path.is_file()}
    assert call(capsys, *flags)[0] == 0
    changed = {path.relative_to(out).as_posix() for path, was in before.items() if stamp(path) != was}
    assert changed <= {"sweep.json", "log.txt", ".lock"}


def stamp(path: Path) -> tuple[str, int]:
    return sha256_file(path), path.stat().st_mtime_ns
