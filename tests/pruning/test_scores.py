"""Scores of filters against the published figures and against the definition, written out."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import edgeprune
from edgeprune.errors import EdgepruneError
from edgeprune.graph.cost import graph_of
from edgeprune.models.registry import build, make_spec
from edgeprune.pruning.group_scores import choose_filters, score_groups
from edgeprune.pruning.scores import CRITERIA, score

LAYERS = ["conv1", "conv2", "conv3"]
PASSIVE = [name for name, one in CRITERIA.items() if one.needs == "weight"]


@pytest.fixture(scope="module")
def golden(shared_golden):
    with np.load(shared_golden / "seed_scores_dcase21_net.npz") as content:
        return dict(content)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("criterion", ["operator_norm", "l1"])
def test_published_scores(golden, layer, criterion) -> None:
    ours = score(torch.from_numpy(golden[f"{layer}.weight"]), criterion).numpy()
    theirs = golden[f"{layer}.{criterion}"]
    assert np.array_equal(np.argsort(ours), np.argsort(theirs))
    np.testing.assert_allclose(ours / ours.max(), theirs / theirs.max(), rtol=0, atol=1e-6)


def test_published_operator_norm_is_scaled_to_one(golden) -> None:
    for layer in LAYERS:
        ours = score(torch.from_numpy(golden[f"{layer}.weight"])).numpy()
        np.testing.assert_allclose(ours, golden[f"{layer}.operator_norm"], rtol=0, atol=1e-6)


def _by_definition(weight: np.ndarray) -> tuple[np.ndarray, bool]:
    """Scores of `[filters, channels, ...]`, one channel after the other, and whether they are well determined.

    They are not where two singular values nearly agree, or filter 0 has next to no projection to take the sign from.
    """
    filters, channels = weight.shape[:2]
    total = np.zeros(filters)
    clear = True
    for channel in range(channels):
        rows = weight[:, channel].reshape(filters, -1)
        rows = rows - rows.mean(axis=0)
        _, values, right = np.linalg.svd(rows, full_matrices=False)
        direction = right[0]
        if rows[0] @ direction < 0:
            direction = -direction
        projections = rows @ direction
        total += projections
        clear &= abs(projections[0]) > 1e-5 * values[0]
        clear &= len(values) < 2 or values[0] - values[1] > 1e-4 * values[0]
    squared = total**2
    return squared / squared.max(), bool(clear)


shapes = st.tuples(st.integers(2, 12), st.integers(1, 6), st.sampled_from([(), (1, 1), (3, 3), (7, 7), (2, 5), (4,)]))


@settings(deadline=None, max_examples=60)
@given(shape=shapes, seed=st.integers(0, 2**32 - 1))
def test_operator_norm_is_its_definition(shape, seed) -> None:
    filters, channels, kernel = shape
    weight = np.random.default_rng(seed).standard_normal((filters, channels, *kernel)).astype(np.float32)
    expected, clear = _by_definition(weight.astype(np.float64))
    assume(clear)
    np.testing.assert_allclose(score(torch.from_numpy(weight)).numpy(), expected, rtol=0, atol=1e-7)


@settings(deadline=None, max_examples=20)
@given(shape=shapes, seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-3, 1e3), shift=st.floats(-10, 10))
def test_operator_norm_ignores_scale_and_what_all_filters_share(shape, seed, scale, shift) -> None:
    filters, channels, kernel = shape
    weight = np.random.default_rng(seed).standard_normal((filters, channels, *kernel))
    assume(_by_definition(weight)[1])
    changed = score(torch.from_numpy(scale * weight + shift))
    np.testing.assert_allclose(changed.numpy(), score(torch.from_numpy(weight)).numpy(), rtol=0, atol=1e-6)


@settings(deadline=None, max_examples=30)
@given(shape=shapes, seed=st.integers(0, 2**32 - 1))
def test_norms_are_numpys(shape, seed) -> None:
    filters, channels, kernel = shape
    weight = np.random.default_rng(seed).standard_normal((filters, channels, *kernel)).astype(np.float32)
    rows = weight.astype(np.float64).reshape(filters, -1)
    for criterion, order in (("l1", 1), ("l2", 2)):
        expected = np.linalg.norm(rows, order, axis=1)
        np.testing.assert_allclose(score(torch.from_numpy(weight), criterion).numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("criterion", PASSIVE)
@pytest.mark.parametrize("shape", [(5, 3, 3, 3), (5, 3), (1, 4, 3, 3), (1, 1)])
def test_one_finite_float64_score_a_filter(criterion, shape) -> None:
    scores = score(torch.randn(shape), criterion)
    assert scores.shape == shape[:1]
    assert scores.dtype == torch.float64
    assert scores.isfinite().all()
    assert (scores >= 0).all()


@pytest.mark.parametrize("criterion", ["operator_norm", "l1", "l2"])
def test_zero_layer_scores_zero(criterion) -> None:
    assert score(torch.zeros(4, 3, 3, 3), criterion).tolist() == [0.0] * 4


def test_equal_filters_have_no_operator_norm() -> None:
    assert score(torch.randn(1, 3, 3, 3).expand(5, 3, 3, 3)).tolist() == [0.0] * 5


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("criterion", PASSIVE)
def test_weights_that_are_no_numbers_are_refused(value, criterion) -> None:
    spec = make_spec("dcase21", width=0.25)
    model = build(spec)
    with torch.no_grad():
        model.features.conv2.weight[1, 2, 3, 4] = value
    with pytest.raises(EdgepruneError, match="conv2: its weights hold NaN or infinite values"):
        score_groups(model, graph_of(spec), criterion)


@pytest.mark.parametrize("shape", [(5,), (0, 3, 3, 3), (4, 0)])
def test_what_is_no_layer_is_refused(shape) -> None:
    with pytest.raises(EdgepruneError, match=r"conv9: a weight of shape .* has no filters"):
        score(torch.zeros(shape), "l1", "conv9")


def test_unknown_criteria() -> None:
    with pytest.raises(EdgepruneError, match="perhaps you meant 'operator_norm'"):
        score(torch.randn(3, 3), "operatornorm")
    with pytest.raises(EdgepruneError, match=f"known: {', '.join(CRITERIA)}"):
        score(torch.randn(3, 3), "zzz")


def test_random_follows_from_the_seed() -> None:
    weight = torch.randn(8, 3)

    def draw(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return score(weight, "random")

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_a_weight_that_trains_can_be_scored() -> None:
    weight = torch.nn.Parameter(torch.randn(4, 3, 3, 3))
    assert all(not score(weight, criterion).requires_grad for criterion in PASSIVE)


def test_the_package_offers_it() -> None:
    weight = torch.randn(6, 2, 3, 3)
    assert torch.equal(edgeprune.score(weight), score(weight, "operator_norm"))
    assert torch.equal(edgeprune.score(weight, criterion="l2"), score(weight, "l2"))


def test_dense_layers_only_when_asked() -> None:
    spec = make_spec("vggish", width=0.05)
    model, graph = build(spec), graph_of(spec)
    convs = [f"conv{number}" for number in range(1, 7)]
    assert list(score_groups(model, graph, "l1")) == convs
    scores = score_groups(model, graph, "l2", dense_layers=True)
    assert list(scores) == [*convs, "fc1", "fc2"]
    expected = np.linalg.norm(model.classifier.fc2.weight.detach().double().numpy(), axis=1)
    np.testing.assert_allclose(scores["fc2"].numpy(), expected, rtol=1e-12)


def test_highest_scores_stay_in_order_and_the_earlier_of_equals() -> None:
    scores = {"a": torch.tensor([0.1, 0.9, 0.5, 0.9, 0.5]), "b": torch.tensor([3.0, 1.0])}
    assert choose_filters(scores, {"a": 3, "b": 1}) == {"a": [1, 2, 3], "b": [0]}
