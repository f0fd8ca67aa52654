"""The notebooks run from top to bottom with the public API alone, and what they promise holds."""

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import run_notebooks  # noqa: E402

NOTEBOOKS = ROOT / "docs" / "notebooks"
EXECUTED = ("quickstart", "own_recordings")
needs_board = pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
    reason="needs gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm",
)


def _code_cells(path: Path) -> list[str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_imports_nothing_from_below_the_package(path) -> None:
    imported = [
        node.module if isinstance(node, ast.ImportFrom) else alias.name
        for code in _code_cells(path)
        if not code.startswith("!")
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    ]
    assert "edgeprune" in imported
    assert not [name for name in imported if (name or "").startswith("edgeprune.")]


@pytest.mark.parametrize("name", EXECUTED)
def test_stored_outputs_are_those_of_one_pass_without_an_error(name) -> None:
    text = (NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8")
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} == {"stream", "execute_result"}
    assert not re.search(r"/(tmp|root|home)/", text)
    assert len(text) < 500_000


@pytest.mark.slow
@pytest.mark.parametrize("name", EXECUTED)
def test_a_notebook_runs(name, tmp_path) -> None:
    """With one epoch of each training."""
    notebook = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        short = re.sub(r"epochs([= ])\d+", r"epochs\g<1>1", "".join(cell["source"]))
        cell["source"] = re.sub(r"clips_per_scene=\d+", "clips_per_scene=12", short)
    names = run_notebooks.run_notebook(notebook, tmp_path)
    networks = names["result"].networks
    assert networks["pruned"].files["int8"].cost.macs <= 8_200_000 < networks["dense"].files["int8"].cost.macs
    shown = [output for cell in notebook["cells"] for output in cell.get("outputs", ())]
    assert sum("image/png" in output.get("data", {}) for output in shown) >= 2


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
