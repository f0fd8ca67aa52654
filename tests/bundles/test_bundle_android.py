import hashlib
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from bundle_sources import LABELS, SPEC, make_source

from edgeprune.audio.logmel import waveform_patches
from edgeprune.bundles import android
from edgeprune.tflite.interpreter import TFLiteModel
from edgeprune.tflite.metadata import read_metadata

MAIN = "app/src/main"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return make_source(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def bundle(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("bundle") / "android"
    android.write(source, out)
    return out


def _constants(text: str) -> dict[str, float]:
    return {name: float(value.rstrip("f")) for name, value in re.findall(r"const val (\w+) = (\S+)", text)}


def test_the_class_knows_its_model(source, bundle) -> None:
    asset = bundle / MAIN / "assets" / "scene_classifier.tflite"
    kotlin = (bundle / MAIN / "java/edgeprune/SceneClassifier.kt").read_text()
    assert f'"{asset.name}"' in kotlin
    constants, model = _constants(kotlin), TFLiteModel(asset)
    assert constants["SAMPLE_RATE"] == 8000
    assert model.input_shape == (1, constants["SAMPLES"])
    told = read_metadata(asset)["waveform"]
    assert (constants["BEFORE"], constants["HOP"]) == (told["before"], told["hop"])
    assert constants["HOP"] == SPEC.patch_hop_frames * SPEC.hop_samples
    assert (model.input_dtype, model.output_dtype, model.output_shape) == (np.float32, np.float32, (1, len(LABELS)))
    # What the app computes from the clip's samples is what the Python chain said of it.
    (patch,) = waveform_patches(source.clips[0].samples.astype(np.float32) / 32768, SPEC)
    np.testing.assert_allclose(model.predict(patch[None])[0], source.clips[0].probabilities, atol=0.02)


def test_the_files(source, bundle) -> None:
    contents = {path.relative_to(bundle).as_posix(): path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    manifest = json.loads(contents["manifest.json"])
    assert manifest["files"] == {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in contents.items()
        if name != "manifest.json"
    }
    assert (manifest["target"], manifest["input"]) == ("android", "waveform")
    assert json.loads(contents[f"{MAIN}/assets/labels.json"]) == list(LABELS)
    assert b"com.google.ai.edge.litert:litert:" in contents["build.gradle.kts"]
    for name, content in contents.items():
        if name.endswith((".kt", ".kts")):
            assert b"@" not in re.sub(rb"@param", b"", content)
    readme = contents["README.md"].decode()
    assert "SceneClassifier(context)" in readme
    for label in LABELS:
        assert json.dumps(label, ensure_ascii=False) in readme


def test_the_same_source_gives_the_same_bytes(source, bundle, tmp_path) -> None:
    android.write(source, tmp_path / "again")
    for path in bundle.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "again" / path.relative_to(bundle)).read_bytes(), path


def test_a_front_end_that_cannot_be_part_of_a_model(tmp_path) -> None:
    """An FFT of 320 samples: the app feeds features, which the C front-end computes."""
    source = make_source(tmp_path, replace(SPEC, n_fft=320))
    android.write(source, tmp_path / "out")
    kotlin = (tmp_path / "out" / MAIN / "java/edgeprune/FeatureClassifier.kt").read_text()
    constants = _constants(kotlin)
    assert constants == {"SIZE": source.stored[0].size, "OUTPUT_SCALE": 1 / 256, "OUTPUT_ZERO_POINT": -128}
    asset = tmp_path / "out" / MAIN / "assets" / "feature_classifier.tflite"
    assert asset.read_bytes() == source.model.read_bytes()
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["input"] == "features"
    assert (tmp_path / "out" / "frontend" / "edgeprune_frontend.c").is_file()
    assert "FeatureClassifier(context)" in (tmp_path / "out" / "README.md").read_text()
