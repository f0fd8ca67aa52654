"""The public API, used as in a notebook."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_networks import Residual

import edgeprune
from edgeprune import Budget, Data, Prune, Recipe
from edgeprune.errors import EdgepruneError


def test_every_public_name_is_there_and_documented():
    for name in edgeprune.__all__:
        assert getattr(edgeprune, name).__doc__, name
    assert set(edgeprune.__all__) <= set(dir(edgeprune))
    with pytest.raises(AttributeError, match="no attribute 'prune_all'"):
        edgeprune.prune_all  # noqa: B018


def test_functions_stay_functions_whatever_was_imported():
    """No module of the same name takes the place of a function."""
    code = "import edgeprune; edgeprune.evaluate; print(callable(edgeprune.run), callable(edgeprune.compare))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"


def test_importing_it_imports_nothing_heavy():
    code = "import sys, edgeprune; print({'torch', 'pandas', 'numpy', 'rich', 'tyro'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_sizes_are_written_as_on_the_command_line():
    assert Budget(params="30k", macs="8M", flash="20kB", peak_ram="1MiB") == Budget(30_000, 8_000_000, 1 << 20, 20_000)
    with pytest.raises(EdgepruneError, match="much"):
        Budget(flash="much")


def test_paths_are_written_as_text():
    assert Data(root="clips", cache="cache") == Data(root=Path("clips"), cache=Path("cache"))
    assert Recipe(name="r", out="runs/r").folder() == Path("runs/r")


def test_cost_of_a_name_a_module_and_a_table():
    cost = edgeprune.cost("dcase21", torch.zeros(1, 1, 40, 51))
    assert (cost.params, cost.macs, cost.arena_bytes) == (45_990, 29_203_560, 65_280)
    assert "conv1" in cost._repr_html_()
    own = edgeprune.cost(torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, bias=False)), torch.zeros(1, 1, 5, 5))
    assert (own.params, own.macs) == (36 + 4, 36 * 9)  # the file holds a bias a filter, here zeros
    with pytest.raises(EdgepruneError, match="example"):
        edgeprune.cost(torch.nn.Linear(2, 2))


def test_prune_meets_a_budget_in_text_and_shows_what_stays():
    model, example = Residual(), torch.zeros(1, 3, 8, 8)
    most = edgeprune.cost(model, example).params * 6 // 10
    slim, allocation = edgeprune.prune(model, example, Budget(params=str(most)), Prune(criterion="l1"))
    assert edgeprune.cost(slim, example).params == allocation.reached["params"] <= most
    assert len(allocation.table()) == len(allocation.widths)


def test_score_ranks_filters():
    weight = torch.stack([torch.full((1, 3, 3), size) for size in (1.0, 3.0, 2.0)])
    assert edgeprune.score(weight, criterion="l1").argsort().tolist() == [0, 2, 1]


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(EdgepruneError, match="not a run folder"):
        edgeprune.load(tmp_path)
