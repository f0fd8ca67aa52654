"""The examples in the documents run as they stand."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from ai_edge_litert import schema_py_generated as schema

from edgeprune.bundles.micro_operators import METHODS
from edgeprune.bundles.targets import TARGETS
from edgeprune.errors import EdgepruneError
from edgeprune.firmware.stream.read import _Reading

DOCS = Path(__file__).resolve().parents[1] / "docs"
EXAMPLES = [
    pytest.param(code, id=f"{path.name}-{number}")
    for path in sorted(DOCS.glob("*.md"))
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL))
]


def test_there_are_examples() -> None:
    assert EXAMPLES


def _takes(operator: str) -> bool:
    """Whether the streaming C has a layer for an operator of TFLite; it is asked about one without inputs."""
    reading = object.__new__(_Reading)
    reading._path, reading._place, reading._activations = Path("network.tflite"), 0, {}
    with pytest.raises(EdgepruneError) as refusal:
        reading._read(operator, SimpleNamespace(inputs=[], outputs=[]))
    return f"its operator 0 is {operator}" not in str(refusal.value)


def test_the_operators_of_each_device_are_those_of_the_code() -> None:
    page = (DOCS / "devices.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([A-Z0-9_]+, .+?) \| (yes|no) \| (yes|no)", page, re.MULTILINE)
    listed = {(tflm, stream): set(re.findall(r"\b[A-Z][A-Z0-9_]{2,}\b", operators)) for operators, tflm, stream in rows}
    known = {name for name in vars(schema.BuiltinOperator) if not name.startswith("_")}
    streamed = {name for name in known if _takes(name)}
    assert listed["yes", "yes"] == streamed & set(METHODS)
    assert listed["yes", "no"] == set(METHODS) - streamed
    assert not listed["no", "no"] & (set(METHODS) | streamed)
    assert listed["no", "no"] <= known


def test_every_target_of_deploy_is_told_of() -> None:
    rows = re.findall(r"^\| (`.+?`) \|", (DOCS / "bundles.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(TARGETS) <= {name for row in rows for name in re.findall(r"`(.+?)`", row)}


def test_the_readme_is_short_and_its_picture_shows_the_figures_of_its_table() -> None:
    text = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 120
    rows = {
        cells[0]: cells
        for cells in (re.split(r" *\| *", line.strip("| ")) for line in text.splitlines() if "%" in line)
    }
    for theme in ("light", "dark"):
        figures = re.findall(
            r"<text[^>]*>([^<]+)</text>", (DOCS / "img" / f"chain_{theme}.svg").read_text(encoding="utf-8")
        )
        for name in ("dense int8", "pruned int8"):
            _, parameters, macs, size, *_ = rows[name]
            assert {parameters, macs, size} <= set(figures)
        assert f"{float(rows['pruned int8'][4].split()[0]):.1f} %" in figures


@pytest.mark.parametrize("code", EXAMPLES)
def test_example(code, capsys, tmp_path, monkeypatch) -> None:
    if "cortex-m4" in code and not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")):
        pytest.skip("needs gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "example", "exec"), {"__name__": "example"})
    assert capsys.readouterr().out


def test_a_network_of_ones_own_takes_25_lines() -> None:
    """From the module to a Cortex-M4, blank lines aside."""
    (example,) = [example.values[0] for example in EXAMPLES if example.id == "own_network.md-0"]
    assert {"prune", "export", "bench"} <= set(re.findall(r"edgeprune\.(\w+)\(", example))
    assert "ReLU6" in example
    assert "groups=filters" in example
    assert len([line for line in example.splitlines() if line.strip()]) <= 25


def test_the_messages_of_troubleshooting_are_those_of_the_code() -> None:
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = re.findall(r"^\| `([^`]+)` \| \S", page, re.MULTILINE)
    code = "\n".join(path.read_text(encoding="utf-8") for path in (DOCS.parent / "edgeprune").rglob("*.py"))
    assert len(quoted) > 20
    assert [words for words in quoted if words not in code] == []
