"""Scores from the weights alone against their definitions, written out, and against what all of them must satisfy."""

from collections.abc import Callable
from itertools import accumulate, product

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.profiler import ProfilerActivity, profile

from edgeprune.pruning.scores import CRITERIA, operator_norm, rank_correlation, score

LAYERS = ["conv1", "conv2", "conv3"]
ORDER_FREE = ["operator_norm_unsigned", "l1", "l2", "geometric_mean", "geometric_median", "similarity"]
DETERMINISTIC = ["operator_norm", *ORDER_FREE]
OPERATOR_NORMS = ["operator_norm", "operator_norm_unsigned"]

# convolutions of two dimensions and of one, depthwise ones, kernels of one position, dense layers
shapes = st.tuples(
    st.integers(2, 10), st.integers(1, 5), st.sampled_from([(), (1, 1), (3, 3), (7, 7), (2, 5), (4,), (1,)])
)
seeds = st.integers(0, 2**32 - 1)


def test_no_criterion_is_left_out() -> None:
    assert {*DETERMINISTIC, "random"} == {name for name, one in CRITERIA.items() if one.needs == "weight"}


@pytest.fixture(scope="module")
def golden(shared_golden):
    with np.load(shared_golden / "seed_scores_dcase21_net.npz") as content:
        return dict(content)


def _draw(shape: tuple[int, int, tuple[int, ...]], seed: int) -> np.ndarray:
    filters, channels, kernel = shape
    return np.random.default_rng(seed).standard_normal((filters, channels, *kernel)).astype(np.float32)


def _ours(weight: np.ndarray, criterion: str) -> np.ndarray:
    return score(torch.from_numpy(weight), criterion).numpy()


# The geometric mean


@pytest.mark.parametrize("layer", LAYERS)
def test_published_geometric_mean(golden, layer) -> None:
    ours, theirs = _ours(golden[f"{layer}.weight"], "geometric_mean"), golden[f"{layer}.gm"]
    assert np.array_equal(np.argsort(ours), np.argsort(theirs))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


@settings(deadline=None, max_examples=30)
@given(shape=shapes, seed=seeds)
def test_geometric_mean_is_its_definition(shape, seed) -> None:
    weight = _draw(shape, seed)
    rows = np.abs(weight.astype(np.float64)).reshape(len(weight), -1)
    # roots instead of logarithms
    means = np.prod(rows ** (1 / rows.shape[1]), axis=1)
    whole = np.prod(rows.ravel() ** (1 / rows.size))
    expected = (means - whole) ** 2
    np.testing.assert_allclose(_ours(weight, "geometric_mean"), expected / expected.max(), rtol=1e-6, atol=1e-9)


def test_a_weight_of_zero_makes_a_geometric_mean_of_zero() -> None:
    weight = torch.tensor([[1.0, 4.0], [0.0, 5.0], [0.0, 9.0]])
    # the layer's mean is zero as well, so only the filter without zeros differs from it
    assert score(weight, "geometric_mean").tolist() == [1, 0, 0]


# The operator norm without signs


def _mean_over_signs(weight: np.ndarray) -> np.ndarray:
    """The published score's square, not scaled, averaged over every choice of signs of the channels' directions."""
    filters, channels = weight.shape[:2]
    projections = np.empty((channels, filters))
    for channel in range(channels):
        rows = weight[:, channel].reshape(filters, -1)
        rows = rows - rows.mean(axis=0)
        projections[channel] = rows @ np.linalg.svd(rows, full_matrices=False)[2][0]
    signs = np.array(list(product([-1.0, 1.0], repeat=channels)))
    return ((signs @ projections) ** 2).mean(axis=0)


@settings(deadline=None, max_examples=40)
@given(shape=shapes, seed=seeds)
def test_unsigned_operator_norm_is_the_mean_over_signs(shape, seed) -> None:
    weight = _draw(shape, seed)
    expected = _mean_over_signs(weight.astype(np.float64))
    np.testing.assert_allclose(_ours(weight, "operator_norm_unsigned"), expected / expected.max(), rtol=0, atol=1e-7)


@settings(deadline=None, max_examples=20)
@given(filters=st.integers(2, 8), kernel=st.sampled_from([(3, 3), (4,), (1, 1)]), seed=seeds)
def test_operator_norms_agree_on_depthwise_layers(filters, kernel, seed) -> None:
    weight = _draw((filters, 1, kernel), seed)
    np.testing.assert_allclose(
        _ours(weight, "operator_norm_unsigned"), _ours(weight, "operator_norm"), rtol=0, atol=1e-9
    )


