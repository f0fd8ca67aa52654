import hashlib
import json
import re
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from bundle_sources import LABELS, SPEC, make_source

from edgeprune.audio.listen_rules import ListenRules
from edgeprune.audio.logmel import waveform_patches
from edgeprune.bundles import android
from edgeprune.bundles.deployment import Deployment
from edgeprune.bundles.targets import write_bundle
from edgeprune.errors import EdgepruneError
from edgeprune.tflite.interpreter import TFLiteModel
from edgeprune.tflite.metadata import read_metadata
from edgeprune.tflite.standard_metadata import label_lines

MAIN = "app/src/main"
PACKAGE = "org.example.street"
JAVA = f"{MAIN}/java/org/example/street"
RULES = ListenRules(hops_per_window=3, smoothing=0.25, threshold=0.6, gate_dbfs=None)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return make_source(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def bundle(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("bundle") / "android"
    android.write(source, out, Deployment(RULES, package=PACKAGE))
    return out


def _constants(text: str) -> dict[str, float]:
    return {name: float(value.rstrip("fL")) for name, value in re.findall(r"const val (\w+) = (\S+)", text)}


def test_the_kotlin_knows_its_model_and_rules(source, bundle) -> None:
    asset = bundle / MAIN / "assets" / "scene_classifier.tflite"
    assert f'"{asset.name}"' in (bundle / JAVA / "SceneClassifier.kt").read_text()
    model = TFLiteModel(asset)
    told = read_metadata(asset)["waveform"]
    assert _constants((bundle / JAVA / "Settings.kt").read_text()) == {
        "SAMPLE_RATE": 8000,
        "SAMPLES": model.input_shape[1],
        "BEFORE": told["before"],
        "HOP": SPEC.patch_frames / 3 * SPEC.hop_samples,
        "LEVEL_SAMPLES": SPEC.patch_frames * SPEC.hop_samples,
        "SMOOTHING": 8192,
        "THRESHOLD": round(0.6 * 65536),
        "GATE": 0,
    }
    assert (model.input_dtype, model.output_dtype, model.output_shape) == (np.float32, np.float32, (1, len(LABELS)))
    # What the app computes from the clip's samples is what the Python chain said of it.
    (patch,) = waveform_patches(source.clips[0].samples.astype(np.float32) / 32768, SPEC)
    vectors = bundle / "app/src/androidTest/assets"
    np.testing.assert_array_equal(np.fromfile(vectors / "inputs.bin", "<i2") / np.float32(32768), patch)
    ours = json.loads((vectors / "probabilities.json").read_text())
    np.testing.assert_allclose(ours, [source.clips[0].probabilities], atol=0.02)
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
    assert manifest["package"] == PACKAGE
    assert json.loads(contents[f"{MAIN}/assets/labels.json"]) == list(LABELS)
    with zipfile.ZipFile(bundle / MAIN / "assets/scene_classifier.tflite") as archive:
        assert archive.read("labels.txt").decode() == label_lines(LABELS)
    assert {name.rpartition("/")[2] for name in contents if name.startswith(JAVA)} == {
        *("Settings.kt", "ListenRules.kt", "SampleRing.kt", "Listener.kt", "Microphone.kt", "SceneClassifier.kt")
    }
    assert b"com.google.ai.edge.litert:litert:" in contents["build.gradle.kts"]
    for name, content in contents.items():
        if name.endswith((".kt", ".kts")):
            assert not re.search(rb"@[A-Z_]+@", content), name
            assert not name.endswith(".kt") or content.startswith(f"package {PACKAGE}\n".encode())
    readme = contents["README.md"].decode()
    assert "SceneClassifier(context)" in readme
    for label in LABELS:
        assert json.dumps(label, ensure_ascii=False) in readme


def test_the_same_source_gives_the_same_bytes(source, bundle, tmp_path) -> None:
    android.write(source, tmp_path / "again", Deployment(RULES, package=PACKAGE))
    for path in bundle.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "again" / path.relative_to(bundle)).read_bytes(), path


def test_a_front_end_that_cannot_be_part_of_a_model(tmp_path) -> None:
    """An FFT of 320 samples: the app feeds features, which the C front-end computes."""
    source = make_source(tmp_path, replace(SPEC, n_fft=320))
    android.write(source, tmp_path / "out", Deployment())
    kotlin = (tmp_path / "out" / MAIN / "java/edgeprune/FeatureClassifier.kt").read_text()
    constants = _constants(kotlin)
    assert constants == {"SIZE": source.stored[0].size, "OUTPUT_SCALE": 1 / 256, "OUTPUT_ZERO_POINT": -128}
    asset = tmp_path / "out" / MAIN / "assets" / "feature_classifier.tflite"
    assert asset.read_bytes() != source.model.read_bytes()  # it names its labels as Android expects them
    assert read_metadata(asset) == read_metadata(source.model)
    stored = source.stored[:3]
    np.testing.assert_array_equal(
        [TFLiteModel(asset).invoke_raw(one[None]) for one in stored],
        [TFLiteModel(source.model).invoke_raw(one[None]) for one in stored],
    )
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["input"] == "features"
    assert (tmp_path / "out" / "frontend" / "edgeprune_frontend.c").is_file()
    assert "FeatureClassifier(context)" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize(
    "package", ["", "Org.example", "org..example", "org.example.", "org.1st", "org.new", "a-b", "é"]
)
def test_what_is_no_package_is_refused(package) -> None:
    with pytest.raises(EdgepruneError, match=r"names no Kotlin package; use .* such as org\.example\.listening"):
        Deployment(package=package)


def test_a_package_is_for_android_alone(tmp_path) -> None:
    with pytest.raises(EdgepruneError, match="package: c11 has no Kotlin; leave out --package"):
        write_bundle(tmp_path, "c11", tmp_path / "out", deployment=Deployment(package="org.example"))
    assert not (tmp_path / "out").exists()
