"""Augmentation of batches `[n, 1, mels, frames]` and of images."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprune.recipe import Train
from edgeprune.training import augment
from edgeprune.training.augment import flip, freq_mixstyle, mask, mixup, shift, time_roll
from edgeprune.training.module import SceneModule

sizes = st.tuples(st.integers(1, 5), st.integers(2, 9), st.integers(2, 12))


def _batch(size: tuple[int, int, int], seed: int) -> torch.Tensor:
    torch.manual_seed(seed)
    n, mels, frames = size
    return torch.randn(n, 1, mels, frames)


@settings(deadline=None, max_examples=40)
@given(size=sizes, seed=st.integers(0, 999))
def test_time_roll_moves_whole_frames_round(size, seed) -> None:
    x = _batch(size, seed)
    rolled = time_roll(x)
    assert rolled.shape == x.shape
    for before, after in zip(x, rolled, strict=True):
        assert any(torch.equal(after, before.roll(shift, dims=2)) for shift in range(size[2]))


def test_time_roll_draws_a_shift_for_every_patch() -> None:
    torch.manual_seed(0)
    x = torch.arange(50.0).expand(64, 1, 3, 50)
    starts = time_roll(x)[:, 0, 0, 0]
    assert len(starts.unique()) > 20


@settings(deadline=None, max_examples=60)
@given(size=sizes, seed=st.integers(0, 999), axis=st.sampled_from([2, 3]), widest=st.integers(0, 15))
def test_mask_silences_one_stretch_of_bounded_width(size, seed, axis, widest) -> None:
    x = _batch(size, seed)
    masked = mask(x, axis, widest)
    assert masked.shape == x.shape
    other = 5 - axis
    for before, after in zip(x, masked, strict=True):
        changed = after != before
        assert (after[changed] == 0).all()
        along = changed.any(dim=other - 1).flatten()
        assert torch.equal(changed.all(dim=other - 1).flatten(), along), "a stretch spans the other axis whole"
        places = along.nonzero().flatten()
        assert len(places) <= min(widest, x.shape[axis])
        if len(places):
            assert len(places) == places[-1] - places[0] + 1


def test_mask_reaches_its_widest_and_both_ends() -> None:
    torch.manual_seed(0)
    hidden = mask(torch.ones(2000, 1, 3, 10), 3, 4)[:, 0, 0] == 0
    assert hidden.sum(1).unique().tolist() == [0, 1, 2, 3, 4]
    assert hidden[:, 0].any()
    assert hidden[:, -1].any()


def test_every_width_of_a_mask_is_as_likely() -> None:
    """A stretch that began beyond its last place would be cut at the end: short ones would come more often."""
    torch.manual_seed(0)
    hidden = mask(torch.ones(20_000, 1, 1, 5), 3, 4) == 0
    counts = hidden.sum(3).flatten().bincount(minlength=5)
    assert ((counts - 4000).abs() < 4 * 57).all(), counts  # four standard deviations


def test_mask_draws_for_every_patch() -> None:
    torch.manual_seed(0)
    hidden = mask(torch.ones(64, 1, 20, 3), 2, 8)[:, 0, :, 0] == 0
    assert len(hidden.unique(dim=0)) > 20


@settings(deadline=None, max_examples=40)
@given(size=sizes, seed=st.integers(0, 999), alpha=st.floats(0.1, 5))
def test_mixup_mixes_pairs_and_keeps_the_mass_of_targets(size, seed, alpha) -> None:
    x = _batch(size, seed)
    targets = torch.nn.functional.one_hot(torch.arange(len(x)), 7).float()
    mixed, soft = mixup(x, targets, alpha)
    assert mixed.shape == x.shape
    assert soft.shape == targets.shape
    torch.testing.assert_close(soft.sum(1), torch.ones(len(x)))
    assert (soft >= 0).all()
    assert ((soft > 0).sum(1) <= 2).all()
    # every patch has its own class here, so the targets tell the weights: patch i is the mix of all by row i
    torch.testing.assert_close(mixed, torch.einsum("ij,jchw->ichw", soft[:, : len(x)], x), rtol=1e-4, atol=1e-5)


def test_mixup_draws_a_weight_for_every_pair() -> None:
    torch.manual_seed(0)
    _, soft = mixup(torch.randn(64, 1, 2, 2), torch.eye(64), 1.0)
    assert len(soft.diagonal().unique()) > 50


def test_flip_mirrors_about_half_of_the_images_and_nothing_else() -> None:
    torch.manual_seed(0)
    x = torch.randn(400, 3, 5, 4)
    flipped = flip(x)
    mirrored, same = ((flipped == y).flatten(1).all(1) for y in (x.flip(3), x))
    assert (mirrored ^ same).all()
    assert 150 < mirrored.sum() < 250


def _moved(image: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """Zeros all around, then a window of the old size."""
    height, width = image.shape[1:]
    wide = torch.nn.functional.pad(image, (9, 9, 9, 9))
    return wide[:, 9 - down : 9 - down + height, 9 - right : 9 - right + width]


@settings(deadline=None, max_examples=30)
@given(size=sizes, channels=st.integers(1, 3), seed=st.integers(0, 999), most=st.integers(0, 3))
def test_shift_moves_whole_images_and_fills_with_zeros(size, channels, seed, most) -> None:
    n, height, width = size
    torch.manual_seed(seed)
    x = torch.randn(n, channels, height, width)
    moved = shift(x, most)
    places = range(-most, most + 1)
    for before, after in zip(x, moved, strict=True):
        assert any(torch.equal(after, _moved(before, down, right)) for down in places for right in places)


def test_shift_reaches_every_place_and_draws_for_every_image() -> None:
    torch.manual_seed(0)
    x = torch.zeros(2000, 1, 7, 7)
    x[:, :, 3, 3] = 1
    places = shift(x, 2).nonzero()[:, 2:]
    assert len(places) == 2000
    assert len(places.unique(dim=0)) == 25
    assert (places.amin(0).tolist(), places.amax(0).tolist()) == ([1, 1], [5, 5])


@settings(deadline=None, max_examples=40)
@given(size=sizes, seed=st.integers(0, 999))
def test_mixstyle_changes_only_the_level_and_spread_of_bands(size, seed) -> None:
    x = _batch(size, seed) * 3 + 1
    styled = freq_mixstyle(x, 0.3)
    assert styled.shape == x.shape

    def standard(value: torch.Tensor) -> torch.Tensor:
        return (value - value.mean(3, keepdim=True)) / value.std(3, keepdim=True)

    torch.testing.assert_close(standard(styled), standard(x), rtol=1e-2, atol=1e-3)
    for statistic in (torch.mean, torch.std):
        before, after = statistic(x, dim=(1, 3)), statistic(styled, dim=(1, 3))
        assert (after >= before.min(0).values - 1e-3).all()
        assert (after <= before.max(0).values + 1e-3).all()


def test_mixstyle_takes_the_style_of_another_patch() -> None:
    torch.manual_seed(1)
    x = torch.randn(32, 1, 4, 50) + torch.arange(32.0)[:, None, None, None]
    moved = (freq_mixstyle(x, 0.3).mean((1, 2, 3)) - x.mean((1, 2, 3))).abs()
    assert (moved > 0.5).sum() > 8


def test_mixed_spread_is_the_mean_of_both_at_even_shares() -> None:
    torch.manual_seed(0)
    spread = torch.tensor([0.1, 2.0]).repeat(20)[:, None, None, None]
    x = spread * torch.randn(40, 1, 3, 4000)
    found = freq_mixstyle(x, 1e6).std(dim=(1, 2, 3))
    own, met = spread.flatten(), 1.05
    changed = (found - own).abs() > 0.2
    assert changed.any()
    torch.testing.assert_close(found[changed], torch.full_like(found[changed], met), rtol=0, atol=0.03)


def test_mixstyle_of_silent_bands_stays_finite() -> None:
    assert freq_mixstyle(torch.zeros(4, 1, 3, 10), 0.3).isfinite().all()


CHANGES = {
    "time_roll": time_roll,
    "freq_mask": lambda x: mask(x, 2, 4),
    "time_mask": lambda x: mask(x, 3, 4),
    "mixstyle": lambda x: freq_mixstyle(x, 0.5),
    "mixup": lambda x: mixup(x, torch.eye(8).to(x), 0.5)[0],
    "flip": flip,
    "shift": lambda x: shift(x, 2),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("kind", [{"device": "meta"}, {"dtype": torch.bfloat16}], ids=["device", "type"])
def test_stays_on_the_device_and_of_the_type_of_its_batch(name, kind, monkeypatch) -> None:
    """The device `meta` holds no values, yet refuses to meet those of another, as a GPU does."""
    x, draw = torch.randn(8, 1, 6, 9).to(**kind), torch.randperm

    def randperm(size: int, device: torch.device) -> torch.Tensor:
        assert device == x.device  # indices of another device would do for `meta`, and cost a GPU time
        return draw(size, device=device)

    monkeypatch.setattr(torch, "randperm", randperm)
    changed = CHANGES[name](x)
    assert (changed.device, changed.dtype, changed.shape) == (x.device, x.dtype, x.shape)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_follows_from_the_seed_and_leaves_its_input_alone(change) -> None:
    x = _batch((8, 6, 9), 0)
    before = x.clone()

    def draw(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return change(x)

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    assert torch.equal(x, before)


def test_training_mirrors_and_moves_images_as_the_recipe_says(monkeypatch) -> None:
    calls = []
    monkeypatch.setattr(augment, "flip", lambda x: calls.append("flip") or x)
    monkeypatch.setattr(augment, "shift", lambda x, most: calls.append(f"shift {most}") or x)
    images, labels = torch.randn(2, 3, 4, 4), torch.tensor([0, 1])
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 2))
    plain = Train(mixup=0.0, time_roll=False)
    SceneModule(network, plain, 2, "mels_frames", 0).training_step((images, labels, labels), 0)
    assert calls == []
    SceneModule(network, replace(plain, flip=True, shift=4), 2, "mels_frames", 0).training_step(
        (images, labels, labels), 0
    )
    assert calls == ["flip", "shift 4"]
