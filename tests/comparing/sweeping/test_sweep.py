"""A sweep at work, its cells done by a stand-in: order, failures, kills, and that nothing is done twice."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from sweeps import HALF, QUARTER, calls, gone, hanging, order, plan_of, started, verb_command, wait_for

from edgeprune.comparing.sweeping.engine_local import LocalEngine
from edgeprune.comparing.sweeping.sweep import sweep
from edgeprune.errors import EdgepruneError
from edgeprune.files import read_json

pytestmark = pytest.mark.usefixtures("stand_in")
DENSE = "dense/seed0-fold1"


def do(plan, slots: int = 2):
    return {end.cell.folder: end for end in sweep(plan, lambda: LocalEngine(slots, 1))}


def contents(out: Path) -> dict[str, tuple[int, bytes]]:
    """Modification time and bytes of every result."""
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in out.glob("*/*/result.json")}


def test_every_cell_is_done_once_after_its_dense_run(recipe, tmp_path):
    plan = plan_of(recipe, tmp_path / "s", params=(2_000, 1_000), seeds=(0, 1), controls=("scratch", "random"))
    found = do(plan)
    assert {end.state for end in found.values()} == {"done"}
    assert sorted(started(plan.out)) == sorted(found)
    noted = [words[:2] for words in calls(plan.out)]
    for cell in plan.recipes:
        if cell.role != "dense":
            assert noted.index(["start", cell.folder]) > noted.index(["end", cell.dense_folder])
    assert not list(plan.out.rglob("failed.json"))
    assert not list(plan.out.rglob("stderr.txt"))
    assert plan.seconds().keys() == found.keys()


@pytest.mark.parametrize("slots", [1, 3])
def test_no_more_at_a_time_than_asked_for(recipe, tmp_path, slots):
    plan = plan_of(recipe, tmp_path / "s", params=(3, 2, 1), criteria=("l1", "l2"))
    do(plan, slots)
    at_work, most = 0, 0
    for words in calls(plan.out):
        at_work += 1 if words[0] == "start" else -1
        most = max(most, at_work)
    assert most <= slots
    assert {words[2] for words in calls(plan.out) if words[0] == "start"} == {"1"}  # threads


def test_started_again_it_repeats_nothing(recipe, tmp_path):
    plan = plan_of(recipe, tmp_path / "s", keep=(0.5,))
    do(plan)
    before, noted = contents(plan.out), calls(plan.out)
    do(plan_of(recipe, tmp_path / "s", keep=(0.5,)))
    assert (contents(plan.out), calls(plan.out)) == (before, noted)
    do(plan_of(recipe, tmp_path / "s", keep=(0.5, 0.25)))
    assert started(plan.out) == [DENSE, HALF, QUARTER]
    assert contents(plan.out).items() > before.items()


def test_a_failed_cell_stops_no_other_and_is_tried_again(recipe, tmp_path):
    out = tmp_path / "s"
    order(out, **{HALF.replace("/", "__"): "fail"})
    found = do(plan_of(recipe, out, keep=(0.5, 0.25)))
    assert (found[HALF].state, found[QUARTER].state) == ("failed", "done")
    assert read_json(out / HALF / "failed.json") == {"reason": "NAME: was wrong; do better.", "exit_code": 3}
    order(out)
    found = do(plan_of(recipe, out, keep=(0.5, 0.25)))
    assert found[HALF].state == "done"
    assert not (out / HALF / "failed.json").exists()
    assert started(out).count(HALF) == 2
    assert started(out).count(QUARTER) == 1


def test_without_its_dense_network_a_cell_is_not_begun(recipe, tmp_path):
    out = tmp_path / "s"
    order(out, **{DENSE.replace("/", "__"): "fail"})
    found = do(plan_of(recipe, out, keep=(0.5,), seeds=(0, 1)))
    assert found[HALF].state == "failed"
    assert found[HALF].reason == "its dense network failed: NAME: was wrong; do better."
    assert found["runs/operator_norm-keep0.5-seed1-fold1"].state == "done"
    assert HALF not in started(out)


def test_a_killed_cell_fails_and_says_by_what(recipe, tmp_path):
    out = tmp_path / "s"
    order(out, **{HALF.replace("/", "__"): "die"})
    found = do(plan_of(recipe, out, keep=(0.5, 0.25)))
    assert found[QUARTER].state == "done"
    assert read_json(out / HALF / "failed.json") == {
        "reason": "killed by SIGKILL; if memory ran out, use fewer --jobs.",
        "exit_code": -9,
    }
    assert do(plan_of(recipe, out, keep=(0.5, 0.25)))[HALF].state == "done"


def test_a_job_that_ends_well_without_a_result_has_failed(recipe, tmp_path, monkeypatch):
    from edgeprune.comparing.sweeping import work

    monkeypatch.setattr(work, "COMMAND", ("-c", "print('nothing done')"))
    found = do(plan_of(recipe, tmp_path / "s", keep=(0.5,)))
    assert found[DENSE].state == found[HALF].state == "failed"
    assert "ended with exit code 0" in found[DENSE].reason


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_it_leaves_nothing_behind_and_goes_on(script, tmp_path, how):
    out = tmp_path / "s"
    process, pids = hanging(out, script)
    before = contents(out)
    process.send_signal(how)
    _, said = process.communicate(timeout=60)
    assert process.returncode == (-9 if how == signal.SIGKILL else 130), said
    wait_for(lambda: gone(pids))
    order(out)
    command = verb_command(script, "--keep", "0.5,0.25", "--controls", "none", "--out", out, "--jobs", "2", "--json")
    again = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert again.returncode == 0, again.stderr
    assert [cell["state"] for cell in json.loads(again.stdout)["cells"]] == ["done"] * 3
    assert {name: started(out).count(name) for name in (DENSE, HALF, QUARTER)} == {DENSE: 1, HALF: 1, QUARTER: 2}
    assert contents(out).items() > before.items()
    # the time of a run that was interrupted is not known
    assert read_json(out / "seconds.json").keys() == {DENSE, HALF}


def test_a_killed_cell_takes_what_it_started_with_it(script, tmp_path):
    out = tmp_path / "s"
    process, pids = hanging(out, script)
    os.kill(pids[0], signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 4
    assert "failed: killed by SIGKILL" in said
    wait_for(lambda: gone(pids))


def test_one_sweep_a_folder_at_a_time(recipe, tmp_path):
    import filelock

    plan = plan_of(recipe, tmp_path / "s", keep=(0.5,))
    plan.out.mkdir()
    with filelock.FileLock(plan.out / ".lock"), pytest.raises(EdgepruneError, match="another sweep works"):
        do(plan)
    assert not calls(plan.out)
