"""CNN14: published counts, shapes, seed, and AudioSet weights that compute on our features what they do on theirs."""

from dataclasses import replace

import librosa
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from edgeprune.audio.logmel import Frontend
from edgeprune.errors import EdgepruneError
from edgeprune.models.cnn14 import load_panns_weights
from edgeprune.models.registry import build, entry, make_spec
from edgeprune.recipe import LogMel

FILTERS = [64, 128, 256, 512, 1024, 2048]
PLACES = [1001 * 64, 500 * 32, 250 * 16, 125 * 8, 62 * 4, 31 * 2]


def _meta(spec):
    with torch.device("meta"):
        return build(spec).eval()


def test_published_counts() -> None:
    spec = make_spec("cnn14", 527)
    model = _meta(spec)
    weights = [(9 * before * after, 9 * after * after) for before, after in zip([1, *FILTERS], FILTERS, strict=False)]
    dense = 2048 * 2048 + 2048 * 527
    params = sum(map(sum, weights)) + 2 * 2 * sum(FILTERS) + 2 * 64 + dense + 2048 + 527
    assert sum(parameter.numel() for parameter in model.parameters()) == params == 80_753_615
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, *spec.input_shape, device="meta"))
    macs = sum(sum(pair) * places for pair, places in zip(weights, PLACES, strict=True)) + dense
    assert counter.get_total_flops() // 2 == macs == 20_041_926_656
    # the published 42.220e9: multiplications and additions apart, with the STFT as a convolution, and a small rest that
    # two operations a value of batch norm explain, and the mel bank's MACs as well
    stft = 2 * 1001 * 1024 * 513
    norm = 2 * (2 * sum(filters * places for filters, places in zip(FILTERS, PLACES, strict=True)) + PLACES[0])
    assert (2 * macs, 2 * stft, norm) == (40_083_853_312, 2_103_349_248, 32_388_224)
    assert round((2 * macs + 2 * stft + norm) / 1e9, 3) == 42.220
    assert round((2 * macs + 2 * stft + 1001 * 513 * 64) / 1e9, 3) == 42.220


@pytest.mark.parametrize("shape", [(1, 1001, 64), (1, 501, 64), (1, 32, 32), (2, 67, 40)])
def test_shapes(shape) -> None:
    out = build(make_spec("cnn14", 10, shape, 0.02)).eval()(torch.randn(2, *shape))
    assert out.shape == (2, 10)
    assert out.isfinite().all()


@pytest.mark.parametrize("shape", [(1, 31, 64), (1, 64, 31)])
def test_inputs_too_small_for_the_pools_are_refused(shape) -> None:
    with pytest.raises(EdgepruneError, match="too small; it needs at least 32 x 32"):
        build(make_spec("cnn14", 10, shape, 0.02))


def test_any_widths_can_be_built() -> None:
    spec = make_spec("cnn14", 4, (1, 64, 32))
    assert list(spec.widths.values()) == [filters for filters in FILTERS for _ in range(2)] + [2048]
    widths = {name: 1 + place % 5 for place, name in enumerate(spec.widths)}
    model = build(replace(spec, widths=widths)).eval()
    layers = {path.rsplit(".", 1)[-1]: layer for path, layer in model.named_modules()}
    assert {name: len(layers[name].weight) for name in widths} == widths
    assert model(torch.randn(2, 1, 64, 32)).shape == (2, 4)


