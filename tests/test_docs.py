"""The examples in the documents run as they stand."""

import re
import shutil
from pathlib import Path

import pytest

from edgeprune.bundles.targets import TARGETS

DOCS = Path(__file__).resolve().parents[1] / "docs"
EXAMPLES = [
    pytest.param(code, id=f"{path.name}-{number}")
    for path in sorted(DOCS.glob("*.md"))
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL))
]


def test_there_are_examples() -> None:
    assert EXAMPLES


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