def test_unsigned_operator_norm_is_the_mean_of_directions_that_tie() -> None:
    # around the mean filter, at the corners of a square: no direction is larger than another
    corners = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    angles = torch.linspace(0, 1.5, 7).tolist()
    for angle in angles:
        turn = torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        scores = score((corners @ turn.float())[:, None].double(), "operator_norm_unsigned")
        assert scores.tolist() == pytest.approx([1.0] * 4, abs=1e-6)


def test_unsigned_operator_norm_of_a_dense_layer_is_the_distance_from_the_mean() -> None:
    weight = np.random.default_rng(3).standard_normal((9, 6))
    expected = ((weight - weight.mean(axis=0)) ** 2).sum(axis=1)
    np.testing.assert_allclose(_ours(weight, "operator_norm_unsigned"), expected / expected.max(), rtol=1e-12)


# Both operator norms, taken in pieces


@pytest.mark.parametrize("criterion", OPERATOR_NORMS)
@settings(deadline=None, max_examples=25)
@given(shape=shapes, seed=seeds, piece=st.sampled_from([1, 200, 1000]))
def test_pieces_of_any_size_give_the_same(criterion, shape, seed, piece) -> None:
    weight = _draw(shape, seed)
    expected = _ours(weight, criterion)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operator_norm, "_PIECE_BYTES", piece)
        np.testing.assert_allclose(_ours(weight, criterion), expected, rtol=0, atol=1e-9)


