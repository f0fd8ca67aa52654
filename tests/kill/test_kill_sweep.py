"""`sweep` killed at random moments. A stand-in does its cells; by `make kill` they are real runs, also by Ray."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from kills import EDGEPRUNE, KILLS, Trial, moments, tiny

from edgeprune.data.synthetic import ensure

pytestmark = pytest.mark.slow  # starts processes by the dozen

Holds = Callable[[str, Trial, float], None]
STAND_IN = Path(__file__).parents[1] / "comparing" / "sweeping" / "stand_in.py"
WITH_STAND_IN = f"""
import sys
from edgeprune.cli.main import main
from edgeprune.comparing.sweeping import work
work.COMMAND = ({str(STAND_IN)!r},)
sys.exit(main())
"""


@pytest.fixture(scope="module")
def sweep_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Trial]:
    """A sweep of two cells by an engine."""

    def trial(engine: str) -> Trial:
        folder = tmp_path_factory.mktemp(engine)
        work, script = folder / "work", folder / "tiny.py"
        ensure(folder / "scenes", clips_per_scene=9)
        recipe = tiny(folder / "scenes", folder / "features")
        script.write_text(f"from edgeprune.recipe_files import from_dict\nrecipe = from_dict({recipe.to_dict()!r})\n")
        program = EDGEPRUNE if KILLS else (sys.executable, "-c", WITH_STAND_IN)
        grid = ("--keep", "0.5", "--controls", "none", "--jobs", "2", "--engine", engine)
        command = (*program, "sweep", script, *grid, "--out", work / "sweep")
        return Trial(work, command, lambda _: None, differs=("*/log.txt", "*/seconds.json", "*/calls.txt"))

    return trial


@pytest.fixture(scope="module")
def local(sweep_of: Callable[[str], Trial]) -> Trial:
    return sweep_of("local")


@pytest.fixture(scope="module")
def ray(sweep_of: Callable[[str], Trial]) -> Trial:
    pytest.importorskip("ray", reason="needs Ray: pip install 'edgeprune[ray]'")
    return sweep_of("ray")


@pytest.mark.parametrize("share", moments("sweep", few=1, of_fifty=4))
def test_sweep(local: Trial, holds: Holds, share: float) -> None:
    holds("sweep", local, share)


if KILLS:  # Ray takes its time to start; `test_engine_ray` kills a sweep by Ray once

    @pytest.mark.parametrize("share", moments("sweep by Ray", few=0, of_fifty=2))
    def test_sweep_by_ray(ray: Trial, holds: Holds, share: float) -> None:
        holds("sweep by Ray", ray, share)
