"""Latency and memory of TFLite files on a Linux board, over the system's ssh; nothing stays on the board."""

import io
import json
import math
import os
import shlex
import subprocess
import tarfile
import threading
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.console import say
from edgeprune.devices import checks
from edgeprune.devices.checks import Expected
from edgeprune.devices.record import Measurement
from edgeprune.devices.request import BenchRequest
from edgeprune.devices.ssh_address import Address, parse
from edgeprune.devices.tools import last_line, require
from edgeprune.errors import EdgepruneError
from edgeprune.files import parse_json, share_folder

SSH_CONFIG = "EDGEPRUNE_SSH_CONFIG"
"""Environment: a file to use in place of the user's ssh configuration."""
REMOTE_PYTHON = "EDGEPRUNE_REMOTE_PYTHON"
"""Environment: the interpreter on the board, a name on its search path or an absolute path; `python3` without it."""
WARMUP = 5
_GRACE_S = 5
"""Extra time that the shell on the board and ssh here wait for the program's own answer."""
_LATE = 95
_EXIT_CODES = {
    91: "has no folder for temporary files that can be written ({reason}); make room there or set TMPDIR",
    92: "did not take the files ({reason}); it needs head and tar, and room in its TMPDIR",
    93: f"has no {{python}}; install Python 3.7 or newer there or name it in {REMOTE_PYTHON}",
    94: f"has a {{python}} that is no Python 3.7 or newer ({{reason}}); name another in {REMOTE_PYTHON}",
    96: "ended the session before there was an answer; check the board",
}
"""Exit codes of `export/linux/session.sh` and their messages."""
_REFUSALS = {
    "REMOTE HOST IDENTIFICATION HAS CHANGED": "shows another host key than the one known for it; find out why before "
    "you replace that in known_hosts",
    "Host key verification failed": "shows a host key that is not known; connect once with ssh by hand and compare its "
    "fingerprint",
    "Too many authentication failures": "was offered too many keys; name the right one as IdentityFile in ssh's "
    "configuration, with IdentitiesOnly yes",
    "Permission denied": "accepts none of your keys; put your public key there with ssh-copy-id, and into ssh-agent "
    "what has a passphrase",
}
"""Words of ssh about a connection it does not make, and our messages."""


def check_name(device: str) -> None:
    """Refuse what is no address."""
    parse(device)


def measure(request: BenchRequest) -> list[Measurement]:
    """Time the files against each other on a board; `request.timeout_s` holds for all of them together.

    The files, their check clips and `export/linux/runner.py` go over ssh into a fresh folder of the board's TMPDIR,
    which is always removed. ssh uses keys only, and hosts whose keys are known. The board needs sh, mktemp, head, tar,
    Python 3.7 or newer, numpy and a TFLite interpreter.
    """
    address = parse(request.device)
    ssh = require("ssh", request.device)
    request.check()
    files = [Expected.of(request, path) for path in request.paths]
    counts = " and ".join(str(count) for count in request.threads)
    say(f"{request.device}: timing {len(files)} file(s), {request.runs} runs each, {counts} thread(s)")
    answer = _ask(request, _ssh_command(address, ssh, request.timeout_s), _pack(request, files))
    pairs = [(threads, file) for threads in request.threads for file in files]
    results = answer.get("results")
    if not isinstance(results, list) or len(results) != len(pairs):
        raise _nonsense(request)
    return [_record(request, answer, result, *pair) for result, pair in zip(results, pairs, strict=True)]


def _pack(request: BenchRequest, files: list[Expected]) -> bytes:
    """An archive of everything the board needs, under plain names."""
    entries = []
    contents = {"runner.py": (share_folder("export") / "linux" / "runner.py").read_bytes()}
    for number, file in enumerate(files):
        model, clips, stream = f"model{number}.tflite", f"inputs{number}.npy", io.BytesIO()
        np.save(stream, file.inputs, allow_pickle=False)
        contents |= {model: file.path.read_bytes(), clips: stream.getvalue()}
        entries.append({"model": model, "inputs": clips, "name": file.path.name})
    job = {"files": entries, "threads": request.threads, "runs": request.runs, "warmup": WARMUP}
    contents["job.json"] = json.dumps({**job, "timeout_s": request.timeout_s}).encode("utf-8")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o600
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def session_script() -> str:
    """The program of the board's shell: `sh -c SCRIPT edgeprune PYTHON BYTES SECONDS`."""
    return (share_folder("export") / "linux" / "session.sh").read_text(encoding="ascii")


def _ask(request: BenchRequest, ssh_command: list[str], archive: bytes) -> dict[str, Any]:
    """The answer of the program on the board."""
    python = os.environ.get(REMOTE_PYTHON) or "python3"
    limit_s = math.ceil(request.timeout_s + _GRACE_S / 2)
    remote = shlex.join(["exec", "sh", "-c", session_script(), "edgeprune", python, str(len(archive)), str(limit_s)])
    try:
        done = _converse([*ssh_command, remote], archive, request.timeout_s + _GRACE_S)
    except subprocess.TimeoutExpired as error:
        raise _late(request) from error
    except OSError as error:
        raise EdgepruneError(f"device {request.device}: {ssh_command[0]} cannot be run ({error.strerror}).") from error
    answer = _parse_answer(done.stdout)
    if answer is None:
        raise _failure(request, done, python)
    if "error" in answer:
        raise EdgepruneError(f"device {request.device}: {str(answer['error']).rstrip('.')}.")
    return answer


