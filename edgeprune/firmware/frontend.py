"""The log-mel front-end as C99 for a device: hand-written code, and tables generated from the `LogMel` that trains."""

import dataclasses
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeprune.audio.layout import Layout
from edgeprune.data.normalisation import Normalisation
from edgeprune.errors import EdgepruneError
from edgeprune.files import atomic_path, share_folder, write_text
from edgeprune.recipe import LogMel

CONFIG = "edgeprune_frontend_config.h"
TABLES = "edgeprune_frontend_tables.c"
HEADER = "edgeprune_frontend.h"
_WRITTEN = (HEADER, "edgeprune_frontend_tables.h", "edgeprune_frontend.c", "edgeprune_fft.c")

LARGEST_FACTOR = 31
"""Prime factors of half the FFT size go up to here: a step of factor p costs p multiplications a point."""
LARGEST_FFT = 65536
"""Bins are counted in 16 bits."""


@dataclass(frozen=True)
class FrontendFiles:
    """The C sources of a front-end.

    Attributes:
        folder: of all files; the compiler's include path.
        sources: the .c files to compile.
        headers: the .h files; a program includes `HEADER`.
        spec: the front-end.
        quantised: whether its ring and its patches are int8.
    """

    folder: Path
    sources: tuple[Path, ...]
    headers: tuple[Path, ...]
    spec: LogMel
    quantised: bool


@dataclass(frozen=True)
class FrontendCost:
    """Bytes that the front-end takes on a 32-bit device with its own FFT.

    Attributes:
        ram_bytes: `sizeof(ep_frontend)`; nothing else is static, and the stack needs less than 300 B.
        table_bytes: the const tables.
        code_bytes: machine code with all it calls, to 10 %.
    """

    ram_bytes: int
    table_bytes: int
    code_bytes: int

    @property
    def flash_bytes(self) -> int:
        return self.table_bytes + self.code_bytes


def write_frontend(
    spec: LogMel,
    normalisation: Normalisation,
    out: Path,
    layout: Layout,
    quantisation: tuple[float, int] | None,
) -> FrontendFiles:
    """Write the front-end's C sources; the same arguments give the same bytes.

    Args:
        spec: the front-end that the network was trained with.
        normalisation: mean and standard deviation `[mels]`.
        out: folder; created if missing.
        layout: the order of the axes of a patch.
        quantisation: scale and zero point of an int8 network's input; None: the network takes float32.
    """
    _check(spec)
    _check_normalisation(spec, normalisation)
    if quantisation is not None:
        _check_quantisation(*quantisation)
    for name in _WRITTEN:
        with atomic_path(out / name) as temporary:
            shutil.copyfile(share_folder("export") / "c" / name, temporary)
    tables = _tables(spec) | {
        "ep_mean": np.asarray(normalisation.mean, np.float32),
        "ep_std": np.asarray(normalisation.std, np.float32),
    }
    write_text(out / CONFIG, _config(spec, len(tables["ep_weights"]), layout, quantisation))
    write_text(out / TABLES, _tables_source(tables))
    paths = [out / name for name in (*_WRITTEN, CONFIG, TABLES)]
    return FrontendFiles(
        folder=out,
        sources=tuple(path for path in paths if path.suffix == ".c"),
        headers=tuple(path for path in paths if path.suffix == ".h"),
        spec=spec,
        quantised=quantisation is not None,
    )


def spec_of(
    spec: LogMel, normalisation: Normalisation, layout: Layout, quantisation: tuple[float, int] | None
) -> dict[str, Any]:
    """The front-end as plain JSON values, for those who compute it by other means.

    Returns:
        `settings`: the fields of `LogMel`; `samples`: window, hop and FFT size; `hertz`: sample rate and band limits;
        `framing`: zeros before the first sample, zeros after the last, frames and hop of a patch; `normalisation`: mean
        and std by mel; `input`: layout, shape, type, and scale and zero point where it is int8.
    """
    low, high = spec.check().band_limits
    frames, mels = spec.patch_frames, spec.mels
    before, after = spec.samples_around
    scale, zero_point = quantisation or (None, None)
    return {
        "settings": dataclasses.asdict(spec),
        "samples": {"window": spec.window_samples, "hop": spec.hop_samples, "fft": spec.fft_size},
        "hertz": {"sample_rate": spec.sample_rate, "lowest": low, "highest": high},
        "framing": {
            "zeros_before": before,
            "zeros_after": after,
            "patch_frames": frames,
            "patch_hop_frames": spec.patch_hop_frames,
        },
        "normalisation": {
            "mean": np.asarray(normalisation.mean, np.float32).tolist(),
            "std": np.asarray(normalisation.std, np.float32).tolist(),
        },
        "input": {
            "layout": layout.split("_"),
            "shape": [frames, mels] if layout == "frames_mels" else [mels, frames],
            "dtype": "float32" if quantisation is None else "int8",
            "scale": scale,
            "zero_point": zero_point,
        },
    }


