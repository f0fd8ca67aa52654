"""Log-mel extraction against a plain librosa loop: the same clips, the same features, the same cores.

    python benchmarks/features.py [FOLDER] [--clips N] [--repeats R] [--json]

FOLDER holds audio files at any depth; without it, synthetic scenes of 10 s are written to a temporary one. Both sides
decode, resample, and compute every clip; edgeprune writes its cache as well. Files, librosa's imports and its filter
bank are warm before the clock starts, and the contestants take turns. Ends with exit code 1 if their features differ.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np

from edgeprune import console
from edgeprune.data import synthetic
from edgeprune.data.clip_finder import is_audio
from edgeprune.data.feature_cache import Features, extract
from edgeprune.errors import EdgepruneError
from edgeprune.recipe import LogMel

TOLERANCE = 1e-4
FRONTENDS = {"vggish": LogMel.vggish(), "dcase21": LogMel.dcase21(16000)}


def librosa_loop(paths: list[Path], spec: LogMel) -> list[np.ndarray]:
    """What a script would do, clip by clip: load, melspectrogram, log; each `[frames, mels]`."""
    low, high = spec.band_limits
    found = []
    for path in paths:
        waveform, _ = librosa.load(path, sr=spec.sample_rate)
        if not spec.center:  # librosa centres the window in its FFT frame; ours begins with the frame
            spare = spec.fft_size - spec.window_samples
            waveform = np.pad(waveform, (spare // 2, spare - spare // 2))
        mel = librosa.feature.melspectrogram(
            y=waveform,
            sr=spec.sample_rate,
            n_fft=spec.fft_size,
            win_length=spec.window_samples,
            hop_length=spec.hop_samples,
            window=spec.window,
            center=spec.center,
            pad_mode="constant",
            power=2.0 if spec.spectrum == "power" else 1.0,
            n_mels=spec.mels,
            fmin=low,
            fmax=high,
            htk=spec.mel_scale == "htk",
            norm=None if spec.norm == "none" else spec.norm,
        )
        found.append(np.log(mel + spec.log_offset).T)
    return found


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(root: Path, names: list[str], spec: LogMel, repeats: int, scratch: Path) -> dict[str, float]:
    """Median seconds of each contestant over `repeats` rounds, and `max_abs_error` between the two sides."""
    caches = iter(scratch / str(number) for number in range(2 * repeats + 1))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def ours(workers: int, cache: Path) -> Features:
        return extract(root, names, spec, {}, cache=cache, workers=workers)

    paths = [root / name for name in names]
    first = next(caches)
    features, theirs = ours(cores, first), librosa_loop(paths, spec)  # the warm-up, and the check
    error = 0.0
    for name, other in zip(names, theirs, strict=True):
        mine = features.clip(name)[: len(other)]  # ours pads a clip that is shorter than a patch
        if len(mine) != len(other):
            raise EdgepruneError(f"{root / name}: {len(mine)} frames from edgeprune, {len(other)} from librosa.")
        error = max(error, float(np.abs(mine - other).max()))

    contestants: dict[str, Callable[[], object]] = {
        "librosa loop": lambda: librosa_loop(paths, spec),
        "edgeprune, 1 thread": lambda: ours(1, next(caches)),
        f"edgeprune, {cores} threads": lambda: ours(cores, next(caches)),
        "edgeprune, from its cache": lambda: np.array(ours(cores, first).frames),
    }
    rounds = [{name: timed(work) for name, work in contestants.items()} for _ in range(repeats)]
    medians = {name: statistics.median(turn[name] for turn in rounds) for name in contestants}
    return {**medians, "max_abs_error": error}


def main() -> int:
    parser = argparse.ArgumentParser(description="Log-mel extraction against a plain librosa loop.")
    parser.add_argument("folder", nargs="?", type=Path, help="audio files at any depth (default: synthetic scenes)")
    parser.add_argument("--clips", type=int, default=90, help="clips to use (90)")
    parser.add_argument("--repeats", type=int, default=5, help="rounds, of which the median counts (5)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = options.folder or Path(scratch) / "scenes"
        if options.folder is None:
            synthetic.ensure(root, clips_per_scene=9, clip_s=10.0)
        names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if is_audio(path.name))
        if not names:
            sys.exit(f"{root}: holds no audio files; give another folder.")
        # Evenly spread, so that a few clips are not all of one scene.
        chosen = [names[index] for index in np.unique(np.linspace(0, len(names) - 1, options.clips).astype(int))]
        results = {
            name: compare(root, chosen, spec, options.repeats, Path(scratch) / name) for name, spec in FRONTENDS.items()
        }
    if options.json:
        print(json.dumps({"clips": len(chosen), "frontends": results}, indent=2))
    else:
        for frontend, result in results.items():
            error = result.pop("max_abs_error")
            base = result["librosa loop"]
            print(
                f"{frontend}: {len(chosen)} clips, median of {options.repeats} rounds, largest difference {error:.1e}"
            )
            console.print_table(
                "",
                ["", "s", "clips/s", "times as fast"],
                [(name, f"{s:.3f}", f"{len(chosen) / s:.0f}", f"{base / s:.2f}") for name, s in result.items()],
            )
            result["max_abs_error"] = error
    return int(any(result["max_abs_error"] > TOLERANCE for result in results.values()))


if __name__ == "__main__":
    sys.exit(main())