def _ssh_command(address: Address, ssh: str, timeout_s: float) -> list[str]:
    config = os.environ.get(SSH_CONFIG)
    options = {
        "BatchMode": "yes",
        "PreferredAuthentications": "publickey",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "StrictHostKeyChecking": "yes",
        "ConnectTimeout": str(min(10, math.ceil(timeout_s))),
        "ServerAliveInterval": "5",
        "ServerAliveCountMax": "3",
        "ControlMaster": "no",
        "ControlPath": "none",  # a shared connection would outlive this one
        "ClearAllForwardings": "yes",
        "ForwardAgent": "no",
        "ForwardX11": "no",
        "PermitLocalCommand": "no",
        "RemoteCommand": "none",
        "LogLevel": "ERROR",
    }
    return [
        ssh,
        *(["-F", config] if config else []),
        "-T",
        *(word for name, value in options.items() for word in ("-o", f"{name}={value}")),
        *(["-p", str(address.port)] if address.port is not None else []),
        *["-l", address.user, "--", address.host],
    ]


def _converse(command: list[str], content: bytes, limit_s: float) -> subprocess.CompletedProcess[bytes]:
    """Run ssh, send it `content`, and keep its input open until it ends: the board takes the end for a lost line."""
    read_end, write_end = os.pipe()
    try:
        process = subprocess.Popen(command, stdin=read_end, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError:
        os.close(write_end)
        raise
    finally:
        os.close(read_end)
    feeder = threading.Thread(target=_feed, args=(write_end, content), daemon=True)
    feeder.start()
    try:
        output, errors = process.communicate(timeout=limit_s)
    finally:
        process.kill()  # without effect on a process that has ended
        process.wait()
        feeder.join()  # ends at the latest with ssh, which reads from the pipe
        os.close(write_end)
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def _feed(pipe: int, content: bytes) -> None:
    left = memoryview(content)
    with suppress(BrokenPipeError):  # ssh itself prints why it did not take it
        while left:
            left = left[os.write(pipe, left) :]


def _parse_answer(output: bytes) -> dict[str, Any] | None:
    """The JSON on the last line; start-up files of the board's shell may have printed something before it."""
    try:
        answer = parse_json(output.strip().splitlines()[-1], "answer")
    except (EdgepruneError, IndexError):
        return None
    return answer if isinstance(answer, dict) else None


def _failure(request: BenchRequest, done: subprocess.CompletedProcess[bytes], python: str) -> EdgepruneError:
    """The reason why there is no answer."""
    code, errors, reason = done.returncode, done.stderr.decode("utf-8", "replace"), last_line(done.stderr)
    if code == _LATE:
        return _late(request)
    message = f"ended with exit code {code} and no answer ({reason}); check the board"
    if code in _EXIT_CODES:
        message = _EXIT_CODES[code].format(reason=reason, python=python)
    elif code == 255:
        meanings = (meaning for words, meaning in _REFUSALS.items() if words in errors)
        message = next(meanings, f"no connection ({reason}); check its name, port and network")
    return EdgepruneError(f"device {request.device}: {message}.")


def _late(request: BenchRequest) -> EdgepruneError:
    reason = f"gave no answer in {request.timeout_s:g} s and was stopped"
    return EdgepruneError(f"device {request.device}: {reason}; check the board or raise --timeout.")


def _nonsense(request: BenchRequest) -> EdgepruneError:
    advice = "check the Python and the interpreter on the board"
    return EdgepruneError(f"device {request.device}: gave an answer that makes no sense; {advice}.")


def _record(request: BenchRequest, answer: dict[str, Any], result: Any, threads: int, file: Expected) -> Measurement:
    times_ns, outputs = _read_result(request, result)
    # Not byte for byte even where no delegate took part: the kernels of older interpreters round otherwise.
    error = checks.check_close(request.device, file.path, file.outputs, outputs)
    same = outputs.tobytes() == file.outputs.tobytes()
    checked = "bytes equal to TFLite's" if same else f"within {error:.2g} of TFLite's"
    peak = result.get("peak_ram_bytes")
    detail = {
        **{name: answer.get(name) for name in ("cpu", "cpu_features", "board", "cores", "system", "governor")},
        "runtime": answer.get("interpreter"),
        **{name: answer.get(name) for name in ("python", "numpy", "before", "after")},
        "xnnpack": result.get("delegate"),
        "warmup": WARMUP,
        "timed": "inference only",
        "ram_before_model_bytes": result.get("ram_before_model_bytes"),
        "peak_ram": "not known" if peak is None else "VmHWM of a fresh process, Python included",
        "checked": f"{checked} on {len(outputs)} inputs",
        "inputs": file.source,
    }
    rest = {"peak_ram_bytes": peak if isinstance(peak, int) else None, "threads": threads, "detail": detail}
    return Measurement.of_runs(request.device, "measured", "ms", file.path, times_ns / 1e6, **rest)


def _read_result(request: BenchRequest, result: Any) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Times of the runs in ns, and outputs `[n, classes]` in the type of the file."""
    try:
        times_ns = np.array(result["times_ns"], dtype=np.int64)
        dtype = np.dtype({"float32": "f4", "int8": "i1", "uint8": "u1", "int16": "i2"}[result["outputs_dtype"]])
        outputs = np.array(result["outputs"], dtype=dtype)  # null becomes NaN, which no check lets pass
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _nonsense(request) from error
    if times_ns.shape != (request.runs,) or times_ns.min() <= 0:
        raise _nonsense(request)
    return times_ns, outputs