def frontend_cost(spec: LogMel, quantised: bool = True) -> FrontendCost:
    """Bytes of RAM and flash that a front-end takes on a 32-bit device.

    Args:
        spec: the front-end.
        quantised: whether its ring holds int8 values rather than float32.
    """
    _check(spec)
    tables = sum(table.nbytes for table in _tables(spec).values()) + 2 * 4 * spec.mels
    return FrontendCost(_ram_bytes(spec, quantised), tables, _code_bytes(spec, quantised))


def _ram_bytes(spec: LogMel, quantised: bool) -> int:
    """`sizeof(ep_frontend)`: one frame (twice where the FFT size is no power of two), the latest samples, the ring."""
    ring = spec.patch_frames * spec.mels
    floats = max(spec.fft_size + 2, 2 * spec.mels) + spec.window_samples
    if _is_mixed(spec):
        floats += spec.fft_size
    return 4 * floats + (-(-ring // 4) * 4 if quantised else 4 * ring) + 5 * 4


def _code_bytes(spec: LogMel, quantised: bool) -> int:
    """Machine code of the front-end, to 10 %: a constant for each kind of FFT and ring.

    It is the growth of a bare program that takes 16-bit samples, ends the clip and makes the patch, less the tables
    (`devices.frontend_cost`), by arm-none-eabi-gcc 12.2, -O2, Cortex-M4F, newlib. It holds nothing of libm: the
    logarithm is the front-end's own, the square root an instruction. The layouts lie 6 % to either side, since
    `frames_mels` takes newlib's memcpy.
    """
    return 2420 - 310 * _is_mixed(spec) - 120 * (not quantised)


def _is_mixed(spec: LogMel) -> bool:
    """Whether the FFT size is no power of two."""
    return spec.fft_size & (spec.fft_size - 1) != 0


def _factors(number: int) -> list[int]:
    """Prime factors, the smallest first."""
    factors, factor = [], 2
    while number > 1:
        while number % factor == 0:
            factors.append(factor)
            number //= factor
        factor += 1
    return factors


def _check(spec: LogMel) -> None:
    """Refuse fields that contradict each other, and an FFT size or log offset that the C code does not take."""
    size = spec.check().fft_size
    power = 1 << (size - 1).bit_length()
    if size > LARGEST_FFT:
        raise EdgepruneError(
            f"front-end: an FFT of {size} samples is more than the C code takes ({LARGEST_FFT}); shorten the window."
        )
    if size % 2 or (_is_mixed(spec) and max(_factors(size // 2)) > LARGEST_FACTOR):
        raise EdgepruneError(
            f"front-end: the C code does not take n_fft {size} (it must be even, its prime factors at most "
            f"{LARGEST_FACTOR}); use {power}."
        )
    smallest = np.finfo(np.float32).tiny
    if spec.log_offset < smallest:
        raise EdgepruneError(
            f"front-end: log_offset {spec.log_offset:g} is below the smallest number of single precision; train with "
            f"at least {smallest:.2g}."
        )


def _check_normalisation(spec: LogMel, normalisation: Normalisation) -> None:
    for name, values in (("mean", normalisation.mean), ("std", normalisation.std)):
        if np.shape(values) != (spec.mels,) or not np.isfinite(values).all():
            raise EdgepruneError(
                f"front-end: the normalisation's {name} must be {spec.mels} finite numbers, one a mel band; take it "
                "from the run that trained the network."
            )
    if not (np.asarray(normalisation.std, np.float32) > 0).all():
        raise EdgepruneError("front-end: the normalisation's std must be above 0; take it from the run that trained.")


def _check_quantisation(scale: float, zero_point: int) -> None:
    with np.errstate(over="ignore"):
        usable = np.isfinite(np.float32(scale)) and np.float32(scale) > 0
    if not usable or not -128 <= zero_point <= 127:
        raise EdgepruneError(
            f"front-end: scale {scale} and zero point {zero_point} are no int8 quantisation; take those of the "
            "network's input."
        )


def _tables(spec: LogMel) -> dict[str, NDArray[Any]]:
    """The const tables without the normalisation, by their names in C."""
    from edgeprune.audio.logmel import Frontend  # loads PyTorch, which a budget without front-end does not need

    frontend = Frontend(spec)
    window = frontend.window.numpy()[: spec.window_samples // 2 + 1].astype(np.float32)
    return {"ep_window": window} | _bands(frontend.filter_bank.numpy().T) | _turns(spec)


def _bands(bank: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """The filter bank `[mels, bins]` without its zeros."""
    first, count, weights = [], [], []
    for band in bank:
        used = np.flatnonzero(band)
        start, end = (used[0], used[-1] + 1) if len(used) else (0, 0)
        first.append(start)
        count.append(end - start)
        weights.append(band[start:end])
    return {
        "ep_band_first": np.asarray(first, np.uint16),
        "ep_band_bins": np.asarray(count, np.uint16),
        # C knows no array without elements
        "ep_weights": np.concatenate(weights) if any(count) else np.zeros(1, np.float32),
    }


def _turns(spec: LogMel) -> dict[str, NDArray[Any]]:
    """Twiddle factors of the FFT, computed in double precision."""
    size = spec.fft_size
    angles = 2 * np.pi * np.arange(size // 2) / size
    if not _is_mixed(spec):
        return {"ep_sine": np.sin(2 * np.pi * np.arange(size // 4 + 1) / size).astype(np.float32)}
    turns = np.stack([np.cos(angles), np.sin(angles)], axis=1).ravel().astype(np.float32)
    return {"ep_turns": turns, "ep_factors": np.asarray(_factors(size // 2), np.uint8)}


def _config(spec: LogMel, weights: int, layout: Layout, quantisation: tuple[float, int] | None) -> str:
    mixed = _is_mixed(spec)
    values: dict[str, int | str] = {
        "EP_SAMPLE_RATE": spec.sample_rate,
        "EP_WINDOW": spec.window_samples,
        "EP_HOP": spec.hop_samples,
        "EP_FFT": spec.fft_size,
        "EP_FFT_MIXED": int(mixed),
        "EP_MELS": spec.mels,
        "EP_WEIGHTS": weights,
        "EP_FRAMES": spec.patch_frames,
        "EP_PATCH_HOP": spec.patch_hop_frames,
        "EP_CENTER": int(spec.center),
        "EP_POWER": int(spec.spectrum == "power"),
        "EP_LOG_OFFSET": _float(spec.log_offset),
        "EP_TIME_FIRST": int(layout == "frames_mels"),
        "EP_INPUT_SIZE": spec.mels * spec.patch_frames,
        "EP_RING_INT8": int(quantisation is not None),
    }
    if mixed:
        values["EP_FACTORS"] = len(_factors(spec.fft_size // 2))
    else:
        values["EP_FFT_LOG2"] = spec.fft_size.bit_length() - 1
    if quantisation is not None:
        values |= {"EP_INPUT_SCALE": _float(quantisation[0]), "EP_INPUT_ZERO_POINT": f"({quantisation[1]})"}
    lines = "\n".join(f"#define {name} {value}" for name, value in values.items())
    return f"""\
/* Settings of the front-end, generated: those of the network's training. Samples, frames and bins; Hz; natural log. */
#ifndef EDGEPRUNE_FRONTEND_CONFIG_H
#define EDGEPRUNE_FRONTEND_CONFIG_H

{lines}

#endif
"""


_C_TYPES = {"float32": "float", "uint16": "uint16_t", "uint8": "uint8_t"}
_FFT_TABLES = ("ep_sine", "ep_turns", "ep_factors")


def _tables_source(tables: dict[str, NDArray[Any]]) -> str:
    def table(name: str) -> str:
        values = tables[name]
        words = [_float(value) if values.dtype == np.float32 else str(value) for value in values]
        return f"const {_C_TYPES[values.dtype.name]} {name}[{len(values)}] = {{\n{_rows(words)}\n}};\n"

    parts = [
        "/* Tables of the front-end, generated; computed in double precision, stored in single. */",
        '#include "edgeprune_frontend_tables.h"\n',
        *(table(name) for name in tables if name not in _FFT_TABLES),
        "#ifndef EP_USE_CMSIS_DSP",
        *(table(name) for name in tables if name in _FFT_TABLES),
        "#endif\n",
    ]
    return "\n".join(parts)


def _rows(words: Sequence[str]) -> str:
    """Lines of eight values."""
    return "\n".join("    " + ", ".join(words[start : start + 8]) + "," for start in range(0, len(words), 8))


def _float(value: ArrayLike) -> str:
    """A float32 as C writes it; with 9 significant digits no two have the same text."""
    text = f"{np.float32(value):.9g}"  # type: ignore[arg-type]
    return f"{text}f" if any(mark in text for mark in ".e") else f"{text}.0f"
