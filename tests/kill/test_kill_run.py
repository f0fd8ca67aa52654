"""`run`, `export` and `deploy` killed at random moments: the files of the run started again are equal to the byte."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from kills import EDGEPRUNE, Trial, moments, tiny

from edgeprune.data.synthetic import ensure

pytestmark = pytest.mark.slow  # trains and exports small networks

Holds = Callable[[str, Trial, float], None]


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """The run itself; nothing of it but its log may differ from one time to the next."""
    folder = tmp_path_factory.mktemp("run")
    work, script = folder / "work", folder / "tiny.py"
    ensure(folder / "scenes", clips_per_scene=9)
    recipe = tiny(folder / "scenes", work / "features")
    script.write_text(f"from edgeprune.recipe_files import from_dict\nrecipe = from_dict({recipe.to_dict()!r})\n")
    command = (*EDGEPRUNE, "run", script, "--out", work / "run")
    return Trial(work, command, lambda _: None, differs=("run/log.txt",))


@pytest.fixture(scope="module")
def done(trial: Trial) -> Path:
    """A copy of the undisturbed run."""
    return Path(shutil.copytree(trial.work, trial.work.with_name("done")))


@pytest.fixture(scope="module")
def export(trial: Trial, done: Path) -> Trial:
    """Of the run's file, which was taken away: exported later it is the same, in a third of the run's time."""

    def prepare(work: Path) -> None:
        shutil.copytree(done, work, dirs_exist_ok=True)
        for name in ("model_int8.tflite", "model_int8.tflite.json"):
            (work / "run" / name).unlink()

    command = (*EDGEPRUNE, "export", trial.work / "run", "--formats", "int8")
    return Trial(trial.work, command, prepare, trial.differs, known=(trial.seconds / 3, trial.expected))


@pytest.fixture(scope="module")
def deploy(trial: Trial, done: Path) -> Trial:
    command = (*EDGEPRUNE, "deploy", done / "run", "--target", "c11", "--out", trial.work / "firmware")
    return Trial(trial.work, command, lambda _: None)


@pytest.mark.parametrize("share", moments("run", few=1, of_fifty=10))
def test_run(trial: Trial, done: Path, holds: Holds, share: float) -> None:
    assert trial.expected["run/report.html"] != "there"
    holds("run", trial, share)


@pytest.mark.parametrize("share", moments("export", few=1, of_fifty=5))
def test_export(export: Trial, holds: Holds, share: float) -> None:
    holds("export", export, share)


@pytest.mark.parametrize("share", moments("deploy", few=1, of_fifty=9))
def test_deploy(deploy: Trial, holds: Holds, share: float) -> None:
    holds("deploy", deploy, share)
