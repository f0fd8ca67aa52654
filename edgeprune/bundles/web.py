"""The bundle `web`: a static page that listens, in any browser, by LiteRT.js and the rules of `edgeprune listen`."""

import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

from edgeprune.audio.listen_rules import ListenRules
from edgeprune.bundles.common import fill_template, filled, write_manifest
from edgeprune.bundles.deployment import Deployment
from edgeprune.devices.inputs import clips_of
from edgeprune.devices.litert_js import (
    IMPORT_MAP,
    INSTALL,
    INTEGRITY,
    VERSION,
    WASM,
    copy_litert_js,
    find_litert_js,
    page_policy,
)
from edgeprune.errors import EdgepruneError
from edgeprune.files import sha256_file, share_folder, write_bytes, write_json, write_text
from edgeprune.recipe import LogMel
from edgeprune.tflite.description import Description
from edgeprune.tflite.metadata import read_description
from edgeprune.tflite.sidecar import check_unchanged
from edgeprune.version import __version__

MODEL = "model.tflite"
PARITY_CLIPS = 3
"""Clips on which the page's file is compared with the chain it replaces."""
_COPIED = ("style.css", "page.js", "listener.js", "logmel.js", "picture.js", "audio.js", "recorder.js",
           "app.webmanifest", "icon.svg", "icon-192.png", "icon-512.png")  # fmt: skip
_CARD_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True, eq=False)
class WebSource:
    """What a page is made of.

    Attributes:
        model: a .tflite of any format, before features or samples.
        clips: audio on which the page's file is checked.
        litert_js: folder of LiteRT.js's packages.
    """

    model: Path
    description: Description
    clips: tuple[Path, ...]
    litert_js: Path


def web_source(run: Path, clips: Sequence[Path], litert_js: Path | None) -> WebSource:
    """Collect what a page is made of, from a run folder with `model_int8.tflite` or a .tflite of any format."""
    packages = find_litert_js(litert_js)
    model = run if run.suffix == ".tflite" else run / "model_int8.tflite"
    if not model.is_file():
        raise EdgepruneError(f"{model}: is not there; a page is made of a finished run with int8, or of a .tflite.")
    check_unchanged(model)
    description = read_description(model)
    description.check_probabilities(model)
    if description.frontend is None:
        raise EdgepruneError(f"{model}: describes no log-mel front-end; a page is made for a network of audio.")
    if not (clips or description.takes_waveform):
        clips = [clip for clip, _ in clips_of(model, description.frontend, PARITY_CLIPS)]
    return WebSource(model, description, tuple(clips), packages)


def write(source: WebSource, out: Path, deployment: Deployment) -> None:
    """Write the page to the folder `out`."""
    parity = _write_model(source, out / MODEL)
    rules = deployment.rules.of_network(source.description.threshold)
    for name in _COPIED:
        write_bytes(out / name, (share_folder("export") / "web" / name).read_bytes())
    copy_litert_js(source.litert_js, out)
    fill_template("web/index.html", out, POLICY=page_policy(), IMPORT_MAP=IMPORT_MAP, VERSION=VERSION)
    write_json(out / "page.json", _page(source, out, rules, deployment.card is not None))
    if deployment.card is not None:
        write_text(out / "model_card.html", _card_page(deployment.card))
    packages = "\n".join(f"- `@litertjs/{name}@{VERSION}`: `{integrity}`" for name, integrity in INTEGRITY.items())
    fill_template("web/README.md", out, MODEL=source.model.name, INSTALL=INSTALL, PACKAGES=packages)
    _write_service_worker(out)
    facts = {
        "edgeprune": __version__,
        "target": "web",
        "model": {"file": MODEL, "sha256": sha256_file(out / MODEL), "made_of": source.model.name, "parity": parity},
        "labels": list(source.description.labels),
        "rules": asdict(rules),
        "litert_js": {"version": VERSION, "integrity": INTEGRITY},
    }
    write_manifest(out, facts)


def _write_model(source: WebSource, path: Path) -> dict[str, Any] | None:
    """Write the file that takes samples; returns how it compares with the chain it replaces."""
    if source.description.takes_waveform:
        write_bytes(path, source.model.read_bytes())
        return None
    from edgeprune.convert.waveform import write_waveform_model  # TensorFlow takes seconds to import
    from edgeprune.convert.waveform_parity import check_waveform

    write_waveform_model(source.model, path)
    return asdict(check_waveform(path, source.model, source.clips))


