"""The bundle `android`: a model with the front-end inside as an asset, and the Kotlin class that runs it in LiteRT."""

from pathlib import Path
from typing import Any

from edgeprune.bundles.common import common_files, facts_text, fill_template, write_manifest
from edgeprune.bundles.source import Source
from edgeprune.files import write_bytes, write_json
from edgeprune.firmware.c_text import c_float
from edgeprune.firmware.frontend import write_frontend
from edgeprune.tflite.interpreter import TFLiteModel
from edgeprune.tflite.metadata import read_metadata

_MAIN = Path("app/src/main")


def write(source: Source, out: Path) -> None:
    """Write the bundle to the folder `out`, with the front-end in the model if possible, else in C beside it."""
    facts = common_files(source, out)
    description, quantisation = source.description, TFLiteModel(source.model).input_quantisation
    write_frontend(source.frontend, description.normalisation, out / "frontend", description.layout, quantisation)
    assets = out / _MAIN / "assets"
    write_json(assets / "labels.json", list(source.labels))
    size = source.frontend.fft_size
    takes_waveform = size & (size - 1) == 0  # TFLite's FFT takes powers of two alone
    write_app = _write_waveform_app if takes_waveform else _write_feature_app
    readme = write_app(source, out, assets)
    fill_template("android/build.gradle.kts", out)
    fill_template("android/README.md", out, **readme, MODEL=source.model.name, FACTS=facts_text(source))
    write_manifest(out, {**facts, "target": "android", "input": "waveform" if takes_waveform else "features"})


def _write_waveform_app(source: Source, out: Path, assets: Path) -> dict[str, Any]:
    """Write the model and its class; returns the marks of the README."""
    from edgeprune.convert.waveform import write_waveform_model  # TensorFlow takes seconds to import

    asset = write_waveform_model(source.model, assets / "scene_classifier.tflite")
    feeding = read_metadata(asset)["waveform"]
    names = {"SAMPLE_RATE": "sample_rate", "SAMPLES": "samples", "BEFORE": "before", "HOP": "hop"}
    values = {mark: feeding[name] for mark, name in names.items()}
    fill_template("android/SceneClassifier.kt", out / _MAIN / "java/edgeprune", ASSET=asset.name, **values)
    return {
        "ASSET": asset.name,
        "CLASS": "SceneClassifier",
        "WHAT": "It takes the waveform, float32, and gives float32 probabilities: the log-mel front-end is part of the "
        "model, and no code of the app can differ from it.",
        "STEP": f"Record {feeding['sample_rate']} Hz mono with `AudioRecord`, keep the latest `SAMPLES` samples and "
        "call\n   `SceneClassifier(context).probabilities(SceneClassifier.toFloats(samples))` every `HOP` samples.",
    }


def _write_feature_app(source: Source, out: Path, assets: Path) -> dict[str, Any]:
    """Write the model and its class; returns the marks of the README."""
    name = "feature_classifier.tflite"
    write_bytes(assets / name, source.model.read_bytes())
    scale, zero_point = TFLiteModel(source.model).output_quantisation
    fill_template(
        "android/FeatureClassifier.kt",
        out / _MAIN / "java/edgeprune",
        ASSET=name,
        INPUT_SIZE=source.stored[0].size,
        OUTPUT_SCALE=c_float(scale),
        OUTPUT_ZERO_POINT=zero_point,
    )
    return {
        "ASSET": name,
        "CLASS": "FeatureClassifier",
        "WHAT": "It takes features: this front-end cannot be part of a model, because its FFT size is no power of two. "
        "`frontend/` holds it in C, for the NDK.",
        "STEP": "Push samples into the C front-end, and call\n"
        "   `FeatureClassifier(context).probabilities(features)` with what `ep_frontend_patch_i8` gives.",
    }
