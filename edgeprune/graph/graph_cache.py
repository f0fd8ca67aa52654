"""Graphs of the registry's networks on disk, since importing `torch.export` takes longer than all else `cost` does.

A file is named by the network's spec and by what the graph follows from: this package's `graph` and `models`, and the
version of PyTorch. It holds one graph as JSON and that graph's hash.
"""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgeprune.errors import EdgepruneError
from edgeprune.files import default_cache, read_json, sha256_json, write_json
from edgeprune.graph.graph import Block, Blocks, Cut, FilterGroup, Graph, Operator
from edgeprune.models.registry import ModelSpec

_BLOCKS = ("filters", "inputs", "biases", "norm")


def kept_graph(spec: ModelSpec, trace: Callable[[], Graph]) -> Graph:
    """The graph of a spec from the cache, where `trace` puts it the first time; a damaged file is written again."""
    path = default_cache() / "graphs" / f"{sha256_json([_sources(), asdict(spec)])[:32]}.json"
    with suppress(EdgepruneError, KeyError, TypeError):
        kept = read_json(path)
        if kept["sha256"] == sha256_json(kept["graph"]):
            return _graph(kept["graph"])
    graph = trace()
    with suppress(EdgepruneError, OSError):  # a cache that cannot be written only costs time
        path.parent.mkdir(parents=True, exist_ok=True)
        content = asdict(graph)
        write_json(path, {"sha256": sha256_json(content), "graph": content})
    return graph


@cache
def _sources() -> str:
    """A hash of the code and of the version of PyTorch that a graph follows from."""
    package = Path(__file__).parent.parent
    digest = hashlib.sha256(version("torch").encode())
    for path in sorted(path for folder in ("graph", "models") for path in (package / folder).rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _graph(content: dict[str, Any]) -> Graph:
    return Graph(
        operators=tuple(_operator(operator) for operator in content["operators"]),
        groups={
            name: FilterGroup(**group | {"layers": tuple(group["layers"])}) for name, group in content["groups"].items()
        },
        tensors=tuple((_blocks(blocks), positions) for blocks, positions in content["tensors"]),
        outputs=tuple(content["outputs"]),
        cuts=tuple(Cut(**{**cut, "channels": _blocks(cut["channels"])}) for cut in content["cuts"]),
        keeps_norms=content["keeps_norms"],
    )


def _operator(content: dict[str, Any]) -> Operator:
    lists = {name: tuple(content[name]) for name in ("shape", "reads", "writes")}
    return Operator(**{**content, **lists, **{name: _blocks(content[name]) for name in _BLOCKS}})


def _blocks(content: list[dict[str, Any]]) -> Blocks:
    return tuple(Block(block["group"], block["repeat"], tuple(block["order"])) for block in content)
