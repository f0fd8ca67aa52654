"""The sound of a synthetic scene: its events, the place where they happen, and the device that records them."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Signal = NDArray[np.float64]

CITIES = ("barcelona", "helsinki", "lisbon", "lyon", "prague", "vienna")

_LEAD_IN_S = 0.5  # rendered and dropped, so that a clip starts amid its events; the longest reverberation
_PEAK = 0.97
_NYQUIST_MEL = 2840.0  # 8 kHz

Band = tuple[float, float]  # lowest and highest pitch, mel
_LOW, _HIGH, _FULL = (400.0, 1900.0), (1000.0, 2600.0), (400.0, 2600.0)


@dataclass(frozen=True)
class Recorder:
    """A recorder: response as (Hz, dB) points, noise floor (dB re full scale), and saturation level (times RMS)."""

    response: tuple[tuple[float, float], ...]
    noise_dbfs: float
    ceiling: float = math.inf


RECORDERS = {
    "a": Recorder(((0, 0), (8000, 0)), -80.0),
    "b": Recorder(((0, -18), (150, -6), (400, 0), (2500, 3), (4000, 0), (8000, -6)), -68.0),
    "s1": Recorder(((0, -24), (250, -9), (600, 0), (1200, 4), (2200, -3), (4500, 2), (8000, -12)), -62.0, 2.0),
}
TRAIN_DEVICES = ("a", "b")
EVALUATION_DEVICES = ("a", "b", "s1")


@dataclass(frozen=True)
class SyntheticClip:
    """One clip: the parts of its name, and its side of the split. Locations and segments are numbered over the set.

    `scene` is one of `SCENES`; in a set of `mixtures` several of them, as `bus+park`, or `none`.
    """

    scene: str
    city: str
    location: int
    segment: int
    device: str
    held_out: bool
    mixture: bool = False

    @property
    def sounds(self) -> tuple[str, ...]:
        """The scenes whose sounds it holds."""
        return () if self.scene == "none" else tuple(self.scene.split("+"))

    @property
    def filename(self) -> str:
        return f"audio/{self.scene}-{self.city}-{self.location}-{self.segment}-{self.device}.wav"

    @property
    def identifier(self) -> str:
        return f"{self.city}-{self.location}"


@dataclass(frozen=True)
class Place:
    """Properties shared by the clips of one location, drawn in the same way for every scene.

    `rate` counts events a second, `stray_rate` sounds that any scene may have; `tone_db` and `burst_db` are amplitudes
    relative to the background's standard deviation; `tilt_db` runs from the lowest mel to the highest; `bumps` are
    (centre mel, width mel, dB).
    """

    tilt_db: float
    bumps: tuple[tuple[float, float, float], ...]
    reverb_s: float
    wet_db: float
    rate: float
    stray_rate: float
    tone_db: float
    burst_db: float
    level_dbfs: float


Event = tuple[float, Signal]  # onset in seconds, samples
Events = Callable[[Generator, Place, float, int], Iterator[Event]]


# Sounds


def _amplitude(db: float) -> float:
    return float(10.0 ** (db / 20.0))


def _hertz(mel: Signal) -> Signal:
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)  # HTK


def _mel_of_bins(samples: int, sample_rate: int) -> Signal:
    """The pitch of each bin of a real FFT over `samples`."""
    hertz = np.arange(samples // 2 + 1) * (sample_rate / samples)
    return 2595.0 * np.log10(1.0 + hertz / 700.0)


def _hump(samples: int, attack: float = 0.5) -> Signal:
    """A raised-cosine envelope `[samples]` that peaks after the share `attack` of its length."""
    position = np.linspace(0.0, 1.0, samples)
    warped = np.where(position < attack, position / attack, 1.0 + (position - attack) / (1.0 - attack)) / 2.0
    return 0.5 - 0.5 * np.cos(2.0 * np.pi * warped)


def _plateau(samples: int, fade: int) -> Signal:
    """An envelope `[samples]` of ones with raised-cosine ends of at most `fade` samples."""
    fade = max(1, min(fade, samples // 2))
    envelope = np.ones(samples)
    envelope[:fade] = 0.5 - 0.5 * np.cos(np.pi * (np.arange(fade) + 0.5) / fade)
    envelope[-fade:] = envelope[:fade][::-1]
    return envelope


def _tone(rng: Generator, place: Place, mel: Signal, envelope: Signal, sample_rate: int) -> Signal:
    """A harmonic tone that follows the pitch `mel` `[samples]`; overtones above the Nyquist frequency are left out."""
    hertz = _hertz(mel)
    phase = 2.0 * np.pi * np.cumsum(hertz) / sample_rate + rng.uniform(0, 2 * np.pi)
    sound = np.zeros(len(mel))
    for number in (1, 2, 3):
        strength = _amplitude(-9.0 * (number - 1) - rng.uniform(0, 12) * (number > 1))
        if number * hertz.max() < 0.48 * sample_rate:
            sound += strength * np.sin(number * phase)
    return _amplitude(place.tone_db + rng.normal(0, 2)) * envelope * sound


def _burst(rng: Generator, place: Place, envelope: Signal, sample_rate: int, band: Band) -> Signal:
    """Noise in a random band of 500 to 1200 mel under `envelope` `[samples]`."""
    width = rng.uniform(500, 1200)
    low = rng.uniform(band[0], band[1] - width)
    spectrum = np.fft.rfft(rng.standard_normal(len(envelope)))
    mel = _mel_of_bins(len(envelope), sample_rate)
    spectrum *= 1.0 / (1.0 + np.exp((np.abs(mel - low - width / 2) - width / 2) / 30.0))
    return _amplitude(place.burst_db + rng.normal(0, 2)) * envelope * np.fft.irfft(spectrum, len(envelope))


# When and what: one function a family of scenes


def _regular(rng: Generator, rate: float, seconds: float, jitter: float = 0.06) -> Iterator[float]:
    """Onsets (s) `rate` times a second from a random start, each moved by up to `jitter` of the period."""
    period = 1.0 / rate
    for onset in np.arange(rng.uniform(-1, 0) * period, seconds, period):
        yield float(onset + rng.uniform(-jitter, jitter) * period)


def _scattered(rng: Generator, rate: float, seconds: float) -> Iterator[float]:
    """Onsets (s) of a Poisson process."""
    yield from np.sort(rng.uniform(0.0, seconds, rng.poisson(rate * seconds))).tolist()


def _sweeps(
    rng: Generator, place: Place, seconds: float, sample_rate: int, *, path: Sequence[float], band: Band
) -> Iterator[Event]:
    """Whistles over 300 to 600 mel whose pitch goes through `path` (0 lowest, 1 highest, evenly spaced in time)."""
    for onset in _regular(rng, place.rate, seconds, jitter=0.3):
        samples = int(rng.uniform(0.16, 0.3) * sample_rate)
        span = rng.uniform(300, 600)
        low = rng.uniform(band[0], band[1] - span)
        mel = low + span * np.interp(np.linspace(0, 1, samples), np.linspace(0, 1, len(path)), path)
        yield onset, _tone(rng, place, mel, _plateau(samples, sample_rate // 40), sample_rate)


def _notes(
    rng: Generator, place: Place, seconds: float, sample_rate: int, *, beats: tuple[float, float], band: Band
) -> Iterator[Event]:
    """Steady notes whose loudness beats between `beats` times a second."""
    for onset in _regular(rng, place.rate, seconds, jitter=0.3):
        samples = int(rng.uniform(0.2, 0.35) * sample_rate)
        mel = np.full(samples, rng.uniform(*band))
        envelope = _plateau(samples, sample_rate // 40)
        envelope *= 0.5 + 0.5 * np.cos(2 * np.pi * rng.uniform(*beats) * np.arange(samples) / sample_rate)
        yield onset, _tone(rng, place, mel, envelope, sample_rate)


def _bursts(
    rng: Generator, place: Place, seconds: float, sample_rate: int, *, rhythm: str, band: Band
) -> Iterator[Event]:
    """Footfalls, twice as many as other events, in a rhythm: `regular`, `paired` or `scattered`."""
    if rhythm == "scattered":
        onsets = list(_scattered(rng, 2 * place.rate, seconds))
    elif rhythm == "paired":
        gap = rng.uniform(0.07, 0.1)
        onsets = [onset + shift for onset in _regular(rng, place.rate, seconds) for shift in (0.0, gap)]
    else:
        onsets = list(_regular(rng, 2 * place.rate, seconds))
    for onset in onsets:
        samples = int(rng.uniform(0.03, 0.06) * sample_rate)
        yield onset, _burst(rng, place, _hump(samples, attack=0.15), sample_rate, band)


def _swells(rng: Generator, place: Place, seconds: float, sample_rate: int, *, band: Band) -> Iterator[Event]:
    """Noise that comes and goes over a third of a second, as passing cars do."""
    for onset in _regular(rng, place.rate, seconds, jitter=0.3):
        samples = int(rng.uniform(0.25, 0.45) * sample_rate)
        yield onset, 0.6 * _burst(rng, place, _hump(samples), sample_rate, band)


def _stray(rng: Generator, place: Place, seconds: float, sample_rate: int) -> Iterator[Event]:
    """Sounds any scene may have: single steady notes, single bursts."""
    for onset in _scattered(rng, place.stray_rate, seconds):
        samples = int(rng.uniform(0.1, 0.25) * sample_rate)
        mel = np.full(samples, rng.uniform(*_FULL))
        yield onset, _tone(rng, place, mel, _plateau(samples, sample_rate // 100), sample_rate)
    for onset in _scattered(rng, place.stray_rate, seconds):
        samples = int(rng.uniform(0.03, 0.15) * sample_rate)
        yield onset, _burst(rng, place, _hump(samples, attack=rng.uniform(0.15, 0.5)), sample_rate, _FULL)


SCENES: dict[str, Events] = {
    "airport": partial(_sweeps, path=(0, 1, 0), band=_LOW),
    "bus": partial(_notes, beats=(9, 12), band=_LOW),
    "metro": partial(_bursts, rhythm="paired", band=_LOW),
    "metro_station": partial(_sweeps, path=(1, 0), band=_FULL),
    "park": partial(_sweeps, path=(0, 1), band=_FULL),
    "public_square": partial(_bursts, rhythm="scattered", band=_FULL),
    "shopping_mall": partial(_notes, beats=(0, 0), band=_HIGH),
    "street_pedestrian": partial(_bursts, rhythm="regular", band=_HIGH),
    "street_traffic": partial(_swells, band=_FULL),
    "tram": partial(_sweeps, path=(1, 0, 1), band=_HIGH),
}


# A clip


def _generator(seed: int, *key: int) -> Generator:
    return Generator(np.random.PCG64(np.random.SeedSequence([seed, *key])))


def _place(rng: Generator) -> Place:
    return Place(
        tilt_db=rng.uniform(-30, -10),
        bumps=tuple(_bump(rng, 4) for _ in range(4)),
        reverb_s=rng.uniform(0.1, _LEAD_IN_S),
        wet_db=rng.uniform(-24, -10),
        rate=rng.uniform(2.0, 3.2),
        stray_rate=rng.uniform(0.1, 0.8),
        tone_db=rng.uniform(-5, 3),
        burst_db=rng.uniform(10, 18),
        level_dbfs=rng.uniform(-36, -24),
    )


def _bump(rng: Generator, spread_db: float) -> tuple[float, float, float]:
    return rng.uniform(0, _NYQUIST_MEL), rng.uniform(80, 400), rng.normal(0, spread_db)


def _colour(rng: Generator, place: Place, mel: Signal) -> Signal:
    """Gain at each `mel`: the location's tilt and bumps, a little of the clip's own, and the level of both."""
    db = (place.tilt_db + rng.normal(0, 3)) * mel / _NYQUIST_MEL
    for centre, width, height in (*place.bumps, _bump(rng, 3)):
        db = db + height * np.exp(-0.5 * ((mel - centre) / width) ** 2)
    gain = 10.0 ** (db / 20.0)
    return gain * _amplitude(place.level_dbfs + rng.normal(0, 2)) / np.sqrt(np.mean(gain**2))


def _foreground(rng: Generator, scenes: Sequence[str], place: Place, seconds: float, sample_rate: int) -> Signal:
    """The scenes' events and the stray ones, dry."""
    mix = np.zeros(round(seconds * sample_rate))
    for events in (*(SCENES[scene] for scene in scenes), _stray):
        for onset, sound in events(rng, place, seconds, sample_rate):
            start = round(onset * sample_rate)
            sound = sound[max(0, -start) : max(0, len(mix) - start)]
            mix[max(0, start) : max(0, start) + len(sound)] += sound
    return mix


