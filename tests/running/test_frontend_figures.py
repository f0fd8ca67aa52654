"""The front-end's cost as a stage of a run: instructions are counted once a board and kept."""

from pathlib import Path

import pytest

from edgeprune.devices.frontend_cost import FrontendInstructions
from edgeprune.errors import CheckFailedError
from edgeprune.files import read_json
from edgeprune.recipe import Bench, Data, LogMel, Recipe
from edgeprune.results.run_folder import RunFolder
from edgeprune.running import measure

BOARDS = ("cortex-m4", "cortex-m7")


def recipe(**fields) -> Recipe:
    return Recipe(name="mine", frontend=LogMel.dcase21(16000, 1.0), bench=Bench(devices=("host", *BOARDS)), **fields)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The boards that instructions were counted on; the second one fails once."""
    boards: list[str] = []

    def instructions_per_hop(spec: LogMel, board: str, timeout_s: float) -> FrontendInstructions:
        boards.append(board)
        if board == BOARDS[1] and boards.count(board) == 1:
            raise CheckFailedError("cortex-m7: no answer.")
        return FrontendInstructions(board, "emulated", 48_000.0, 47_000, 49_000, 5_000, 20, 9_136, 8_724, 512)

    monkeypatch.setattr(measure, "instructions_per_hop", instructions_per_hop)
    return boards


def test_each_board_is_counted_once_and_kept(counted, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(CheckFailedError):
        measure.frontend_figures(recipe(), folder)
    assert [row["board"] for row in read_json(folder.frontend_file)] == ["cortex-m4"]
    figures = measure.frontend_figures(recipe(), folder)
    assert counted == ["cortex-m4", "cortex-m7", "cortex-m7"]
    assert measure.frontend_figures(recipe(), folder) == figures
    assert len(counted) == 3
    assert figures is not None
    assert [row["board"] for row in figures["emulated"]] == list(BOARDS)
    assert figures["hop_s"] == 0.02


def test_no_file_is_left_where_nothing_was_counted(counted, tmp_path: Path) -> None:
    host = recipe()
    host = Recipe(name="mine", frontend=host.frontend)
    figures = measure.frontend_figures(host, RunFolder(tmp_path))
    assert figures is not None
    assert figures["emulated"] == []
    assert not list(tmp_path.iterdir())


def test_images_have_no_frontend(counted, tmp_path: Path) -> None:
    assert measure.frontend_figures(recipe(data=Data(name="mnist")), RunFolder(tmp_path)) is None
    assert counted == []
