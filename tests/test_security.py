"""What SECURITY.md promises: the tests it names are there, and no code executes what it reads."""

import ast
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import edgeprune
from edgeprune.data.image_files import read_npz
from edgeprune.devices.page_server import open_server
from edgeprune.errors import EdgepruneError
from edgeprune.models import checkpoint
from edgeprune.models.published import published_tensors
from edgeprune.training.checkpoint_io import AtomicCheckpointIO

ROOT = Path(__file__).resolve().parents[1]
POLICY = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
NAMED = re.findall(r"tests/[\w/]+\.py(?:::\w+)?", POLICY)
FORBIDDEN = {"eval", "exec", "os.system", "os.popen", "yaml.load", "pickle.load", "pickle.loads", "marshal.loads"}


def named_test(name: str) -> bool:
    path, _, function = name.partition("::")
    file = ROOT / path
    if not file.is_file():
        return False
    functions = [node.name for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if hasattr(node, "name")]
    return not function or function in functions


def test_every_test_that_is_named_exists() -> None:
    assert len(NAMED) > 40
    assert [name for name in NAMED if not named_test(name)] == []
    assert not named_test("tests/test_security.py::test_none_of_this_name")


def test_every_promise_names_a_test() -> None:
    tables = POLICY.partition("## Figures")[0]
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", tables, re.MULTILINE)
    promises = [row for row in rows if row[1] != "held by"]
    assert len(promises) > 15
    assert [what for what, held_by in promises if "tests/" not in held_by] == []


def _calls(source: str) -> list[tuple[str, dict[str, Any]]]:
    """Every call as it is written, with its keywords' constants."""
    return [
        (ast.unparse(node.func), {each.arg: getattr(each.value, "value", ...) for each in node.keywords if each.arg})
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
    ]


def _dangers(source: str) -> list[str]:
    found = []
    for name, keywords in _calls(source):
        unsafe = name in FORBIDDEN or keywords.get("shell") not in (None, False)
        unsafe |= name == "torch.load" and keywords.get("weights_only") is not True
        unsafe |= keywords.get("allow_pickle") not in (None, False)
        if unsafe:
            found.append(f"{name}({', '.join(keywords)})")
    return found


@pytest.mark.parametrize(
    "source",
    ["torch.load(path)", "torch.load(path, weights_only=False)", "numpy.load(path, allow_pickle=True)", "eval(text)",
     "subprocess.run(line, shell=True)", "os.system(line)", "yaml.load(text, Loader)", "pickle.loads(content)"],
)  # fmt: skip
def test_each_way_to_execute_is_seen(source: str) -> None:
    assert _dangers(source)


def test_no_call_executes_what_is_read() -> None:
    """Recipes alone are programs; `recipe_files` imports those that the user names."""
    package = Path(edgeprune.__file__).parent
    found = {
        str(path.relative_to(package)): dangers
        for path in package.rglob("*.py")
        if (dangers := _dangers(path.read_text(encoding="utf-8")))
    }
    assert found == {}


class _Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Path]]:
        return (Path.touch, (self.path,))


READERS: dict[str, Callable[[Path], Any]] = {
    "checkpoint": checkpoint.load,
    "state of a training": lambda path: AtomicCheckpointIO().load_checkpoint(path, weights_only=True),
    "published weights": lambda path: published_tensors(path, [], {}, "VGGish", "the port", "others"),
    "images": lambda path: read_npz(path, ("images",)),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", ["torch", "pickle", "npy", "npz"])
def test_no_pickle_is_executed(tmp_path: Path, reader: str, kind: str) -> None:
    mark = tmp_path / "executed"
    path = tmp_path / f"hostile.{kind}"
    with path.open("wb") as stream:
        if kind == "torch":
            torch.save({"model": _Touch(mark)}, stream)
        elif kind == "pickle":
            pickle.dump(_Touch(mark), stream)
        else:
            array = np.array([_Touch(mark)], dtype=object)
            np.save(stream, array, allow_pickle=True) if kind == "npy" else np.savez(stream, images=array)
    assert b"touch" in path.read_bytes(), "else this test shows nothing"
    with pytest.raises(EdgepruneError):
        READERS[reader](path)
    assert not mark.exists()


def test_pages_are_served_to_this_computer_alone(tmp_path: Path) -> None:
    with open_server(tmp_path) as server:
        assert server.server_address[0] == "127.0.0.1"
