"""The plan of the house: a folder imports only those before it, and no files import each other in a circle."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import edgeprune

ROOT = Path(edgeprune.__file__).parent
GROUND = (
    "version",
    "errors",
    "units",
    "scratch",
    "files",
    "cores",
    "plain_output",
    "table_layout",
    "console",
    "tabular",
    "spreadsheet",
    "script",
    "flags",
    "exit_codes",
    "frontend",
    "recipe",
)
LAYERS = (
    *(*GROUND, "recipe_files", "audio", "data", "models", "graph", "tflite", "pruning", "training", "evaluation"),
    *("convert", "firmware", "devices", "results", "reporting", "bundles", "running", "comparing", "submitting", "cli"),
    *("plots", "__init__", "__main__"),
)


def imports() -> dict[str, set[str]]:
    """By module, the modules of edgeprune it imports anywhere, also inside functions and for types alone."""
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in ROOT.rglob("*.py")}
    found: dict[str, set[str]] = {}
    for module, path in modules.items():
        names = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "edgeprune":
                package = node.module.removeprefix("edgeprune").lstrip(".")
                names |= {f"{package}.{alias.name}".lstrip(".") for alias in node.names} | {package}
            elif isinstance(node, ast.Import):
                names |= {alias.name.removeprefix("edgeprune.") for alias in node.names}
        names |= {f"{name}.__init__" for name in names}
        found[module] = names & modules.keys() - {module}
    return found


def test_a_folder_imports_only_those_before_it():
    place = {name: number for number, name in enumerate(LAYERS)}
    up = [
        f"{module} -> {other}"
        for module, others in imports().items()
        for other in others
        if place[other.split(".")[0]] > place[module.split(".")[0]]
    ]
    assert not up, "\n".join(sorted(up))


def test_no_files_import_each_other_in_a_circle():
    TopologicalSorter(imports()).prepare()  # raises CycleError, which names the files


def test_files_and_functions_fit_a_reader():
    """At most 450 lines a file, 60 a function, 7 arguments; no two classes of one name."""
    classes: dict[str, str] = {}
    for path in ROOT.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 450, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                names = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                assert (node.end_lineno or 0) - node.lineno < 60, f"{path}: {node.name}"
                assert len([name for name in names if name not in ("self", "cls")]) <= 7, f"{path}: {node.name}"
            elif isinstance(node, ast.ClassDef):
                assert classes.setdefault(node.name, str(path)) == str(path), f"{node.name} is in two files"