def _page(source: WebSource, out: Path, rules: ListenRules, has_card: bool) -> dict[str, Any]:
    """The content of `page.json`: all that the scripts know of this network."""
    description, spec = source.description, source.description.logmel
    size, classes = (out / MODEL).stat().st_size / 1000, len(description.labels)
    return {
        "about": f"{description.spec.name}, {classes} {'class' if classes == 1 else 'classes'}, {size:,.0f} kB",
        "labels": list(description.labels),
        "model": MODEL,
        "card": has_card,
        "listening": listening_settings(spec, rules),
        "frontend": frontend_settings(description),
        "rules_in_words": _in_words(spec, rules),
    }


def listening_settings(spec: LogMel, rules: ListenRules) -> dict[str, Any]:
    """Numbers of samples by name, and the rules as whole numbers."""
    from edgeprune.audio.logmel import Frontend

    before, after = spec.samples_around
    return {
        "sample_rate": spec.sample_rate,
        "samples": spec.patch_samples,
        "before": before,
        "after": after,
        "least_samples": Frontend(spec).padded_samples(0),
        "hop": rules.hop_frames(spec) * spec.hop_samples,
        # where in a window its level begins: its first frame's share, as the Listener counts
        "level_start": spec.window_samples - spec.hop_samples,
        "rules": {
            "smoothing_weight": rules.smoothing_weight,
            "least_probability": rules.least_probability,
            "least_mean_square": rules.least_mean_square,
        },
    }


def frontend_settings(description: Description) -> dict[str, Any]:
    """The front-end in numbers, for the picture; the network has its own inside."""
    import librosa

    spec = description.logmel
    low, high = spec.band_limits
    edges = librosa.mel_frequencies(spec.mels + 2, fmin=low, fmax=high, htk=spec.mel_scale == "htk")
    return {
        "sample_rate": spec.sample_rate,
        "window": spec.window,
        "window_samples": spec.window_samples,
        "hop_samples": spec.hop_samples,
        "fft_size": spec.fft_size,
        "band_edges_hz": edges.tolist(),
        "unit_area": spec.norm == "slaney",
        "power": spec.spectrum == "power",
        "log_offset": spec.log_offset,
        "zeros_before": spec.samples_around[0],
        **_picture_range(description),
    }


def _picture_range(description: Description) -> dict[str, list[float]]:
    """Mean and standard deviation of each band, for the picture's colours: the network's where it normalises."""
    normalisation, mels = description.normalisation, description.logmel.mels
    if normalisation.mean.any() or (normalisation.std != 1).any():
        return normalisation.to_dict()
    return {"mean": [math.log(description.logmel.log_offset) + 4] * mels, "std": [1.6] * mels}


def _in_words(spec: LogMel, rules: ListenRules) -> list[str]:
    hop_s = rules.hop_frames(spec) * spec.hop_samples / spec.sample_rate
    words = [f"It decides every {hop_s:.3g} s, from the {spec.patch_s:.3g} s before."]
    if rules.smoothing:
        now = 1 - rules.smoothing
        words.append(f"A probability is {now:.0%} of what is heard now and {rules.smoothing:.0%} of what was before.")
    if rules.threshold:
        words.append(f"A class is named from {rules.threshold:.0%} on; where none is, it says “none of these”.")
    if rules.gate_dbfs is not None:
        words.append(f"What is quieter than {rules.gate_dbfs:g} dBFS is silence.")
    return words


def _card_page(markdown: str) -> str:
    """The model card as a page; no markup that stands in the card counts."""
    from markdown_it import MarkdownIt

    card = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    card = re.sub(r' style="text-align:(\w+)"', r' class="\1"', card)  # the page's policy allows no style in its markup
    return filled("web/model_card.html", POLICY=escape(_CARD_POLICY), CARD=card)


def _write_service_worker(out: Path) -> None:
    """It keeps the files written so far, but of LiteRT.js's two runtimes the one that the browser takes."""
    runtimes = [f"litert/{name}" for name in WASM]
    left_out = {"README.md", *runtimes}
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    digest = hashlib.sha256("".join(sha256_file(out / name) for name in names).encode()).hexdigest()
    kept = ["./", *(name for name in names if name not in left_out)]
    fill_template(
        "web/service-worker.js", out, BUNDLE=digest[:16], FILES=json.dumps(kept), RUNTIMES=json.dumps(runtimes)
    )
