"""The same sweep as tasks of Ray: equal results, and workers that die."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sweeps import HALF, STAND_IN, calls, gone, hanging, order, plan_of, started, verb_command, wait_for

from edgeprune.comparing.sweeping import engine_ray
from edgeprune.comparing.sweeping.engine_local import LocalEngine
from edgeprune.comparing.sweeping.engine_ray import TRIES, RayEngine, do_job
from edgeprune.comparing.sweeping.sweep import sweep
from edgeprune.errors import EdgepruneError
from edgeprune.files import read_json

pytestmark = pytest.mark.slow  # starts Ray

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'edgeprune[ray]'")


@pytest.fixture(scope="module")
def address():
    """A cluster of one machine."""
    context = ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100_000_000)
    yield context.address_info["gcs_address"]
    ray.shutdown()


def do(plan, command=STAND_IN):
    return {end.cell.folder: end for end in sweep(plan, lambda: RayEngine(2, 1, command))}


def test_results_are_those_of_processes(address, recipe, tmp_path):
    grid = {"params": (2_000, 1_000), "seeds": (0, 1), "controls": ("random", "scratch")}
    there = plan_of(recipe, tmp_path / "ray", **grid)
    here = plan_of(recipe, tmp_path / "local", **grid)
    do(there)
    sweep(here, lambda: LocalEngine(2, 1, STAND_IN))
    results = {path.relative_to(here.out): path.read_bytes() for path in here.out.glob("*/*/result.json")}
    assert len(results) == 2 + 2 * 2 * 3
    assert {path.relative_to(there.out): path.read_bytes() for path in there.out.glob("*/*/result.json")} == results
    noted = [words[:2] for words in calls(there.out)]
    for cell in there.recipes:
        if cell.role != "dense":
            assert noted.index(["start", cell.folder]) > noted.index(["end", cell.dense_folder])


def test_a_worker_that_dies_is_told_and_its_run_started_again(address, recipe, tmp_path, capsys):
    out = tmp_path / "s"
    order(out, **{HALF.replace("/", "__"): "kill parent"})
    found = do(plan_of(recipe, out, keep=(0.5,)))
    assert {end.state for end in found.values()} == {"done"}
    assert started(out).count(HALF) == 2
    assert "its Ray worker was lost (WorkerCrashedError" in capsys.readouterr().err


def test_one_that_always_dies_fails_alone(address, recipe, tmp_path):
    out = tmp_path / "s"
    order(out, **{HALF.replace("/", "__"): "always kill parent"})
    found = do(plan_of(recipe, out, keep=(0.5, 0.25)))
    assert [end.state for end in found.values()] == ["done", "failed", "done"]
    assert started(out).count(HALF) == TRIES
    assert f"{TRIES} of {TRIES} tries" in read_json(out / HALF / "failed.json")["reason"]


def test_a_run_that_fails_on_a_worker_says_why(address, recipe, tmp_path):
    out = tmp_path / "s"
    order(out, **{HALF.replace("/", "__"): "fail"})
    found = do(plan_of(recipe, out, keep=(0.5,)))
    assert (found[HALF].reason, found[HALF].exit_code) == ("NAME: was wrong; do better.", 3)


def test_through_the_command_line_it_starts_ray_itself(script, tmp_path):
    out = tmp_path / "s"
    flags = ("--keep", "0.5", "--controls", "none", "--engine", "ray", "--out", out, "--json")
    done = subprocess.run(verb_command(script, *flags), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert [cell["state"] for cell in json.loads(done.stdout)["cells"]] == ["done"] * 2


def test_a_worker_that_does_not_see_the_folder(tmp_path):
    found = do_job(str(tmp_path / "nowhere"), "0" * 64, 1, STAND_IN, engine_ray.__version__)
    assert "--out must lie on a file system all workers share" in found["reason"]
    (tmp_path / "recipe.json").write_text("{}")  # another machine's folder of the same name
    found = do_job(str(tmp_path), "0" * 64, 1, STAND_IN, engine_ray.__version__)
    assert "does not see it" in found["reason"]
    assert "install the same one" in do_job(str(tmp_path), "0" * 64, 1, STAND_IN, "0.0.0")["reason"]


def test_a_run_that_fits_no_machine(address, monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **_: None)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with pytest.raises(EdgepruneError, match=r"no machine of the cluster has more than 2; give more --jobs"):
        RayEngine(1, 64, address="auto")
    with pytest.raises(EdgepruneError, match=r"asks for 1 GPUs"):
        RayEngine(1, 1, address="auto", gpus=1)


def test_no_cluster_at_the_address(script, tmp_path):
    flags = ("--keep", "0.5", "--engine", "ray", "--address", "127.0.0.1:1", "--out", tmp_path / "s")
    done = subprocess.run(verb_command(script, *flags), capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "Ray: no cluster answers at '127.0.0.1:1' ([Errno 111] Connection refused)" in done.stderr


def test_killed_it_leaves_nothing_on_the_cluster(address, script, tmp_path):
    out = tmp_path / "s"
    process, pids = hanging(out, script, "--engine", "ray", "--address", address)
    process.kill()
    process.communicate(timeout=60)
    wait_for(lambda: gone(pids))
    order(out)
    assert HALF in started(out)


def test_without_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EdgepruneError, match=r"pip install 'edgeprune\[ray\]'"):
        RayEngine(1, 1, STAND_IN)


def test_ray_is_imported_only_where_it_is_used():
    code = "import sys, edgeprune.cli.verbs.sweep, edgeprune.comparing.sweeping.engine_ray; print('ray' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert found.stdout.strip() == "False"
    assert Path(engine_ray.__file__).is_file()
