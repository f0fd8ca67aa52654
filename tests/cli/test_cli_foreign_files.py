"""Files that edgeprune did not export: described on the command line, or refused for a reason."""

import json

import conv_tflite
import numpy as np
import pytest
from calls import call, call_json

import edgeprune
from edgeprune import LogMel
from edgeprune.devices.tflm import measure  # noqa: F401 (its package is there)
from edgeprune.errors import EdgepruneError
from edgeprune.tflite.interpreter import TFLiteModel

LABELS = [f"scene {number}" for number in range(conv_tflite.CLASSES)]
MELS, FRAMES = conv_tflite.SHAPE


@pytest.fixture
def foreign(tmp_path):
    return conv_tflite.conv_network(tmp_path / "foreign.tflite")


@pytest.fixture
def frontend(tmp_path):
    path = tmp_path / "frontend.toml"
    path.write_text(
        f"sample_rate = 16000\nmels = {MELS}\npatch_frames = {FRAMES}\n[normalisation]\nmean = -3\nstd = 2\n"
    )
    return path


def test_bench_feeds_audio_through_the_frontend_that_is_given(foreign, frontend, capsys) -> None:
    labels = ",".join(LABELS)
    bare = call_json(capsys, "bench", foreign, "--device", "host", "--runs", "1", "--json")["latency"][0]
    assert "noise" in bare["detail"]["inputs"]
    argv = ("bench", foreign, "--device", "host", "--runs", "1", "--labels", labels, "--frontend", frontend, "--json")
    record = call_json(capsys, *argv)["latency"][0]
    assert "test clips of synthetic" in record["detail"]["inputs"]
    assert not list(foreign.parent.glob("*.json"))  # nothing is left beside a file of others


def test_evaluate_needs_a_description(foreign, frontend, capsys, tmp_path) -> None:
    code, _, err = call(capsys, "evaluate", foreign, "--data.name", "synthetic")
    assert code == 2
    assert "give its labels and front-end (--labels, --frontend)" in err
    names = tmp_path / "labels.txt"
    names.write_text("\n".join(LABELS) + "\n")
    argv = ("evaluate", foreign, "--data.name", "synthetic", "--labels", names, "--frontend", frontend)
    code, _, err = call(capsys, *argv)
    assert code == 2
    assert "tells scene 0, scene 1" in err  # understood, and of other classes than the data


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mels = 20", "takes [1, 20, 12, 1], but the front-end gives 20 mels x 500 frames"),
        ("tones = 3", "'tones'"),
        ("x", ""),
    ],
)
def test_a_front_end_that_does_not_fit_is_refused(foreign, tmp_path, capsys, text, says) -> None:
    path = tmp_path / "frontend.toml"
    path.write_text(text)
    code, _, err = call(capsys, "bench", foreign, "--labels", ",".join(LABELS), "--frontend", path)
    assert code == 2
    assert says in err


def test_half_a_description_is_refused(foreign, tmp_path, capsys) -> None:
    code, _, err = call(capsys, "bench", foreign, "--output", "sigmoid")
    assert code == 2
    assert "give its --labels too" in err
    names = tmp_path / "labels.txt"
    names.write_bytes(b"caf\xe9")
    code, _, err = call(capsys, "bench", foreign, "--labels", names)
    assert code == 2
    assert "is no text file of labels" in " ".join(err.split())


def test_a_described_file_computes_the_same(foreign) -> None:
    described = edgeprune.load_tflite(foreign, LABELS, LogMel(mels=MELS, patch_frames=FRAMES), (-3.0, 2.0))
    clips = conv_tflite.clips(3)
    np.testing.assert_array_equal(described.predict(clips), TFLiteModel(foreign).predict(clips))
    assert described.description.labels == tuple(LABELS)
    assert described.description.normalisation.mean.tolist() == [-3.0] * MELS
    assert edgeprune.load_tflite(foreign).description is None
    with pytest.raises(EdgepruneError, match="gives 5 values, which need as many different labels; 2 are given"):
        edgeprune.load_tflite(foreign, ["a", "b"])
    with pytest.raises(EdgepruneError, match="normalisation and output are taken with labels or a front-end"):
        edgeprune.load_tflite(foreign, output="sigmoid")


MLPERF = ["mlperf_ad01_int8", "mlperf_kws_int8", "mlperf_resnet_int8", "mlperf_strww", "mlperf_vww_int8", "mww_v2_vad",
          "tflm_micro_speech_quantized"]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", MLPERF)
def test_published_files_are_costed_and_measured(name, shared_data, capsys) -> None:
    path = shared_data / "models" / "mlperf_tiny" / f"{name}.tflite"
    cost = call_json(capsys, "cost", path, "--json")
    assert cost["macs"] > 0
    assert cost["params"] > 0
    for device in ("host", "tflm"):
        (record,) = call_json(capsys, "bench", path, "--device", device, "--runs", "2", "--json")["latency"]
        assert record["median"] > 0


def test_a_network_that_keeps_state_is_not_evaluated(shared_data) -> None:
    path = shared_data / "models" / "mlperf_tiny" / "mww_v2_vad.tflite"
    model = TFLiteModel(path)
    with pytest.raises(EdgepruneError, match="keeps state from one call to the next"):
        model.predict(np.zeros((1, *model.input_shape[1:]), np.float32))
    assert json.dumps(edgeprune.cost(path).to_dict())
