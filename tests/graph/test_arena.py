"""Planned activation memory: by hand, and against a second planner that looks for addresses byte by byte."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import EXAMPLES

from edgeprune.graph.arena import arena_bytes
from edgeprune.graph.cost import count, graph_of
from edgeprune.graph.trace import trace
from edgeprune.models.registry import make_spec


@pytest.mark.parametrize(
    ("sizes", "lives", "expected"),
    [
        ([], [], 0),
        ([1], [(0, 0)], 16),
        ([16], [(0, 3)], 16),
        ([17], [(0, 0)], 32),
        # alignment: 24 + 24 bytes at once take 32 + 32
        ([24, 24], [(0, 1), (1, 1)], 64),
        # reuse: the third takes the place of the first, which is gone
        ([32, 16, 32], [(0, 0), (0, 1), (1, 1)], 48),
        # three in a row of which two live at once: the middle one is placed first, the others beneath each other
        ([16, 64, 16], [(0, 1), (1, 2), (2, 3)], 80),
        # a gap: 64 at 0, the last 48 at 0 too, the first 48 at 64; 32 lives with both and the 16 bytes between them are
        # too few: 112 to 144, although no more than 112 bytes are ever in memory at once
        ([64, 48, 32, 48], [(0, 1), (0, 2), (2, 3), (3, 4)], 144),
    ],
)
def test_by_hand(sizes, lives, expected) -> None:
    assert arena_bytes(sizes, lives) == expected


def test_a_gap_that_is_too_small_is_left_empty() -> None:
    """Step 0 holds 96 + 32, step 1 32 + 64 and step 2 64 + 80: no more than 144 bytes, yet the head is at 176."""
    sizes = [96, 32, 64, 80]
    lives = [(0, 0), (0, 1), (1, 2), (2, 2)]
    # 96 at 0; 80 at 0 as well, for the two never meet; 64 lives with 80: at 80 to 144; 32 lives with 96 and 64, which
    # together leave nothing free below 144
    assert arena_bytes(sizes, lives) == 176
    at_once = [sum(size for size, (first, last) in zip(sizes, lives, strict=True) if first <= step <= last)
               for step in range(3)]  # fmt: skip
    assert max(at_once) == 144


def test_of_equal_sizes_the_last_is_placed_first() -> None:
    """The order of TFLite Micro's planner, which decides where gaps come to be."""
    sizes = [32, 32, 32, 64]
    lives = [(0, 1), (1, 2), (2, 3), (0, 0)]
    # 64 at 0, gone after step 0; the third 32 at 0, the second at 32; the first lives with 64 and the second: at 64
    assert arena_bytes(sizes, lives) == 96


def _paged(sizes, lives) -> int:
    """Another planner with the same rules: memory as a map of pages of 16 bytes, a row for each step."""
    steps = max(last for _, last in lives) + 1
    pages = [-(-size // 16) for size in sizes]
    taken = np.zeros((steps, sum(pages)), bool)
    for tensor in sorted(range(len(sizes)), key=lambda tensor: (pages[tensor], tensor), reverse=True):
        first, last = lives[tensor]
        free = ~taken[first : last + 1].any(axis=0)
        start = next(at for at in range(sum(pages)) if free[at : at + pages[tensor]].all())
        taken[first : last + 1, start : start + pages[tensor]] = True
    return 16 * int(np.flatnonzero(taken.any(axis=0)).max() + 1)


TENSORS = st.lists(
    st.tuples(st.integers(1, 200), st.integers(0, 7), st.integers(0, 4)).map(
        lambda drawn: (drawn[0], (drawn[1], drawn[1] + drawn[2]))
    ),
    min_size=1,
    max_size=14,
)


@settings(deadline=None, max_examples=200)
@given(tensors=TENSORS)
def test_it_is_what_a_map_of_pages_gives(tensors) -> None:
    sizes, lives = [size for size, _ in tensors], [life for _, life in tensors]
    assert arena_bytes(sizes, lives) == _paged(sizes, lives)


@settings(deadline=None, max_examples=100)
@given(tensors=TENSORS)
def test_it_is_between_what_lives_at_once_and_everything(tensors) -> None:
    sizes, lives = [-(-size // 16) * 16 for size, _ in tensors], [life for _, life in tensors]
    steps = range(max(last for _, last in lives) + 1)
    at_once = max(
        sum(size for size, (first, last) in zip(sizes, lives, strict=True) if first <= step <= last) for step in steps
    )
    assert at_once <= arena_bytes([size for size, _ in tensors], lives) <= sum(sizes)


NETWORKS = {
    "dcase21": ((1, 40, 51), 1.0),
    "vggish": ((1, 48, 32), 0.25),
    "resnet50_cifar": ((3, 32, 32), 0.125),
}


@pytest.mark.parametrize("name", [*NETWORKS, *EXAMPLES])
def test_networks_take_no_less_than_what_is_in_memory_at_once(name) -> None:
    if name in EXAMPLES:
        kind, shape = EXAMPLES[name]
        graph = trace(kind().eval(), torch.zeros(shape))
    else:
        shape, width = NETWORKS[name]
        graph = graph_of(make_spec(name, 10, shape, width))
    rng = np.random.default_rng(0)
    for _ in range(20):
        widths = {group: int(rng.integers(1, found.filters + 1)) for group, found in graph.prunable(True).items()}
        cost = count(graph, widths)
        filters = {group: found.filters for group, found in graph.groups.items()} | widths | {"": 1}
        sizes = [sum(filters[b.group] * b.repeat for b in blocks) * places for blocks, places in graph.tensors]
        assert cost.arena_bytes >= cost.peak_ram_bytes
        assert cost.arena_bytes % 16 == 0
        if max(sizes) < 60_000:  # the map of pages grows with the square
            assert cost.arena_bytes == _paged(sizes, graph.lives)


def test_published_networks_leave_no_gap() -> None:
    """The head that TFLite Micro gives DCASE21_Net, 10 s and 1 s."""
    for shape, expected in (((1, 40, 500), 640_000), ((1, 40, 51), 65_280)):
        cost = count(graph_of(make_spec("dcase21", 10, shape)))
        assert (cost.arena_bytes, cost.peak_ram_bytes) == (expected, expected)


def test_sizes_that_are_no_multiple_of_16_are_rounded_up() -> None:
    """One filter at 40 x 51 takes 2,040 bytes, 2,048 in the arena."""
    graph = graph_of(make_spec("dcase21", 10, (1, 40, 51)))
    cost = count(graph, {"conv1": 1, "conv2": 1, "conv3": 1})
    assert (cost.peak_ram_bytes, cost.arena_bytes) == (2 * 2_040, 2 * 2_048)
