"""The one way to measure .tflite files on any devices."""

import os
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path

from edgeprune.devices.find import require_device
from edgeprune.devices.inputs import inputs_for
from edgeprune.devices.network_check import check_network
from edgeprune.devices.record import Measurement, Measurements
from edgeprune.devices.request import TIMEOUT_S, BenchRequest, DeviceOptions, Inputs
from edgeprune.errors import EdgepruneError
from edgeprune.tflite.sidecar import check_unchanged

_DEFAULTS = DeviceOptions()
_OPTIONS = {
    "clock_hz": ("cortex_m", "--clock"),
    "engine": ("cortex_m", "--engine"),
    "benchmark_model": ("adb", "--benchmark-model"),
    "xnnpack": ("host", "--no-xnnpack"),
}
"""The options that one kind of device takes: its module, and the flag."""


def bench(
    files: os.PathLike[str] | str | Sequence[os.PathLike[str] | str],
    device: str | Sequence[str] = "host",
    *,
    runs: int = 50,
    threads: int | Sequence[int] = 1,
    clips: Sequence[Path | str] | Inputs = (),
    timeout_s: float = TIMEOUT_S,
    options: DeviceOptions = _DEFAULTS,
) -> Measurements:
    """Measure .tflite files on a device, or on several in turn, once their outputs there are checked.

        edgeprune.bench("runs/mine/model_int8.tflite", "cortex-m4").table()

    Args:
        files: one .tflite file or several; on a device with a clock they are timed against each other.
        device: `host`, `browser`, `tflm`, `cortex-m4`, `riscv32`, `ethos-u55-128`, `ssh://user@host:port`, `adb:` ...;
            or a list of them.
        runs: timed runs of each file.
        threads: thread count, or several; each gets its own records.
        clips: audio files whose first patches the outputs are compared on, or `Inputs`. None: evaluation clips of the
            run a file lies in, else synthetic scenes, else noise.
        timeout_s: a device that gives no answer is cut off after this time, in seconds.
        options: settings of one kind of device: clock, engine, benchmark_model, XNNPACK.

    Returns:
        a record a device, file and thread count.

    Raises:
        EdgepruneError: the device is unknown, lacks something, cannot be reached, takes another kind of file or none of
            the options, or gave no answer in time.
        CheckFailedError: its outputs are not those of the file, or the file is not the one its sidecar was written for,
            or does not compute what the network of its run does; no latency is reported then.
    """
    paths = (files,) if isinstance(files, os.PathLike | str) else files
    devices = (device,) if isinstance(device, str) else tuple(device)
    modules = _modules(devices, options)
    inputs = cache(lambda path: _checked_inputs(path, clips))
    requests = [
        BenchRequest(
            device=name,
            paths=tuple(Path(path) for path in paths),
            inputs=inputs,
            threads=(threads,) if isinstance(threads, int) else tuple(threads),
            runs=runs,
            timeout_s=timeout_s,
            options=options,
        )
        for name in devices
    ]
    for request in requests:
        request.check()
    for path in requests[0].paths:
        check_unchanged(path)
    records: list[Measurement] = []
    for module, request in zip(modules, requests, strict=True):
        records += import_module(f"edgeprune.devices.{module}").measure(request)
    return Measurements(tuple(records))


def _modules(devices: Sequence[str], options: DeviceOptions) -> list[str]:
    """The module of each device; refuses what is not there, and options that none of them takes."""
    if not devices:
        raise EdgepruneError("device: none is named; give one, such as host.")
    modules = [require_device(name).module for name in devices]
    for option, (owner, flag) in _OPTIONS.items():
        if owner not in modules and getattr(options, option) != getattr(_DEFAULTS, option):
            raise EdgepruneError(f"device {','.join(devices)}: takes no {flag}; leave it out.")
    return modules


def _checked_inputs(path: Path, clips: Sequence[Path | str] | Inputs) -> Inputs:
    """What a file's outputs are compared on; the file itself is held to its network there."""
    inputs = clips if isinstance(clips, Inputs) else inputs_for(path, [Path(clip) for clip in clips])
    check_network(path, inputs)
    return inputs