def test_the_seed_decides() -> None:
    def state(seed: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(seed)
        return build(make_spec("cnn14", width=0.05)).state_dict()

    first, again, other = state(1), state(1), state(2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["classifier.fc1.weight"], other["classifier.fc1.weight"])


def test_dropout_is_the_published_one() -> None:
    rates = [layer.p for layer in _meta(make_spec("cnn14")).modules() if isinstance(layer, nn.Dropout)]
    assert rates == [0.2] * 6 + [0.5] * 2


def test_batch_norm_of_the_input_is_of_each_mel_bin() -> None:
    norm = build(make_spec("cnn14", 4, (1, 64, 32), 0.02)).bn0.train()
    x = torch.randn(5, 1, 64, 32) * torch.arange(1.0, 33) + torch.arange(32.0)
    out = norm(x)
    assert out.shape == x.shape
    torch.testing.assert_close(out.mean((0, 1, 2)), torch.zeros(32), atol=1e-4, rtol=0)
    torch.testing.assert_close(out.std((0, 1, 2)), torch.ones(32), atol=1e-2, rtol=0)


# The front-end


def test_the_front_end_gives_the_frames_of_the_registry() -> None:
    assert entry("cnn14").frontend == "cnn14"
    assert entry("cnn14").layout == "frames_mels"
    ten, five = Frontend(LogMel.cnn14()), Frontend(LogMel.cnn14(5.0))
    assert ten.frames(320_000) == 1001 == entry("cnn14").input_shape[1]
    assert five.frames(160_000) == 501


def test_the_front_end_is_the_published_one_in_natural_logarithms() -> None:
    """Decibels of librosa's power spectrogram over 10/ln 10; zeros beyond the ends, where PANNs mirrors the sound."""
    sound = np.random.default_rng(0).standard_normal(32_000).astype(np.float32) * 0.1
    ours = Frontend(LogMel.cnn14(1.0))(torch.from_numpy(sound)[None])[0].numpy()
    power = librosa.feature.melspectrogram(
        y=sound, sr=32_000, n_fft=1024, hop_length=320, n_mels=64, fmin=50, fmax=14_000, pad_mode="reflect"
    )
    theirs = 10 * np.log10(np.maximum(power, 1e-10))
    assert ours.shape == theirs.T.shape == (101, 64)
    np.testing.assert_allclose(10 / np.log(10) * ours[2:-2], theirs.T[2:-2], atol=1e-3)


# AudioSet weights


def _published(classes: int, width: float) -> dict[str, torch.Tensor]:
    """A state dict in the published layout, trained-looking and narrow."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    def norm(prefix: str, features: int) -> dict[str, torch.Tensor]:
        return {
            f"{prefix}.weight": 1 + 0.2 * normal(features),
            f"{prefix}.bias": 0.2 * normal(features),
            f"{prefix}.running_mean": 0.3 * normal(features),
            f"{prefix}.running_var": 0.1 + 0.1 * normal(features).abs(),
            f"{prefix}.num_batches_tracked": torch.tensor(7),
        }

    state = {"spectrogram_extractor.stft.conv_real.weight": normal(3, 1, 4), "logmel_extractor.melW": normal(5, 64)}
    state |= norm("bn0", 64)
    state["bn0.running_mean"] = -30 + 10 * normal(64)
    state["bn0.running_var"] = 150 + 40 * normal(64).abs()
    channels = 1
    for number, filters in enumerate(FILTERS, 1):
        filters = max(1, round(filters * width))
        for place in (1, 2):
            name = f"conv_block{number}"
            state[f"{name}.conv{place}.weight"] = normal(filters, channels, 3, 3) * (2 / (9 * channels)) ** 0.5
            state |= norm(f"{name}.bn{place}", filters)
            channels = filters
    for name, before, after in (("fc1", channels, channels), ("fc_audioset", channels, classes)):
        state[f"{name}.weight"] = normal(after, before) * (2 / before) ** 0.5
        state[f"{name}.bias"] = 0.1 * normal(after)
    return state


def _published_logits(state: dict[str, torch.Tensor], power: torch.Tensor) -> torch.Tensor:
    """The published network on powers `[clips, frames, mels]`, in decibels, step by step in double precision."""
    state = {name: value.double() for name, value in state.items()}

    def norm(x: torch.Tensor, prefix: str, shape: tuple[int, ...]) -> torch.Tensor:
        weight, bias, mean, variance = (
            state[f"{prefix}.{kind}"].reshape(shape) for kind in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / torch.sqrt(variance + 1e-5) * weight + bias

    x = norm(10 * torch.log10(power.double().clamp(min=1e-10))[:, None], "bn0", (1, 1, 1, -1))
    for number in range(1, 7):
        for place in (1, 2):
            x = functional.conv2d(x, state[f"conv_block{number}.conv{place}.weight"], padding=1)
            x = norm(x, f"conv_block{number}.bn{place}", (1, -1, 1, 1)).relu()
        x = functional.avg_pool2d(x, 2) if number < 6 else x
    x = x.mean(dim=3)
    x = x.amax(dim=2) + x.mean(dim=2)
    x = functional.linear(x, state["fc1.weight"], state["fc1.bias"]).relu()
    return functional.linear(x, state["fc_audioset.weight"], state["fc_audioset.bias"])


WIDTH = 1 / 32
NORMALISATION = (np.linspace(-8, -4, 64), np.linspace(0.5, 3, 64))


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize(("mean", "std"), [(None, None), NORMALISATION, (NORMALISATION[0], None)])
@torch.no_grad()
def test_logits_are_those_of_the_published_network(tmp_path, wrapped, mean, std) -> None:
    state = _published(527, WIDTH)
    torch.save({"iteration": 1, "model": state} if wrapped else state, tmp_path / "cnn14.pth")
    model = build(make_spec("cnn14", 527, (1, 96, 64), WIDTH)).eval()
    loaded = load_panns_weights(model, tmp_path / "cnn14.pth", mean, std)
    assert loaded[:3] == ["bn0", "features.conv1_1", "features.bn1_1"]
    assert loaded[-2:] == ["classifier.fc1", "classifier.output"]
    assert len(loaded) == 1 + 24 + 2
    level = torch.tensor([-6.0, -3.0, 0.0, 3.0]).reshape(4, 1, 1)
    power = torch.exp(level + torch.linspace(-2, 2, 96)[:, None] + torch.randn(4, 96, 64))
    features = torch.log(power.double() + LogMel.cnn14().log_offset).numpy()
    x = (features - (0 if mean is None else mean)) / (1 if std is None else std)
    logits = model(torch.from_numpy(x).float()[:, None]).double()
    expected = _published_logits(state, power)
    scale = float(expected.std(dim=0).mean())
    assert scale > 0.01
    assert float((logits - expected).abs().max()) < 1e-5 * float(expected.abs().max())
    unadapted = model(torch.from_numpy(10 / np.log(10) * x).float()[:, None]).double()
    assert float((unadapted - expected).abs().max()) > 0.1 * scale, "the logarithm must matter"


def test_another_number_of_classes_keeps_its_output_layer(tmp_path) -> None:
    torch.save({"model": _published(527, WIDTH)}, tmp_path / "cnn14.pth")
    model = build(make_spec("cnn14", 10, (1, 96, 64), WIDTH))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert "classifier.output" not in load_panns_weights(model, tmp_path / "cnn14.pth")
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert not {"classifier.output.weight", "classifier.output.bias"} & changed
    assert {"features.conv6_2.weight", "features.bn3_1.running_var", "classifier.fc1.bias"} <= changed


def _refused(path, model, says: str, **arguments) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(EdgepruneError, match=says) as caught:
        load_panns_weights(model, path, **arguments)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("key", ["bn0.running_var", "conv_block1.conv1.weight", "conv_block6.bn2.bias", "fc1.weight"])
def test_a_missing_or_misshapen_layer_is_named(tmp_path, key) -> None:
    model = build(make_spec("cnn14", 10, (1, 64, 64), WIDTH))
    state = _published(527, WIDTH)
    torch.save({"model": {**state, key: state[key][:-1]}}, tmp_path / "short.pth")
    _refused(tmp_path / "short.pth", model, rf"'{key}' is \[.*the network wants \[.*use width 1")
    del state[key]
    torch.save(state, tmp_path / "part.pth")
    _refused(tmp_path / "part.pth", model, f"has no '{key}'")


def test_what_is_no_state_dict_is_refused(tmp_path) -> None:
    model = build(make_spec("cnn14", 10, (1, 64, 64), WIDTH))
    path = tmp_path / "file.pth"
    _refused(path, model, "there is no such file")
    path.write_text("no weights")
    _refused(path, model, "cannot be read as a CNN14 state dict")
    for content in ([1, 2, 3], nn.Linear(2, 2), {"model": [1, 2]}):
        torch.save(content, path)
        _refused(path, model, "cannot be read as a CNN14 state dict")
    torch.save({"model": {"bn0.weight": "text"}}, path)
    _refused(path, model, "has no 'bn0.weight'")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"mean": np.zeros(40)}, "mean of the normalisation must be 64 finite values"),
        ({"std": np.full(64, np.nan)}, "std of the normalisation must be 64 finite values"),
        ({"std": np.zeros(64)}, "std of the normalisation must be above 0"),
    ],
)
def test_a_normalisation_that_does_not_fit_is_refused(tmp_path, arguments, says) -> None:
    torch.save(_published(527, WIDTH), tmp_path / "cnn14.pth")
    _refused(tmp_path / "cnn14.pth", build(make_spec("cnn14", 10, (1, 64, 64), WIDTH)), says, **arguments)
