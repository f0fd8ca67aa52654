"""A run whose budget limits the program on the device: RAM and flash are read back from what is linked of its file."""

from dataclasses import replace

import pytest
from calls import call, call_json
from tiny_runs import tiny

from edgeprune.devices.linked_program import can_link, link_program
from edgeprune.files import read_json
from edgeprune.recipe import Bench, Budget, Export, Prune
from edgeprune.running import program
from edgeprune.running.run import run

pytestmark = [
    pytest.mark.slow,  # trains and exports a small network
    pytest.mark.skipif(not can_link(), reason="needs arm-none-eabi-gcc and qemu-system-arm"),
]
RAM = 10_500


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """16 kHz, one second, a quarter of the width; the front-end alone takes 5.6 kB."""
    folder = tmp_path_factory.mktemp("program")
    return replace(
        tiny(folder / "run", folder),
        prune=Prune(),
        budget=Budget(peak_ram=RAM, runtime="stream", include_frontend=True),
        export=Export(formats=("int8",), dense_formats=(), calibration_clips=20),
        bench=Bench(devices=(), runs=3),
    )


@pytest.fixture(scope="module")
def result(recipe):
    return run(recipe)


def test_the_program_of_the_shipped_file_keeps_the_budget(recipe, result):
    linked = link_program(recipe.folder() / "model_int8.tflite", recipe.frontend, "mels_frames")
    budget = read_json(recipe.folder() / "result.json")["budget"]
    assert budget["reached"]["peak_ram"] == linked.ram_bytes <= RAM
    assert budget["reached"]["flash"] == linked.flash_bytes
    assert budget["program"]["kind"] == result.budget.program_kind == "emulated"
    assert linked.ram_bytes > 0.9 * RAM, "the budget is used"
    assert "RAM of the linked program, emulated" in (recipe.folder() / "report.html").read_text()


def test_cost_shows_both_runtimes_of_the_file(recipe, result, capsys):
    file = recipe.folder() / "model_int8.tflite"
    runtimes = call_json(capsys, "cost", file)["runtimes"]
    assert runtimes["tflm"]["arena_bytes"] == result.networks["pruned"].files["int8"].cost.arena_bytes
    assert 0 < runtimes["stream"]["state_bytes"] < link_program(file).ram_bytes
    assert "Streaming C: a state of " in call(capsys, "cost", file)[1]


def test_a_program_over_the_budget_is_refused(recipe, result, monkeypatch, capsys):
    """As if the file's program had turned out larger than that of its plan."""
    folder = recipe.folder()
    (folder / "result.json").unlink()
    (folder / "program.json").unlink()
    linked = link_program(folder / "model_int8.tflite", recipe.frontend, "mels_frames")
    monkeypatch.setattr(program, "link_program", lambda *_: replace(linked, ram_bytes=RAM + 12))
    code, _, err = call(capsys, "run", folder / "recipe.json")
    assert code == 3
    assert "takes peak ram 10,512 of 10,500" in " ".join(err.split())