def _peak_bytes(work: Callable[[], object]) -> int:
    """The most memory that PyTorch held at one time for `work`, beyond what it held before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return max(accumulate(event.nbytes() for event in events))


@pytest.mark.parametrize("criterion", OPERATOR_NORMS)
@pytest.mark.parametrize("shape", [(512, 512, 3, 3), (512, 512, 5), (2048, 512, 1, 1), (2048, 3072), (256, 32, 11, 11)])
def test_operator_norms_need_less_memory_than_the_weight(criterion, shape) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    bytes_ = weight.numel() * weight.element_size()
    peak = _peak_bytes(lambda: score(weight, criterion))
    assert 1 << 19 < peak < min(bytes_, 6 << 20)


@pytest.mark.parametrize("criterion", OPERATOR_NORMS)
@pytest.mark.parametrize("shape", [(6, 4, 3, 3), (6, 4, 5), (6, 4)])
def test_precisions(criterion, shape) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(11))
    for single in (weight, weight.half(), weight.bfloat16(), weight.transpose(0, 1).contiguous().transpose(0, 1)):
        assert torch.allclose(score(single, criterion), score(single.double(), criterion), rtol=0, atol=1e-12)


@pytest.mark.parametrize("criterion", OPERATOR_NORMS)
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_filter_of_a_group_is_scored_by_its_own_inputs(criterion, groups) -> None:
    layer = torch.nn.Conv2d(4, 8, 3, groups=groups)
    scores = score(layer.weight, criterion)
    # whose inputs they are plays no part: an ungrouped layer with the same weight has the same scores
    same = torch.nn.Conv2d(4 // groups, 8, 3)
    same.weight.data = layer.weight.data.clone()
    assert torch.equal(score(same.weight, criterion), scores)
    if groups == 4:  # one channel: only the direction of the whole layer
        rows = layer.weight.detach().double().flatten(1)
        rows = rows - rows.mean(dim=0)
        along = (rows @ torch.linalg.svd(rows).Vh[0]).square()
        assert torch.allclose(scores, along / along.max(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("device", ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])
@pytest.mark.parametrize("criterion", DETERMINISTIC)
@pytest.mark.parametrize("shape", [(64, 16, 3, 3), (16, 8, 7, 7), (32, 1, 3, 3), (32, 8, 5), (64, 40)])
def test_scores_stay_where_the_weight_is(criterion, shape, device) -> None:
    """On a GPU, where there is one, they are the same."""
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(12))
    found = score(weight.to(device), criterion)
    assert found.device.type == device
    assert torch.allclose(found.cpu(), score(weight, criterion), rtol=1e-9, atol=1e-9)


# The geometric median


@settings(deadline=None, max_examples=30)
@given(shape=shapes, seed=seeds)
def test_geometric_median_is_its_definition(shape, seed) -> None:
    weight = _draw(shape, seed)
    rows = weight.astype(np.float64).reshape(len(weight), -1)
    expected = [sum(np.linalg.norm(row - other) for other in rows) for row in rows]
    np.testing.assert_allclose(_ours(weight, "geometric_median"), expected, rtol=1e-12)


@pytest.mark.parametrize("far", [0.0, 1e6])
def test_geometric_median_of_filters_that_are_nearly_the_same(far) -> None:
    # scalar products of 1e8 and more would leave nothing of distances of 1e-8, wherever the other filters are
    near = 1e4 + torch.tensor([[0.0], [1.0], [4.0]], dtype=torch.float64) * 2.0**-27
    between = torch.tensor([5.0, 4.0, 7.0], dtype=torch.float64) * 2.0**-27
    weight = torch.cat([near, near[:1] + far])
    to_far = weight[3, 0] - weight[:3, 0]
    scores = score(weight, "geometric_median")
    expected = between + to_far.abs()
    assert scores[:3].tolist() == pytest.approx(expected.tolist(), rel=1e-15)
    assert scores[3].item() == pytest.approx(to_far.abs().sum().item(), rel=1e-15)


# Similarity


def _by_greed(weight: np.ndarray) -> tuple[np.ndarray, list[int], bool]:
    """Scores, order of removal, and whether they are well determined: no near ties, no doubtful signs."""
    filters = len(weight)
    matrices = weight.reshape(filters, weight.shape[1], -1)
    clear = True
    vectors = []
    for matrix in matrices:
        if matrix.shape[1] == 1:
            vectors.append(matrix[:, 0])
            continue
        left, values, right = np.linalg.svd(matrix.T, full_matrices=False)
        vectors.append((left[:, :1] @ right[:1])[:, 0])
        clear &= abs(right[0, 0]) > 1e-4
        clear &= len(values) < 2 or values[0] - values[1] > 1e-3 * values[0]

    def distance(one: int, other: int) -> float:
        product_of_norms = np.linalg.norm(vectors[one]) * np.linalg.norm(vectors[other])
        return 1 - vectors[one] @ vectors[other] / product_of_norms

    left_over, order, scores = list(range(filters)), [], np.zeros(filters)
    while len(left_over) > 1:
        pairs = sorted((distance(a, b), a, b) for a in left_over for b in left_over if a < b)
        clear &= len(pairs) < 2 or pairs[1][0] - pairs[0][0] > 1e-6
        least, *pair = pairs[0]
        gone = min(pair, key=lambda one: np.linalg.norm(weight[one]))
        scores[gone] = least
        order.append(gone)
        left_over.remove(gone)
    scores[left_over[0]] = 3
    return scores, [*order, *left_over], bool(clear)


@settings(deadline=None, max_examples=60)
@given(shape=shapes, seed=seeds)
def test_similarity_is_its_definition(shape, seed) -> None:
    weight = _draw(shape, seed)
    expected, order, clear = _by_greed(weight.astype(np.float64))
    assume(clear)
    ours = _ours(weight, "similarity")
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-9)
    assert np.argsort(ours, kind="stable").tolist() == order


def test_similarity_keeps_one_of_each_kind_and_the_larger_of_a_pair() -> None:
    kinds = torch.randn(3, 2, 3, 3, generator=torch.Generator().manual_seed(5))
    weight = torch.cat([kinds, 0.5 * kinds, 2 * kinds])
    scores = score(weight, "similarity")
    # the largest of each kind stays: the first six, in whatever order, go before any of them
    assert set(scores.argsort()[:6].tolist()) == {0, 1, 2, 3, 4, 5}
    assert scores[:6].max() < 1e-12
    assert scores[6:].min() > 1e-3


def test_opposite_filters_are_not_similar() -> None:
    weight = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.6, 1.2]])
    assert score(weight, "similarity").tolist() == pytest.approx([0.2, 1.8, 3.0])
    assert score(weight[:2], "similarity").tolist() == pytest.approx([3.0, 2.0])


def test_similarity_where_the_first_channel_is_empty() -> None:
    weight = torch.randn(6, 3, 3, 3, generator=torch.Generator().manual_seed(2))
    weight[:, 0] = 0
    without = score(weight[:, 1:].contiguous(), "similarity")
    np.testing.assert_allclose(score(weight, "similarity").numpy(), without.numpy(), rtol=0, atol=1e-9)


def test_filters_of_zeros_go_first() -> None:
    weight = torch.randn(5, 2, 3, 3, generator=torch.Generator().manual_seed(1))
    weight[3] = 0
    scores = score(weight, "similarity")
    assert scores[3] == 0
    assert (scores[[0, 1, 2, 4]] > 0).all()
    assert scores[[0, 1, 2, 4]].tolist() == score(weight[[0, 1, 2, 4]], "similarity").tolist()


# What all of them must satisfy


@pytest.mark.parametrize("criterion", ORDER_FREE)
@settings(deadline=None, max_examples=25)
@given(shape=shapes, seed=seeds)
def test_permuting_filters_permutes_scores(criterion, shape, seed) -> None:
    weight = _draw(shape, seed)
    if criterion == "similarity":
        assume(_by_greed(weight.astype(np.float64))[2])
    order = np.random.default_rng(seed).permutation(len(weight))
    np.testing.assert_allclose(_ours(weight[order], criterion), _ours(weight, criterion)[order], rtol=1e-7, atol=1e-9)


def test_the_published_operator_norm_depends_on_the_order_of_filters(golden) -> None:
    for layer in ("conv2", "conv3"):
        weight = golden[f"{layer}.weight"]
        order = np.arange(len(weight))[::-1].copy()
        scores, turned = _ours(weight, "operator_norm"), _ours(weight[order], "operator_norm")
        assert np.abs(turned - scores[order]).max() > 0.1
        assert not np.array_equal(np.argsort(turned), np.argsort(scores[order]))


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("criterion", DETERMINISTIC)
def test_single_precision_ranks_as_double(golden, criterion, layer) -> None:
    single = golden[f"{layer}.weight"]
    step = np.random.default_rng(7).uniform(-1, 1, single.shape) * 2.0**-26
    double = single.astype(np.float64) * (1 + step)
    assert np.array_equal(double.astype(np.float32), single)  # what the weights could have been before rounding
    assert np.array_equal(np.argsort(_ours(single, criterion)), np.argsort(_ours(double, criterion)))


@pytest.mark.parametrize("criterion", DETERMINISTIC)
@pytest.mark.parametrize("shape", [(4, 3, 3, 3), (4, 1, 3, 3), (4, 3, 5), (4, 3), (1, 3, 3, 3), (1, 1)])
def test_a_layer_of_zeros_scores_zero(criterion, shape) -> None:
    assert score(torch.zeros(shape), criterion).tolist() == [0.0] * shape[0]


@pytest.mark.parametrize("shape", [(1, 3, 3, 3), (1, 1, 5), (1, 4), (1, 1)])
def test_a_filter_alone(shape) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    for criterion in (*OPERATOR_NORMS, "geometric_mean", "geometric_median"):
        assert score(weight, criterion).tolist() == [0.0]
    assert score(weight, "similarity").tolist() == [3.0]


@pytest.mark.parametrize("criterion", [*OPERATOR_NORMS, "geometric_mean", "geometric_median"])
@pytest.mark.parametrize("shape", [(1, 3, 3, 3), (1, 3, 4), (1, 7)])
def test_equal_filters_score_zero_though_their_mean_is_rounded(criterion, shape) -> None:
    generator = torch.Generator().manual_seed(6)
    for filters in range(2, 40):
        one = torch.randn(shape, generator=generator, dtype=torch.float64)
        assert score(one.repeat(filters, *[1] * (one.ndim - 1)), criterion).tolist() == [0.0] * filters


@pytest.mark.parametrize("criterion", DETERMINISTIC)
@pytest.mark.parametrize("shape", [(8, 1, 3, 3), (8, 4, 5), (8, 4), (8, 4, 1, 1), (2, 3, 3, 3), (8, 2, 3, 3, 3)])
def test_every_kind_of_layer_is_scored_and_left_alone(criterion, shape) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(8))
    before = weight.clone()
    scores = score(weight, criterion)
    assert torch.equal(weight, before)
    assert scores.shape == shape[:1]
    assert scores.dtype == torch.float64
    assert scores.isfinite().all()
    assert (scores >= 0).all()
    assert scores.max() > 0


@pytest.mark.parametrize("criterion", DETERMINISTIC)
def test_a_weight_in_double_precision_is_left_alone(criterion) -> None:
    weight = torch.randn(6, 2, 3, 3, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    before = weight.clone()
    score(weight, criterion)
    assert torch.equal(weight, before)


# How criteria agree


def test_rank_correlation_by_hand() -> None:
    assert rank_correlation([1, 2, 3, 4], [10, 20, 30, 1e9]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    # differences of ranks 1, 1, 0, 0: 1 - 6 * 2 / (4 * 15)
    assert rank_correlation([1, 2, 3, 4], [2, 1, 3, 4]) == pytest.approx(0.8)


@pytest.mark.parametrize(("first", "second"), [([1.0], [2.0]), ([0.0, 0.0], [1.0, 2.0]), ([1.0, 2.0], [3.0, 3.0])])
def test_rank_correlation_may_be_undefined(first, second) -> None:
    assert rank_correlation(first, second) is None
