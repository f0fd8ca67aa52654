"""Sweeps whose cells are done by a stand-in."""

from pathlib import Path

import pytest
from sweeps import STAND_IN

from edgeprune.comparing.sweeping import work
from edgeprune.recipe import Bench, Budget, Data, Export, LogMel, Model, Prune, Recipe, Train


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """The smallest recipe that could be run."""
    return Recipe(
        name="tiny",
        data=Data(clips_per_scene=9, root=tmp_path / "scenes", cache=tmp_path / "cache", validation=0.2),
        frontend=LogMel.dcase21(16000, 1.0),
        model=Model(width=0.25),
        train=Train(epochs=1, batch_size=16),
        prune=Prune(keep=0.75),
        budget=Budget(macs=1_000_000),
        finetune=Train(epochs=1, batch_size=16, distillation=0.5),
        export=Export(formats=("float32",), calibration_clips=20),
        bench=Bench(runs=3),
    )


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """All engines use it."""
    monkeypatch.setattr(work, "COMMAND", STAND_IN)


@pytest.fixture
def script(tmp_path: Path, recipe: Recipe) -> Path:
    """A file with the recipe."""
    path = tmp_path / "tiny.py"
    path.write_text(
        "from edgeprune.recipe_files import from_dict\n"
        f"recipe = from_dict({recipe.to_dict()!r})\n"
        "if __name__ == '__main__':\n    recipe.main()\n"
    )
    return path
