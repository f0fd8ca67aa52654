"""Latency of TFLite files on an Android phone: TFLite's own benchmark_model, over adb; nothing stays on the phone."""

from __future__ import annotations

import math
import secrets
import shlex
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.console import say
from edgeprune.devices.adb_phone import Phone
from edgeprune.devices.benchmark_model import (
    cannot_write,
    failure_reason,
    find_benchmark_model,
    parse_times,
    refuse_old,
    used_xnnpack,
)
from edgeprune.devices.checks import Expected, check_close
from edgeprune.devices.record import Measurement
from edgeprune.devices.request import BenchRequest
from edgeprune.errors import EdgepruneError
from edgeprune.files import sha256_file
from edgeprune.scratch import scratch_folder
from edgeprune.tflite.interpreter import TFLiteModel

WARMUP = 5


def measure(request: BenchRequest) -> list[Measurement]:
    """Time the files, one after the other, with benchmark_model on a phone; `request.timeout_s` is for each run.

    Each clip is run once, and its output is fetched (`--output_filepath`) and compared with the reference. Then the
    file is timed on the first clip, whose output is compared again. Where benchmark_model prints no percentiles,
    `median` is the mean and `p5` and `p95` are the least and the largest run, as `detail["statistics"]` states.
    """
    request.check()
    phone = Phone.connect(request.device, request.timeout_s)
    benchmark = find_benchmark_model(request)
    about = {**phone.describe(), "benchmark_model_sha256": sha256_file(benchmark)}
    folder = f"/data/local/tmp/edgeprune-{secrets.token_hex(8)}"  # where adb may write and run programs
    try:
        phone.shell(f"mkdir {folder} && chmod 700 {folder}")
        phone.push(benchmark, f"{folder}/benchmark_model")
        phone.shell(f"chmod 700 {folder}/benchmark_model")
        files = [_FileOnPhone.push(request, phone, folder, number) for number in range(len(request.paths))]
        return [file.measure(threads, about) for threads in request.threads for file in files]
    finally:
        phone.clean(folder)


@dataclass(frozen=True, eq=False)
class _FileOnPhone:
    """A file on the phone: the paths of model and clips there, and the input's shape as benchmark_model takes it."""

    request: BenchRequest
    phone: Phone
    expected: Expected
    model: str
    clips: tuple[str, ...]
    shape: str

    @staticmethod
    def push(request: BenchRequest, phone: Phone, folder: str, number: int) -> _FileOnPhone:
        """Send a file and its clips under plain names."""
        path = request.paths[number]
        expected = Expected.of(request, path)
        model = f"{folder}/model{number}.tflite"
        phone.push(path, model)
        clips = tuple(f"{folder}/input{number}_{clip}.bin" for clip in range(len(expected.inputs)))
        with scratch_folder() as local:
            for name, clip in zip(clips, expected.inputs, strict=True):
                raw = local / "clip"
                raw.write_bytes(clip.tobytes())
                phone.push(raw, name)
        shape = ",".join(str(size) for size in TFLiteModel(path).input_shape)
        return _FileOnPhone(request, phone, expected, model, clips, shape)

    def measure(self, threads: int, about: dict[str, Any]) -> Measurement:
        """Check the outputs of all clips, then time the first clip."""
        request, expected = self.request, self.expected
        name = expected.path.name
        say(f"{request.device}: checking and timing {name}, {request.runs} runs, {threads} thread(s)")
        outputs = [self._run(clip, threads, runs=1, warmup=1)[0] for clip in range(len(self.clips))]
        error = check_close(request.device, expected.path, expected.outputs, np.stack(outputs))
        before = self.phone.temperatures()
        output, printed = self._run(0, threads, request.runs, WARMUP)
        check_close(request.device, expected.path, expected.outputs[:1], output[np.newaxis])
        times = parse_times(request.device, printed)
        return Measurement(
            device=request.device,
            kind="measured",
            unit="ms",
            median=times.median_us / 1000,
            p5=times.p5_us / 1000,
            p95=times.p95_us / 1000,
            runs=times.runs,
            peak_ram_bytes=times.peak_ram_bytes,
            threads=threads,
            model=name,
            sha256=sha256_file(expected.path),
            detail={
                **about,
                "runtime": "TFLite's benchmark_model",
                "statistics": times.statistics,
                "init_ms": times.init_ms,
                "xnnpack": used_xnnpack(printed),
                "warmup": WARMUP,
                "cut_short": times.runs < request.runs,
                "temperatures_before_c": before,
                "temperatures_after_c": self.phone.temperatures(),
                "peak_ram": "growth of the peak resident memory of benchmark_model, as it prints it",
                "checked": f"within {error:.2g} of TFLite's on {len(outputs)} inputs",
                "inputs": expected.source,
            },
        )

    def _run(self, clip: int, threads: int, runs: int, warmup: int) -> tuple[NDArray[Any], str]:
        """Run benchmark_model on a clip: the network's output, and the text printed."""
        device, due, name = self.request.device, self.expected.outputs[clip], self.expected.path.name
        folder = self.model.rpartition("/")[0]
        written = f"{folder}/output{secrets.token_hex(4)}.bin"
        flags = {
            "graph": self.model,
            "input_layer": "input",  # any name will do: there is one input
            "input_layer_shape": self.shape,
            "input_layer_value_files": f"input:{self.clips[clip]}",
            "output_filepath": written,
            "num_threads": threads,
            "num_runs": runs,
            "min_secs": 0,  # else short runs are repeated for a second
            "max_secs": math.ceil(self.request.timeout_s),
            "warmup_runs": warmup,
            "warmup_min_secs": 0,
            "use_xnnpack": "true",
        }
        words = [f"{folder}/benchmark_model", *(f"--{name}={value}" for name, value in flags.items())]
        # The shell's own number becomes that of benchmark_model, so that it can be ended when it hangs.
        done = self.phone.call("shell", f"echo $$ > {folder}/pid; exec {shlex.join(words)}")
        printed = (done.stdout + b"\n" + done.stderr).decode("utf-8", "replace").replace("\r", "")
        refuse_old(device, printed)
        content = self.phone.pull(written)
        if done.returncode or "Inference timings in us" not in printed:
            reason = failure_reason(printed, done.returncode)
            abi = self.phone.describe()["abi"] or "the phone's processor"
            raise EdgepruneError(
                f"device {device}: benchmark_model did not run {name} ({reason}); check the file, and that the "
                f"benchmark_model is for {abi}."
            )
        if content is None:
            raise cannot_write(device)
        if len(content) != due.nbytes:
            raise EdgepruneError(
                f"device {device}: benchmark_model wrote {len(content)} bytes for {name} where {due.nbytes} were due; "
                "give one that writes the outputs as they are."
            )
        return np.frombuffer(content, dtype=due.dtype), printed
