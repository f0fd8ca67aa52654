"""The log-mel front-end as C99 for a device: hand-written code, and tables generated from the `LogMel` that trains."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.audio.layout import Layout
from edgeprune.data.normalisation import Normalisation
from edgeprune.errors import EdgepruneError
from edgeprune.files import share_folder, write_bytes, write_text
from edgeprune.firmware.c_text import c_array, c_float
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
    stream: bool = False,
) -> FrontendFiles:
    """Write the front-end's C sources; the same arguments give the same bytes.

    Args:
        out: folder; created if missing.
        quantisation: scale and zero point of an int8 network's input; None: the network takes float32.
        stream: the network takes each frame as it comes, and samples have 16 bits; otherwise a patch's frames are kept.
    """
    _check(spec)
    _check_normalisation(spec, normalisation)
    if quantisation is not None:
        _check_quantisation(*quantisation)
    for name in _WRITTEN:
        write_bytes(out / name, (share_folder("export") / "c" / name).read_bytes())
    tables = _tables(spec) | {
        "ep_mean": np.asarray(normalisation.mean, np.float32),
        "ep_std": np.asarray(normalisation.std, np.float32),
    }
    write_text(out / CONFIG, _config(spec, len(tables["ep_weights"]), layout, quantisation, stream))
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
    frames, mels, hop = spec.patch_frames, spec.mels, spec.patch_hop_frames
    before, after = spec.samples_around
    scale, zero_point = quantisation or (None, None)
    return {
        "settings": dataclasses.asdict(spec),
        "samples": {"window": spec.window_samples, "hop": spec.hop_samples, "fft": spec.fft_size},
        "hertz": {"sample_rate": spec.sample_rate, "lowest": low, "highest": high},
        "framing": {"zeros_before": before, "zeros_after": after, "patch_frames": frames, "patch_hop_frames": hop},
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


def frontend_cost(spec: LogMel, quantised: bool = True, stream: bool = False) -> FrontendCost:
    """Bytes of RAM and flash that a front-end takes on a 32-bit device.

    Args:
        quantised: it gives int8, not float32.
        stream: the network takes each frame as it comes; otherwise a patch's frames are kept.

    The code is a constant for each kind of FFT and ring. It is the growth of a bare program that takes 16-bit samples,
    ends the clip and makes the patch, less the tables (`devices.frontend_cost`), by arm-none-eabi-gcc 12.2, -O2,
    Cortex-M4F, newlib. It holds nothing of libm: the logarithm is the front-end's own, the square root an instruction.
    The layouts lie 6 % to either side, since `frames_mels` takes newlib's memcpy.
    """
    _check(spec)
    mixed, kept = _is_mixed(spec), spec.mels * (1 if stream else spec.patch_frames)
    # one frame (twice where the FFT size is no power of two), the latest samples, the kept frames, five counters
    floats = max(spec.fft_size + 2, 2 * spec.mels) + mixed * spec.fft_size
    history = -(-2 * spec.window_samples // 4) * 4 if stream else 4 * spec.window_samples
    return FrontendCost(
        ram_bytes=4 * floats + history + (-(-kept // 4) * 4 if quantised else 4 * kept) + 5 * 4,
        table_bytes=sum(table.nbytes for table in _tables(spec).values()) + 2 * 4 * spec.mels,
        code_bytes=2420 - 310 * mixed - 120 * (not quantised),
    )


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
    if _is_mixed(spec) and max(_factors(size // 2)) > LARGEST_FACTOR:
        raise EdgepruneError(
            f"front-end: the C code does not take n_fft {size} (its prime factors must be at most {LARGEST_FACTOR}); "
            f"use {power}."
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
    weights = []  # of the filter bank without its zeros
    first, count = np.zeros((2, spec.mels), np.uint16)
    for place, band in enumerate(frontend.filter_bank.numpy().T):
        used = np.flatnonzero(band)
        if len(used):
            first[place], count[place] = used[0], used[-1] + 1 - used[0]
            weights.append(band[used[0] : used[-1] + 1])
    tables: dict[str, NDArray[Any]] = {
        "ep_window": frontend.window.numpy()[: spec.window_samples // 2 + 1].astype(np.float32),
        "ep_band_first": first,
        "ep_band_bins": count,
        # C knows no array without elements
        "ep_weights": np.concatenate(weights) if weights else np.zeros(1, np.float32),
    }
    angles = 2 * np.pi * np.arange(spec.fft_size // 2) / spec.fft_size  # of the FFT's twiddle factors
    if not _is_mixed(spec):
        return tables | {"ep_sine": np.sin(angles[: spec.fft_size // 4 + 1]).astype(np.float32)}
    turns = np.stack([np.cos(angles), np.sin(angles)], axis=1).ravel().astype(np.float32)
    return tables | {"ep_turns": turns, "ep_factors": np.asarray(_factors(spec.fft_size // 2), np.uint8)}


def _config(spec: LogMel, weights: int, layout: Layout, quantisation: tuple[float, int] | None, stream: bool) -> str:
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
        "EP_STREAM": int(stream),
        "EP_PATCH_HOP": spec.patch_hop_frames,
        "EP_CENTER": int(spec.center),
        "EP_POWER": int(spec.spectrum == "power"),
        "EP_LOG_OFFSET": c_float(np.float32(spec.log_offset)),
        "EP_TIME_FIRST": int(layout == "frames_mels"),
        "EP_INPUT_SIZE": spec.mels * spec.patch_frames,
        "EP_RING_INT8": int(quantisation is not None),
    }
    if mixed:
        values["EP_FACTORS"] = len(_factors(spec.fft_size // 2))
    else:
        values["EP_FFT_LOG2"] = spec.fft_size.bit_length() - 1
    if quantisation is not None:
        scale, zero_point = quantisation
        values |= {"EP_INPUT_SCALE": c_float(np.float32(scale)), "EP_INPUT_ZERO_POINT": f"({zero_point})"}
    lines = "\n".join(f"#define {name} {value}" for name, value in values.items())
    return f"""\
/* Settings of the front-end, generated: those of the network's training. Samples, frames and bins; Hz; natural log. */
#ifndef EDGEPRUNE_FRONTEND_CONFIG_H
#define EDGEPRUNE_FRONTEND_CONFIG_H

{lines}

#endif
"""


def _tables_source(tables: dict[str, NDArray[Any]]) -> str:
    types = {"float32": "float", "uint16": "uint16_t", "uint8": "uint8_t"}
    arrays = {
        name: c_array(f"const {types[values.dtype.name]} {name}[{len(values)}]", values)
        for name, values in tables.items()
    }
    of_fft = {"ep_sine", "ep_turns", "ep_factors"}
    parts = [
        "/* Tables of the front-end, generated; computed in double precision, stored in single. */",
        '#include "edgeprune_frontend_tables.h"\n',
        *(array for name, array in arrays.items() if name not in of_fft),
        "#ifndef EP_USE_CMSIS_DSP",
        *(array for name, array in arrays.items() if name in of_fft),
        "#endif\n",
    ]
    return "\n".join(parts)
