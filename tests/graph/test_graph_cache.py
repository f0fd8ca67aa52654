"""Graphs of the registry's networks, kept on disk between commands."""

import json

import pytest

from edgeprune.graph import cost
from edgeprune.graph.graph_cache import kept_graph
from edgeprune.models.registry import ENTRIES, make_spec

SPEC = make_spec("dcase21", 3, (1, 20, 20), 0.25)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEPRUNE_CACHE", str(tmp_path))
    return tmp_path / "graphs"


def _never():
    raise AssertionError("was traced again")


@pytest.mark.parametrize("name", ["dcase21", "cnn14", "resnet50_cifar"])
def test_a_kept_graph_is_the_traced_one(folder, name) -> None:
    assert name in ENTRIES
    spec = make_spec(name, width=0.25)
    traced = kept_graph(spec, lambda: cost._traced(spec))
    assert kept_graph(spec, _never) == traced
    assert cost.count(kept_graph(spec, _never)) == cost.count(traced)


def test_other_specs_have_other_files(folder) -> None:
    for classes in (3, 4):
        spec = make_spec("dcase21", classes, (1, 20, 20), 0.25)
        kept_graph(spec, lambda spec=spec: cost._traced(spec))
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"operators": [{}], "groups": {}}'])
def test_a_damaged_file_is_written_again(folder, content) -> None:
    traced = kept_graph(SPEC, lambda: cost._traced(SPEC))
    (path,) = folder.iterdir()
    path.write_text(content)
    assert kept_graph(SPEC, lambda: traced) == traced
    assert kept_graph(SPEC, _never) == traced


def test_a_changed_graph_is_traced_again(folder) -> None:
    """An altered number of filters would give other costs, and nothing would say so."""
    traced = kept_graph(SPEC, lambda: cost._traced(SPEC))
    (path,) = folder.iterdir()
    content = json.loads(path.read_text())
    conv1 = content["graph"]["groups"]["conv1"]
    conv1["filters"] -= 1
    path.write_text(json.dumps(content))
    assert kept_graph(SPEC, lambda: traced) is traced
    assert kept_graph(SPEC, _never) == traced


def test_a_cache_that_cannot_be_written_does_no_harm(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGEPRUNE_CACHE", str(tmp_path / "file"))
    traced = kept_graph(SPEC, lambda: cost._traced(SPEC))
    assert kept_graph(SPEC, lambda: traced) is traced
