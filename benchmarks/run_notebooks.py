"""Run notebooks of docs/notebooks from top to bottom and store what their cells show.

    python benchmarks/run_notebooks.py docs/notebooks/quickstart.ipynb

Each runs in a scratch folder. A cell is Python, or commands of the shell after `!`. Progress, which goes to standard
error, is left out.
"""

import ast
import base64
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def run_notebook(notebook: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run the cells in `folder`, with their outputs stored in the notebook; returns the names that they leave."""
    names: dict[str, Any] = {"__name__": "__main__"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with contextlib.chdir(folder):
        code_cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        for number, cell in enumerate(code_cells, start=1):
            code = "".join(cell["source"])
            printed, value = _run_shell(code, path) if code.startswith("!") else _run_python(code, names)
            outputs = [_stream(printed.replace(f"{folder}/", ""))] if printed else []
            cell["outputs"] = outputs + ([] if value is None else [_shown(value, number)])
            cell["execution_count"] = number
    return names


def _run_shell(code: str, path: str) -> tuple[str, None]:
    commands = "\n".join(line.removeprefix("!") for line in code.splitlines())
    environment = os.environ | {"PATH": path, "COLUMNS": "100"}
    done = subprocess.run(["bash", "-ec", commands], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{commands}\n{done.stdout}{done.stderr}")
    return done.stdout, None


def _run_python(code: str, names: dict[str, Any]) -> tuple[str, Any]:
    """What a cell prints, and the value of the expression that it ends with."""
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(tree, "cell", "exec"), names)
        value = eval(compile(ast.Expression(last.value), "cell", "eval"), names) if isinstance(last, ast.Expr) else None
    return printed.getvalue(), value


def _stream(text: str) -> dict[str, Any]:
    return {"name": "stdout", "output_type": "stream", "text": text.splitlines(keepends=True)}


def _shown(value: Any, number: int) -> dict[str, Any]:
    """A value as a notebook shows it: as text, and as a table or a picture where it has one."""
    html, png = (getattr(value, name, lambda: None)() for name in ("_repr_html_", "_repr_png_"))
    data: dict[str, Any] = {"text/plain": repr(value).splitlines(keepends=True)}
    if html:
        data |= {"text/html": html.splitlines(keepends=True), "text/plain": [f"<{type(value).__name__}>"]}
    if png:
        data |= {"image/png": base64.b64encode(png).decode()}
    return {"data": data, "execution_count": number, "metadata": {}, "output_type": "execute_result"}


if __name__ == "__main__":
    for name in sys.argv[1:]:
        content = json.loads(Path(name).read_text(encoding="utf-8"))
        with tempfile.TemporaryDirectory() as scratch:
            run_notebook(content, Path(scratch))
        Path(name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
