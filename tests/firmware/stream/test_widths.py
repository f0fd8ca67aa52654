"""State and tables by width: what the solver counts is what the compiler writes, to the byte."""

import re
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from traced_networks import SPECS, costs_of, random_widths

from edgeprune.firmware.stream.compile import compile_stream
from edgeprune.firmware.stream.emit import emit_program
from edgeprune.graph.cost import graph_of
from edgeprune.models.registry import make_spec
from edgeprune.tflite.rewidth import Template

COSTS = {name: costs_of(spec) for name, spec in SPECS.items()}
SIZES = {"int8_t": 1, "int32_t": 4, "uint32_t": 4, "ep_filter": 16}


def _taken(costs, widths):
    """Bytes of the state and of the tables, without what does not depend on the widths."""
    fixed = costs.corrected({"peak_ram": 0, "flash": 0})
    return fixed.of(widths)


def _written(plan) -> tuple[int, int]:
    """Bytes of the state and of all constant arrays in the compiler's C."""
    program = emit_program(plan, "net", "")
    arrays = re.findall(r"^static const (\w+) \w+((?:\[\d+\])+) =", program.source, re.MULTILINE)
    tables = sum(SIZES[kind] * prod(map(int, re.findall(r"\d+", sizes))) for kind, sizes in arrays)
    return program.state_bytes, tables


@pytest.mark.parametrize("name", sorted(SPECS))
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_bytes_by_width_are_those_of_the_compiled_network(name, seed):
    widths = random_widths(SPECS[name], seed)
    taken = _taken(COSTS[name], widths)
    assert (taken["peak_ram"], taken["flash"]) == _written(COSTS[name].plan(widths))


@pytest.mark.parametrize("name", sorted(SPECS))
def test_no_width_takes_less_than_the_polynomials_say(name):
    costs = COSTS[name].corrected({"peak_ram": 0, "flash": 0})
    names = list(graph_of(SPECS[name]).prunable(dense_layers=True))
    rows = np.array([[random_widths(SPECS[name], seed)[group] for group in names] for seed in range(200)])
    below = costs.below(names).costs(rows)
    for limit in ("peak_ram", "flash"):
        taken = costs.bytes(limit, rows, names)
        assert (below[limit] <= taken).all()
        assert (below[limit] > taken * 0.3).all(), "so low a bound would prove nothing"


def test_rings_of_half_the_filters_by_hand():
    """DCASE21_Net that walks time: seven rows of 40 (behind the pool 8) mels with their padding, pairs of channels."""
    plan = COSTS["dcase21"].plan({"conv1": 8, "conv2": 8, "conv3": 16})
    rings = {ring.name: ring.bytes for ring in plan.rings}
    assert rings["conv2_input"] == 7 * (3 + 40 + 3) * 4 * 4
    assert rings["conv3_input"] == 7 * (3 + 8 + 3) * 4 * 4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dcase21", "vggish"])
def test_an_exported_file_takes_what_was_planned_at_any_width(name, networks, tmp_path):
    """The converter's operators, paddings and scales lead to the plan that was made from the network alone."""
    spec = networks[name].spec
    costs, template = costs_of(spec), Template(networks[name].files["int8"], graph_of(spec))
    for seed in range(5):
        widths = random_widths(spec, seed)
        path = tmp_path / f"{seed}.tflite"
        path.write_bytes(template.file(widths))
        walk = "width" if costs.layout == "mels_frames" else "height"
        assert compile_stream(path, tmp_path, walk=walk).state_bytes == _taken(costs, widths)["peak_ram"]


def test_time_is_walked_and_ten_seconds_take_what_one_takes():
    """Rings are as long as the mels, whatever the frames."""
    short, long = (costs_of(make_spec("dcase21", 10, (1, 40, frames))) for frames in (51, 500))
    assert short.takes_frames
    assert short.of({})["peak_ram"] == long.of({})["peak_ram"]
