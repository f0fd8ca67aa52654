"""The model card says what the run says, and nothing it does not."""

import json
import re
import shutil
from pathlib import Path

import made_runs

from edgeprune.evaluation.statistics import wilson_interval
from edgeprune.submitting.card import card_of_model, write_card


def card(run: Path, tmp_path: Path) -> str:
    return write_card(run, tmp_path / "card.md").read_text(encoding="utf-8")


def rows(text: str, first: str) -> list[str]:
    """Cells of the table's row that starts with a word."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_card_of_a_run(run, tmp_path):
    text, result = card(run, tmp_path), json.loads((run / "result.json").read_text())
    artefact = result["artefacts"]["int8"]
    assert artefact["sha256"] in text
    assert "non-commercial" in text  # the data's licence
    assert "Heittola" in text  # whom to cite
    assert rows(text, "parameters")[2] == f"{10 * 6 * 51 + 10:,}"
    bus = artefact["accuracy"]["per_class"]["bus"]
    low, high = wilson_interval(round(bus["accuracy"] * bus["clips"]), bus["clips"])
    cells = [f"{bus['clips']}", f"{100 * bus['accuracy']:.1f} %", f"{100 * low:.1f} to {100 * high:.1f} %"]
    assert rows(text, "bus")[1:4] == cells
    assert rows(text, "s6")[1] == "20"
    assert rows(text, "cortex-m4")[1:3] == ["emulated", "1,234,567"]
    assert "3 patches named otherwise" in text
    assert rows(text, "conv1")[1:] == ["16", "8"]
    assert str(run) not in text  # no place of this machine


def test_card_of_a_file_is_that_of_its_run(run, tmp_path):
    text = card(run, tmp_path)
    assert card_of_model(run) == card_of_model(run / "model_int8.tflite") == text
    assert card_of_model(run / "model_int8_waveform.tflite") == text
    assert card_of_model(run / "other.tflite") is None
    assert card_of_model(tmp_path / "model_int8.tflite") is None


def test_sections_without_figures_are_left_out(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    result = json.loads((copy / "result.json").read_text())
    result |= {"latency": [], "widths": {}, "versions": {}}
    del result["artefacts"]["int8"]["accuracy"], result["artefacts"]["int8"]["parity"]
    (copy / "result.json").write_text(json.dumps(result))
    headings = re.findall(r"^## (.*)$", card(copy, tmp_path), re.MULTILINE)
    assert not {"Latency", "Accuracy", "Quantisation and parity"} & set(headings)
    assert "Limits" in headings


def test_names_cannot_break_the_tables(tmp_path):
    run = made_runs.make_run(tmp_path / "run")
    result = json.loads((run / "result.json").read_text())
    per_class = result["artefacts"]["int8"]["accuracy"]["per_class"]
    per_class["a|b\n## c <script>"] = per_class.pop("bus")
    (run / "result.json").write_text(json.dumps(result))
    text = card(run, tmp_path)
    assert "a\\|b ## c &lt;script>" in text
    assert "\n## c" not in text
