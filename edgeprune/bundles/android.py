"""The bundle `android`: a network as an asset, and the Kotlin that listens with it in LiteRT."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.audio.logmel import waveform_patches
from edgeprune.bundles.common import common_files, facts_text, fill_template, write_manifest
from edgeprune.bundles.deployment import Deployment
from edgeprune.bundles.source import Source
from edgeprune.devices.checks import tolerance
from edgeprune.files import write_bytes, write_json
from edgeprune.firmware.c_text import c_float
from edgeprune.firmware.frontend import write_frontend
from edgeprune.tflite.interpreter import TFLiteModel
from edgeprune.tflite.standard_metadata import write_standard_metadata

_KOTLIN = ("Settings", "ListenRules", "SampleRing", "Listener", "Microphone")


@dataclass(frozen=True, eq=False)
class _Network:
    """The network as an app has it.

    Attributes:
        inputs: of its test, `[n, ...]`, as the class takes them.
        expected: its probabilities for them, `[n, classes]`.
        words: marks of the README and of the test.
    """

    asset: Path
    inputs: NDArray[Any]
    expected: NDArray[np.float32]
    words: dict[str, Any]


def write(source: Source, out: Path, deployment: Deployment) -> None:
    """Write the bundle to the folder `out`, with the front-end in the model if possible, else in C beside it."""
    facts = common_files(source, out)
    description, quantisation = source.description, TFLiteModel(source.model).input_quantisation
    write_frontend(source.frontend, description.normalisation, out / "frontend", description.layout, quantisation)
    main, tests, package = out / "app/src/main", out / "app/src/androidTest", deployment.package
    kotlin = Path("java", *package.split("."))
    write_json(main / "assets" / "labels.json", list(source.labels))
    size = source.frontend.fft_size
    takes_waveform = size & (size - 1) == 0  # TFLite's FFT takes powers of two alone
    write_network = _write_waveform_network if takes_waveform else _write_feature_network
    network = write_network(source, main / "assets", main / kotlin, package)
    write_standard_metadata(network.asset)
    settings = _settings(source, deployment)
    for name in _KOTLIN:
        fill_template(f"android/{name}.kt", main / kotlin, PACKAGE=package, **settings)
    _write_test(network, tests, kotlin, package)
    fill_template("android/build.gradle.kts", out)
    words = network.words | {
        "PACKAGE": package,
        "ASSET": network.asset.name,
        "HOP_S": f"{settings['HOP'] / source.frontend.sample_rate:.3g}",
        "MODEL": source.model.name,
        "FACTS": facts_text(source),  # last: labels may hold marks
    }
    fill_template("android/README.md", out, **words)
    kind = "waveform" if takes_waveform else "features"
    write_manifest(out, {**facts, "target": "android", "input": kind, "package": package})


def _settings(source: Source, deployment: Deployment) -> dict[str, Any]:
    """The marks of `Settings.kt`."""
    spec, rules = source.frontend, deployment.rules
    return {
        "SAMPLE_RATE": spec.sample_rate,
        "SAMPLES": spec.patch_samples,
        "BEFORE": spec.samples_around[0],
        "HOP": rules.hop_frames(spec) * spec.hop_samples,
        "LEVEL_SAMPLES": spec.patch_frames * spec.hop_samples,
        "SMOOTHING": rules.smoothing_weight,
        "SMOOTHING_TEXT": f"{rules.smoothing:g}",
        "THRESHOLD": rules.least_probability,
        "THRESHOLD_TEXT": f"{rules.threshold:g}",
        "GATE": rules.least_mean_square,
        "GATE_TEXT": "never" if rules.gate_dbfs is None else f"{rules.gate_dbfs:g} dBFS",
    }


def _write_waveform_network(source: Source, assets: Path, kotlin: Path, package: str) -> _Network:
    """Write the network with the front-end in front, and its class; it is tested on windows `[n, samples]`, int16."""
    from edgeprune.convert.waveform import write_waveform_model  # TensorFlow takes seconds to import

    asset = write_waveform_model(source.model, assets / "scene_classifier.tflite")
    fill_template("android/SceneClassifier.kt", kotlin, PACKAGE=package, ASSET=asset.name)
    windows = np.stack([waveform_patches(clip.samples, source.frontend)[0] for clip in source.clips])
    return _Network(
        asset,
        windows.astype(np.int16),
        TFLiteModel(asset, xnnpack=False).predict(windows / 32768),
        {
            "CLASS": "SceneClassifier",
            "INPUT": "ShortArray(Settings.SAMPLES) { inputs.short }",
            "INPUT_WORDS": "samples",
            "VECTORS": f"{len(windows)} clip{'s' * (len(windows) != 1)}",
            "PREDICT": "classifier.probabilities(samples)",
            "WHAT": "It takes the waveform, float32, and gives float32 probabilities: the log-mel front-end is part of "
            "the model, and no code of the app can differ from it.",
            "STEP": "",
        },
    )


def _write_feature_network(source: Source, assets: Path, kotlin: Path, package: str) -> _Network:
    """Write the network as it is, and its class; it is tested on the source's vectors."""
    asset = assets / "feature_classifier.tflite"
    write_bytes(asset, source.model.read_bytes())
    model = TFLiteModel(source.model)
    scale, zero_point = model.output_quantisation
    fill_template(
        "android/FeatureClassifier.kt",
        kotlin,
        PACKAGE=package,
        ASSET=asset.name,
        INPUT_SIZE=source.stored[0].size,
        OUTPUT_SCALE=c_float(scale),
        OUTPUT_ZERO_POINT=zero_point,
    )
    return _Network(
        asset,
        source.stored,
        model.dequantise(source.expected),
        {
            "CLASS": "FeatureClassifier",
            "INPUT": "ByteArray(FeatureClassifier.SIZE) { inputs.get() }",
            "INPUT_WORDS": "quantised features",
            "VECTORS": f"features of {len(source.stored)} inputs",
            "PREDICT": "classifier.probabilities(features(samples))",
            "WHAT": "It takes features: this front-end cannot be part of a model, because its FFT size is no power of "
            "two. `frontend/` holds it in C, for the NDK.",
            "STEP": "\n\n   `features` is yours to write: it pushes the samples into the C front-end and returns what\n"
            "   `ep_frontend_patch_i8` gives.",
        },
    )


def _write_test(network: _Network, out: Path, kotlin: Path, package: str) -> None:
    """Write the instrumented test, and its vectors as assets of its own."""
    stored = network.inputs.dtype.newbyteorder("<")
    write_bytes(out / "assets" / "inputs.bin", network.inputs.astype(stored).tobytes())
    write_json(out / "assets" / "probabilities.json", network.expected.tolist())
    allowed = f"{tolerance(network.asset, network.expected):.3f}"
    words = {"PACKAGE": package, "TOLERANCE": allowed, **network.words}
    fill_template("android/ClassifierTest.kt", out / kotlin, **words)
