"""Runs that prune in several steps, hold a limit on latency, or choose otherwise; and files that break a promise."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import kill_when, same_but_times, start, tiny

import edgeprune.data.load
import edgeprune.devices.profiling as profiling
from edgeprune.cli.main import main
from edgeprune.convert import tflite_export as tflite
from edgeprune.devices.latency_profile import LatencyProfile
from edgeprune.errors import EdgepruneError
from edgeprune.files import read_json
from edgeprune.flags import parse_flags
from edgeprune.graph.cost import cost
from edgeprune.models import checkpoint
from edgeprune.models.checkpoint import Checkpoint
from edgeprune.recipe import Budget, Export, Prune, Recipe, Train
from edgeprune.recipe_files import load_recipe
from edgeprune.results.run_folder import RunFolder
from edgeprune.running.data import load_data_of, load_run_data
from edgeprune.running.prune_to_budget import prune_to_budget
from edgeprune.running.run import run
from edgeprune.tflite import cost as tflite_cost
from edgeprune.tflite.flatbuffer import unpack_model
from edgeprune.tflite.sidecar import sidecar_path

pytestmark = pytest.mark.slow  # trains and exports small networks

CONVS = ("conv1", "conv2", "conv3")
ASKED_MACS = 800_000
ASKED_MS = 1.2
CALL_MS = 0.25


def clock(paths: Sequence[Path]) -> list[float]:
    """What takes the place of a device: a call takes `CALL_MS`, a multiply-accumulate a nanosecond."""

    def time_of(path: Path) -> float:
        graph = unpack_model(path).subgraphs[0]
        shapes = [tensor.shape.tolist() for tensor in graph.tensors]
        weighted = [step for step in graph.operators if len(step.inputs) > 2]
        return CALL_MS + 1e-6 * sum(
            prod(shapes[step.inputs[1]]) * prod(shapes[step.outputs[0]][1:-1]) for step in weighted
        )

    return [time_of(path) for path in paths]


def light(out: Path, cache: Path) -> Recipe:
    """The tiny run with one file at its end."""
    recipe = tiny(out, cache)
    return replace(recipe, budget=Budget(macs=ASKED_MACS), export=Export(("int8",), (), calibration_clips=20))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def stepped(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """A run that pruned in two steps."""
    recipe = light(tmp_path_factory.mktemp("run") / "stepped", cache)
    run(parse_flags(recipe, ["--prune.steps", "2"]))
    return recipe.folder()


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory, cache: Path, stepped: Path) -> Path:
    """A run with a limit on latency, which the pretended device was profiled for."""
    recipe = light(tmp_path_factory.mktemp("run") / "quick", cache)
    recipe = replace(recipe, dense_from=stepped / "dense.ckpt", prune=Prune(), budget=Budget(macs=1_500_000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(profiling, "profile", partial(profiling.profile, measure=clock))
        run(parse_flags(recipe, ["--budget.latency-ms", f"{ASKED_MS}@host", "--export.dense-formats", "int8"]))
    return recipe.folder()


def pruned_by(recipe: Recipe, dense: Checkpoint, *flags: str) -> Checkpoint:
    """The pruned network of the recipe with these flags, not fine-tuned and not exported."""
    recipe = parse_flags(replace(recipe, finetune=Train(epochs=0)), flags)
    recipe.folder().mkdir()
    return prune_to_budget(recipe, load_data_of(recipe, dense), dense, RunFolder(recipe.folder()))


def unfinished(done: Path, folder: Path) -> Path:
    """A copy of a run that stopped just before its result was written."""
    shutil.copytree(done, folder)
    (folder / "result.json").unlink()
    return folder


# Several steps


def test_both_steps_leave_a_checkpoint_on_the_way_to_the_budget(stepped):
    stages = [checkpoint.load(stepped / name) for name in ("dense.ckpt", "pruned_1.ckpt", "pruned.ckpt")]
    macs = [cost(stage.spec).macs for stage in stages]
    halfway = ceil(macs[0] * (ASKED_MACS / macs[0]) ** 0.5)
    assert macs[2] <= ASKED_MACS < macs[1] <= halfway < macs[0]
    for before, after in pairwise(stages):
        assert all(after.spec.widths[name] <= before.spec.widths[name] for name in CONVS)
        assert after.spec.widths["fc1"] == before.spec.widths["fc1"]
        for name in CONVS:
            assert len(after.extra["kept"][name]) == after.spec.widths[name]
            assert max(after.extra["kept"][name]) < before.spec.widths[name]
    budget = stages[1].extra["budget"]
    assert budget["reached"]["macs"] == macs[1]
    assert budget["reached"]["macs"] + budget["slack"]["macs"] == halfway
    assert not (stepped / "pruned_2.ckpt").exists()
    assert not list((stepped / "training").rglob("*.ckpt"))


def test_the_steps_share_the_epochs_out(stepped):
    first, last = (checkpoint.load(stepped / name).extra["history"] for name in ("pruned_1.ckpt", "pruned.ckpt"))
    assert (len(first), len(last)) == (1, 3)
    assert last[:1] == first
    assert read_json(stepped / "result.json")["history"]["finetune"] == last


def test_the_budget_of_a_run_in_steps_is_the_one_that_was_asked(stepped):
    result = read_json(stepped / "result.json")
    found = result["budget"]
    asked = {"params": None, "macs": ASKED_MACS, "peak_ram": None, "flash": None, "latency_ms": None}
    assert found["asked"] == asked | {"runtime": "tflm", "include_frontend": False}
    assert found["binding"] == "macs"
    assert found["read_from"] == "model_int8.tflite"
    shipped = tflite_cost.cost_of_tflite(stepped / "model_int8.tflite")
    assert found["reached"] == {
        "params": shipped.params,
        "macs": shipped.macs,
        "peak_ram": shipped.arena_bytes,
        "flash": shipped.flash_bytes,
    }
    assert shipped.macs == cost(checkpoint.load(stepped / "pruned.ckpt").spec).macs <= ASKED_MACS
    assert found["slack"] == {"macs": ASKED_MACS - shipped.macs}
    assert set(found["kept_scores"]) == set(CONVS)
    assert all(0 < share <= 1 for share in found["kept_scores"].values())
    assert (found["proven"], found["gap"]) == (True, 0)
    for name in CONVS:  # both steps together, not each
        assert result["widths"]["pruned"][name] <= 0.75 * result["widths"]["dense"][name]
    assert result["artefacts"]["int8"]["cost"] == tflite_cost.costs_of(shipped)
    report = (stepped / "report.html").read_text(encoding="utf-8")
    assert "Pruned in 2 steps" in report
    assert "scores kept" in report


def test_killed_after_the_first_step_it_ends_with_the_same_result(stepped, tmp_path):
    script = tmp_path / "stepped.py"
    script.write_text(
        "from dataclasses import replace\nfrom edgeprune.recipe_files import load_recipe\n"
        f"recipe = replace(load_recipe({str(stepped)!r}), out=None)\n"
        "if __name__ == '__main__':\n    recipe.main()\n"
    )
    folder = tmp_path / "killed"
    kill_when(start(script, "--out", str(folder)), lambda: (folder / "pruned_1.ckpt").is_file())
    assert not (folder / "pruned.ckpt").exists()
    first = (folder / "pruned_1.ckpt").read_bytes()
    run(replace(load_recipe(str(stepped)), out=folder))
    assert (folder / "pruned_1.ckpt").read_bytes() == first
    assert (folder / "log.txt").read_text().count("step 1 of 2") == 1
    assert same_but_times(read_json(folder / "result.json")) == same_but_times(read_json(stepped / "result.json"))


def test_one_step_leaves_no_numbered_checkpoint(stepped, cache, tmp_path):
    found = pruned_by(light(tmp_path / "one", cache), checkpoint.load(stepped / "dense.ckpt"))
    assert found.extra["budget"]["reached"]["macs"] <= ASKED_MACS
    assert [path.name for path in (tmp_path / "one").glob("*.ckpt")] == ["pruned.ckpt"]


# The control from scratch


def test_the_control_from_scratch_has_the_widths_and_nothing_else_of_the_pruned_network(tmp_path, cache, stepped):
    dense = checkpoint.load(stepped / "dense.ckpt")
    networks = {}
    for name, flags in (("scratch", ["--prune.restart"]), ("pruned", ["--prune.no-reconstruct"])):
        recipe = parse_flags(light(tmp_path / name, cache), [*flags, "--train.epochs", "2"])
        networks[name] = pruned_by(recipe, dense)
    scratch, pruned = networks["scratch"], networks["pruned"]
    assert scratch.spec == pruned.spec != dense.spec
    assert "reconstruction" not in scratch.extra  # weights drawn anew need no repair
    assert scratch.extra["kept"] == pruned.extra["kept"]
    assert (len(scratch.extra["history"]), len(pruned.extra["history"])) == (2, 0)  # `finetune` has none here
    first = {
        name: next(value for value in found.model.state_dict().values() if value.ndim == 4)
        for name, found in (networks | {"dense": dense}).items()
    }
    inherited = first["dense"][pruned.extra["kept"]["conv1"]]
    assert torch.equal(first["pruned"], inherited)
    assert not torch.allclose(first["scratch"], inherited, atol=1e-2)


def test_the_control_from_scratch_is_not_pruned_in_steps(tmp_path, cache):
    with pytest.raises(EdgepruneError, match=r"leave out prune\.steps"):
        run(parse_flags(light(tmp_path / "never", cache), ["--prune.restart", "--prune.steps", "2"]))


# Latency


def test_a_limit_on_latency_is_held(quick):
    result = read_json(quick / "result.json")
    found = result["budget"]
    assert (found["asked"]["latency_ms"], found["asked"]["macs"]) == (f"{ASKED_MS}@host", 1_500_000)
    assert found["binding"] == "latency_ms"
    reached = found["reached"]["latency_ms"]
    table = LatencyProfile.load(quick / "profile_host.json")
    assert table.predict(result["widths"]["dense"]) > ASKED_MS
    assert reached == pytest.approx(table.predict(result["widths"]["pruned"]))
    assert reached <= ASKED_MS
    assert found["slack"]["latency_ms"] == pytest.approx(ASKED_MS - reached)
    # the pretended device agrees: of the whole network as of the file that ships
    assert clock([quick / "dense_int8.tflite"])[0] == pytest.approx(table.predict(result["widths"]["dense"]))
    assert clock([quick / "model_int8.tflite"])[0] == pytest.approx(reached)
    assert f"{ASKED_MS:.2f} ms" in (quick / "report.html").read_text(encoding="utf-8")


def test_a_profile_is_measured_once(quick, cache, tmp_path, monkeypatch):
    monkeypatch.setattr(profiling, "profile", lambda *args, **kwargs: pytest.fail("measured again"))
    kept = read_json(quick / "result.json")["widths"]["pruned"]
    recipe, dense = load_recipe(str(quick)), checkpoint.load(quick / "dense.ckpt")
    table = quick / "profile_host.json"
    given = pruned_by(replace(recipe, out=tmp_path / "given"), dense, "--prune.profile", str(table))
    assert dict(given.spec.widths) == kept
    assert not (tmp_path / "given" / table.name).exists()
    resumed = replace(recipe, out=tmp_path / "resumed", finetune=Train(epochs=0))
    resumed.folder().mkdir()
    shutil.copy(table, resumed.folder())
    network = prune_to_budget(resumed, load_data_of(recipe, dense), dense, RunFolder(resumed.folder()))
    assert dict(network.spec.widths) == kept


def test_steps_on_the_way_to_a_latency(quick, tmp_path):
    recipe = replace(load_recipe(str(quick)), out=tmp_path / "steps")
    table = quick / "profile_host.json"
    last = pruned_by(recipe, checkpoint.load(quick / "dense.ckpt"), "--prune.profile", str(table), "--prune.steps", "2")
    whole, profile = checkpoint.load(quick / "dense.ckpt").spec.widths, LatencyProfile.load(table)
    half = checkpoint.load(tmp_path / "steps" / "pruned_1.ckpt").spec.widths
    halfway = (profile.predict(whole) * ASKED_MS) ** 0.5
    assert profile.predict(last.spec.widths) <= ASKED_MS < profile.predict(half) <= halfway


def test_budget_finds_the_allocation_of_the_run(quick, capsys):
    limits = ["--macs", "1.5M", "--latency-ms", f"{ASKED_MS}@host"]
    assert main(["budget", str(quick), *limits, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    result = read_json(quick / "result.json")
    assert found["widths"] == result["widths"]
    assert found["kept_scores"] == pytest.approx(result["budget"]["kept_scores"])


def test_profile_of_a_run(quick, capsys, tmp_path, monkeypatch):
    for name in ("profile", "verify"):
        monkeypatch.setattr(profiling, name, partial(getattr(profiling, name), measure=clock))
    path = tmp_path / "again.json"
    assert main(["profile", str(quick), "--out", str(path), "--check", "4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["overhead_ms"] == CALL_MS
    assert len(found["check"]) == 4
    assert all(abs(check["relative_error"]) < 1e-6 for check in found["check"])
    assert LatencyProfile.load(path).predict({}) == pytest.approx(clock([quick / "dense_int8.tflite"])[0])


def test_cost_of_a_run_is_that_of_its_file(stepped, capsys):
    answers = []
    for target in (stepped, stepped / "pruned.ckpt", stepped / "model_int8.tflite"):
        assert main(["cost", str(target), "--rules", "dcase2022", "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    for name in ("params", "macs", "flash_bytes", "peak_ram_bytes", "rules"):
        assert answers[0][name] == answers[1][name] == answers[2][name]
    assert answers[2]["file"]["weight_type"] == "int8"
    assert all(verdict["passed"] for verdict in answers[2]["rules"]["verdicts"])


# Other objectives and allocations


@pytest.mark.parametrize("validation", ["0.2", "0"])
def test_sensitivity_looks_at_validation_clips_or_else_at_training_clips(
    stepped, cache, tmp_path, monkeypatch, validation
):
    looked_at: list[set[str]] = []
    batches = edgeprune.data.load.labelled_batches

    def watched(data: Any, clips: Any, *rest: Any) -> Any:
        looked_at.append(set(clips["filename"]))
        return batches(data, clips, *rest)

    monkeypatch.setattr(edgeprune.data.load, "labelled_batches", watched)
    recipe = parse_flags(light(tmp_path / "out", cache), ["--data.validation", validation])
    data = load_run_data(recipe)
    assert (data.validation is None) == (validation == "0")
    dense = checkpoint.load(stepped / "dense.ckpt")
    found = pruned_by(recipe, dense, "--prune.objective", "sensitivity")
    assert looked_at == [set((data.train if data.validation is None else data.validation)["filename"])]
    assert not looked_at[0] & set(data.test["filename"])
    assert found.extra["budget"]["reached"]["macs"] <= ASKED_MACS
    assert found.extra["budget"]["value"] <= 1e-6  # losses, with their sign turned
    assert cost(found.spec).macs == found.extra["budget"]["reached"]["macs"]


def test_budget_by_the_sensitivity_of_a_run(stepped, capsys):
    argv = ["budget", str(stepped), "--macs", str(ASKED_MACS), "--objective", "sensitivity", "--json"]
    assert main(argv) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["objective"] == "sensitivity"
    assert found["reached"]["macs"] <= ASKED_MACS
    assert main(argv) == 0
    assert json.loads(capsys.readouterr().out) == found


def test_uniform_keeps_the_same_share_of_every_layer(stepped, cache, tmp_path):
    dense = checkpoint.load(stepped / "dense.ckpt")
    free = replace(light(tmp_path / "out", cache), prune=Prune())
    found = pruned_by(free, dense, "--prune.allocation", "uniform")
    shares = np.array([found.spec.widths[name] / dense.spec.widths[name] for name in CONVS])
    assert cost(found.spec).macs <= ASKED_MACS
    assert shares.max() - shares.min() < 1 / min(dense.spec.widths[name] for name in CONVS)
    solver = pruned_by(replace(free, out=tmp_path / "solver"), dense)
    kept = [sum(np.log(list(one.extra["budget"]["kept_scores"].values()))) for one in (solver, found)]
    assert kept[0] >= kept[1]


def test_multiples_in_every_step(stepped, cache, tmp_path):
    dense = checkpoint.load(stepped / "dense.ckpt")
    flags = ("--prune.steps", "2", "--prune.multiple-of", "2", "--prune.keep", "1")
    found = pruned_by(light(tmp_path / "out", cache), dense, *flags)
    for one in (found, checkpoint.load(tmp_path / "out" / "pruned_1.ckpt")):
        assert all(one.spec.widths[name] % 2 == 0 for name in CONVS)
    assert cost(found.spec).macs <= ASKED_MACS


# Promises


def test_a_file_that_does_not_cost_what_was_promised_ends_with_4(stepped, quick, tmp_path, capsys, monkeypatch):
    """A converter that writes the file of another network, whatever it is asked for."""
    folder = unfinished(stepped, tmp_path / "broken")
    path = folder / "model_int8.tflite"
    for name in (path, sidecar_path(path), folder / "predictions_int8.csv", folder / "latency.json"):
        name.unlink()

    def convert(*args: Any, **kwargs: Any) -> None:
        shutil.copy(quick / "dense_int8.tflite", path)

    monkeypatch.setattr(tflite, "convert", convert)
    assert main(["run", str(folder)]) == 4
    error = capsys.readouterr().err.strip().splitlines()[-1]
    promised, other = cost(checkpoint.load(folder / "pruned.ckpt").spec), tflite_cost.cost_of_tflite(path)
    assert f"model_int8.tflite: has params {other.params:,} where the plan promised {promised.params:,}" in error
    assert not sidecar_path(path).exists()
    assert not (folder / "result.json").exists()


def test_a_file_above_the_budget_ends_with_4(stepped, tmp_path, capsys, monkeypatch):
    folder = unfinished(stepped, tmp_path / "above")
    costs_of = tflite_cost.costs_of
    monkeypatch.setattr(tflite_cost, "costs_of", lambda found: costs_of(found) | {"macs": ASKED_MACS + 1})
    assert main(["run", str(folder)]) == 4
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"model_int8.tflite: takes macs {ASKED_MACS + 1:,} of {ASKED_MACS:,} that the budget allows" in error
    assert not (folder / "result.json").exists()
    monkeypatch.undo()
    assert main(["run", str(folder)]) == 0
    assert same_but_times(read_json(folder / "result.json")) == same_but_times(read_json(stepped / "result.json"))
