"""The notebooks run from top to bottom with the public API alone, and what they promise holds."""

import ast
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = Path(__file__).resolve().parents[1] / "docs" / "notebooks"
needs_board = pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
    reason="needs gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm",
)


def _code_cells(path: Path) -> list[str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_imports_nothing_from_below_the_package(path) -> None:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert not any(cell.get("outputs") for cell in cells), "clear the outputs"
    imported = [
        node.module if isinstance(node, ast.ImportFrom) else alias.name
        for code in _code_cells(path)
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    ]
    assert "edgeprune" in imported
    assert not [name for name in imported if (name or "").startswith("edgeprune.")]


@needs_board
@pytest.mark.slow
def test_a_network_of_ones_own_gets_to_the_microcontroller(tmp_path, monkeypatch) -> None:
    """The example of docs/pruning.md: pruned, exported, measured on three devices, and its firmware builds and runs."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for code in _code_cells(NOTEBOOKS / "own_network.ipynb"):
        exec(compile(code, "own_network.ipynb", "exec"), names)
    files, allocation = names["files"], names["allocation"]
    assert files.cost.macs <= 20_000_000 < names["edgeprune"].cost(names["model"], names["mel"]).macs
    assert files["int8"].cost().params == allocation.reached["params"] <= 30_000
    assert files.parity["float32"].max_abs_error < 1e-5
    (record,) = names["cortex"].records
    assert (record.kind, record.unit) == ("emulated", "instructions")
    assert record.median > files.cost.macs / 4
    done = subprocess.run(["make", "-s", "run"], cwd=names["bundle"], capture_output=True, text=True, timeout=300)
    assert "vectors: 10 of 10 right" in done.stdout, done.stdout + done.stderr
