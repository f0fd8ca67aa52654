"""JSON that runs and caches keep for the next start, damaged in between."""

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hostile import try_inputs
from spoiling import spoil_json

from edgeprune.data import feature_cache
from edgeprune.data.load import RunData
from edgeprune.errors import EdgepruneError
from edgeprune.files import sha256_json, write_json
from edgeprune.graph import cost
from edgeprune.graph.graph import Graph
from edgeprune.graph.graph_cache import kept_graph
from edgeprune.models.registry import make_spec
from edgeprune.recipe import Bench, Recipe
from edgeprune.results.figures import FrontendFigures
from edgeprune.results.run_folder import RunFolder
from edgeprune.running import measure
from edgeprune.running.data import check_same_data
from edgeprune.running.threads import threads_of

HASHES = {"classes": "3faf", "training clips": "5e1c", "split": "77aa"}


def test_graphs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hold) -> None:
    """A graph that a cache holds is the traced one, or is traced again."""
    monkeypatch.setenv("EDGEPRUNE_CACHE", str(tmp_path))
    spec = make_spec("dcase21", 3, (1, 20, 20), 0.25)
    graph = kept_graph(spec, lambda: cost._traced(spec))
    (path,) = (tmp_path / "graphs").iterdir()
    whole = json.loads(path.read_bytes())

    def trace_again() -> Graph:
        raise EdgepruneError("traced again")

    def read(made: bytes) -> None:
        path.write_bytes(made)
        assert kept_graph(spec, trace_again) == graph

    def make(rng: random.Random) -> bytes:
        return spoil_json(rng, whole) if rng.random() < 0.9 else json.dumps(whole).encode()

    hold(try_inputs("graph in a cache", make, read))


def test_manifests_of_features(tmp_path: Path, hold) -> None:
    """What `data verify` reads of every entry of the cache, those of other data sets too."""
    path = tmp_path / "features/entry/manifest.json"
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    states = feature_cache._states(tmp_path, ["a.wav"])
    whole = {"root": str(tmp_path.resolve()), "clips": ["a.wav"], "clips_sha256": sha256_json(states)}
    path.parent.mkdir(parents=True)

    def read(made: bytes) -> None:
        path.write_bytes(made)
        if feature_cache.outdated(tmp_path, tmp_path):
            raise EdgepruneError("is older than its clips")

    hold(try_inputs("manifest of features", lambda rng: spoil_json(rng, whole), read))


KEPT: dict[str, Any] = {
    "data.json": HASHES,
    "threads.json": [{"train": 1, "finetune": 2}, {"train": 2, "finetune": 2}],
    "failed.json": {"reason": "no clips"},
    "frontend.json": [{"board": "cortex-m4", "instructions_per_hop": 43_852.0, "patch": 25_756.0}],
}


@pytest.mark.parametrize("name", KEPT)
def test_files_of_a_run(name: str, tmp_path: Path, hold) -> None:
    folder = RunFolder(tmp_path)
    recipe = Recipe(name="small", out=tmp_path, bench=Bench(devices=("host",)))

    def check_data() -> None:
        check_same_data(cast(RunData, SimpleNamespace(hashes=lambda: HASHES)), folder)

    def read_reason() -> None:
        if folder.failure_reason() == "the reason cannot be read":
            raise EdgepruneError("is not read")

    def read_frontend() -> None:
        FrontendFigures.from_json(measure.frontend_figures(recipe, folder) or {})

    readers = {
        folder.data_file: check_data,
        folder.threads_file: lambda: [str(threads) for threads in threads_of(folder)],
        folder.failure_file: read_reason,
        folder.frontend_file: read_frontend,
    }
    path = tmp_path / name
    write_json(path, KEPT[name])

    def read(made: bytes) -> None:
        path.write_bytes(made)
        readers[path]()

    hold(try_inputs(f"{name} of a run", lambda rng: spoil_json(rng, KEPT[name]), read))