def render(clip: SyntheticClip, clip_s: float, sample_rate: int = 16000, seed: int = 0) -> NDArray[np.int16]:
    """The samples `[round(clip_s * sample_rate)]` of one clip, the same whichever clips were made before it."""
    # the places of mixtures are the same whatever is heard there
    scene = len(SCENES) if clip.mixture else list(SCENES).index(clip.scene)
    key = (scene, CITIES.index(clip.city), clip.location)
    place = _place(_generator(seed, *key))
    rng = _generator(seed, *key, clip.segment)
    device = RECORDERS[clip.device]

    dry = _foreground(rng, clip.sounds, place, clip_s + _LEAD_IN_S, sample_rate)
    samples = len(dry)
    tail = rng.standard_normal(round(place.reverb_s * sample_rate))
    tail *= 10.0 ** (-3.0 * np.linspace(0, 1, len(tail)))  # 60 dB down at the end
    tail *= _amplitude(place.wet_db) / np.sqrt(np.sum(tail**2))

    # Everything linear in one pass over the spectrum; the wrapped-around part falls into the lead-in.
    hertz = np.fft.rfftfreq(samples, 1.0 / sample_rate)
    points_hz, points_db = zip(*device.response, strict=True)
    response_db = np.interp(hertz, points_hz, points_db)
    spectrum = np.fft.rfft(dry) * (1.0 + np.fft.rfft(tail, samples)) + np.fft.rfft(rng.standard_normal(samples))
    spectrum *= _colour(rng, place, _mel_of_bins(samples, sample_rate)) * 10.0 ** (response_db / 20.0)
    sound = np.fft.irfft(spectrum, samples)[samples - round(clip_s * sample_rate) :]

    sound += _amplitude(device.noise_dbfs) * rng.standard_normal(len(sound))
    if math.isfinite(device.ceiling):
        ceiling = device.ceiling * float(np.std(sound))
        sound = ceiling * np.tanh(sound / ceiling)
    sound *= min(1.0, _PEAK / float(np.max(np.abs(sound))))  # turned down rather than clipped
    return np.round(sound * 32767.0).astype(np.int16)
