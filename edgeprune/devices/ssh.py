"""Latency and memory of TFLite files on a Linux board, over the system's ssh; the board keeps nothing."""

import io
import ipaddress
import json
import math
import os
import re
import shlex
import subprocess
import tarfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from edgeprune.console import say
from edgeprune.devices import checks
from edgeprune.devices.record import Measurement
from edgeprune.devices.request import BenchRequest, Inputs
from edgeprune.devices.tools import last_line, require
from edgeprune.errors import EdgepruneError
from edgeprune.files import sha256_file, share_folder

SSH_CONFIG = "EDGEPRUNE_SSH_CONFIG"
"""Environment: a file to use in place of the user's ssh configuration."""
REMOTE_PYTHON = "EDGEPRUNE_REMOTE_PYTHON"
"""Environment: the interpreter on the board, a name on its search path or an absolute path; `python3` without it."""
WARMUP = 5
_CONNECT_S = 10
_GRACE_S = 5
"""How much longer than the program on the board the shell around it and ssh here wait, so that its own word arrives."""

# Runs on the board as `sh -c SCRIPT edgeprune PYTHON BYTES SECONDS`. Standard input carries an archive of so many bytes
# and then stays open for as long as the other end is there: its end means that the connection is gone. Every part runs
# in the background, because a shell that waits for one in the foreground hears no signals. KILL for the shell's own
# children: one that was only just forked may still have its parent's traps and would lose a TERM. No single quotes: all
# of it stands in a pair of them.
_SCRIPT = """
python=$1 size=$2 limit=$3 main=$$ folder= worker= watch= link=
umask 077
finish() {
    trap "" HUP INT TERM PIPE
    kill -TERM "-$main" 2>/dev/null
    if [ -n "$worker" ]; then kill -KILL "-$worker" 2>/dev/null; fi
    kill -KILL $watch $link $worker 2>/dev/null
    wait 2>/dev/null
    if [ -n "$folder" ]; then rm -rf "$folder"; fi
}
trap finish EXIT
trap "exit 95" TERM
trap "exit 96" HUP INT PIPE
exec 3<&0 </dev/null
folder=$(mktemp -d "${TMPDIR:-/tmp}/edgeprune.XXXXXXXX") || exit 91
( sleep "$limit"; kill -TERM "$main" ) 3<&- >/dev/null 2>&1 &
watch=$!
( head -c "$size" <&3 | tar -xf - -C "$folder" ) &
worker=$!
wait "$worker" || exit 92
( read -r line <&3; kill -TERM "$main" ) >/dev/null 2>&1 &
link=$!
command -v "$python" >/dev/null 2>&1 || exit 93
( exec "$python" -c "import sys; sys.exit(sys.version_info < (3, 7))" ) 3<&- >/dev/null &
worker=$!
wait "$worker" || exit 94
( exec "$python" "$folder/runner.py" --own-group "$folder" ) 3<&- &
worker=$!
wait "$worker"
code=$?
worker=
exit "$code"
"""
_BOARD = {
    91: "has no folder for temporary files that can be written ({said}); make room there or set TMPDIR",
    92: "did not take the files ({said}); it needs head and tar, and room in its TMPDIR",
    93: f"has no {{python}}; install Python 3.7 or newer there or name it in {REMOTE_PYTHON}",
    94: f"has a {{python}} that is no Python 3.7 or newer ({{said}}); name another in {REMOTE_PYTHON}",
    96: "ended the session before there was an answer; check the board",
}
"""Exit codes of the script above: what to say about the device."""
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
"""What ssh says about a connection it does not make, and what that means."""


@dataclass(frozen=True)
class Address:
    """Where a board is; `port` None leaves it to ssh."""

    user: str
    host: str
    port: int | None

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ssh://{self.user}@{host}" + ("" if self.port is None else f":{self.port}")


def parse(device: str) -> Address:
    """The address in `ssh://user@host[:port]`; an IPv6 address stands in brackets.

    Raises:
        EdgepruneError: anything else, such as a password; the sentence does not repeat it.
    """
    if re.match(r"[^:]*://[^/@]*:.*@", device, flags=re.DOTALL):
        hidden = re.sub(r"(//[^:]*):.*@", r"\1:***@", device, flags=re.DOTALL)
        raise EdgepruneError(f"device {_printable(hidden)}: passwords are not taken; use a key and ssh-agent.")
    address = _split(device)
    # What was put together again must be what was given: nothing else may stand in it.
    if address is None or address.url != device:
        raise EdgepruneError(
            f"device {_printable(device)}: is no address of a board; give ssh://user@host or ssh://user@host:port."
        )
    return address


def _split(device: str) -> Address | None:
    """The parts of an address; None where one is missing or could pass for an option of ssh."""
    try:
        parts = urlsplit(device)
        user, port = parts.username or "", parts.port
    except ValueError:
        return None
    host = parts.netloc.rpartition("@")[2]  # not `parts.hostname`, which is in lower case
    host = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if not re.fullmatch(r"[A-Za-z0-9_.][A-Za-z0-9_.+-]*", user) or not _is_host(host) or port == 0:
        return None
    return Address(user, host, port)


def _is_host(host: str) -> bool:
    if ":" not in host:
        return re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", host) is not None
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return re.fullmatch(r"[A-Za-z0-9:.%_-]+", host) is not None  # what names a network interface may hold more


def _printable(text: str) -> str:
    return text if text.isprintable() else repr(text)


def measure(request: BenchRequest) -> list[Measurement]:
    """Time the files against each other on a board.

    The files, their check clips and `export/linux/runner.py` go over ssh into a fresh folder of the board's TMPDIR,
    which is removed whatever happens. ssh uses keys only, and hosts whose keys are known. The board needs sh, mktemp,
    head, tar, Python 3.7 or newer, numpy and a TFLite interpreter.

    Args:
        request: `timeout_s` holds for all files together and cuts the board's processes off as well.

    Returns:
        One record a thread count and file, in that order; `kind` is `measured`, `unit` is `ms`. Before a time is
        reported, the outputs on every clip are compared with the reference, within `checks.TOLERANCE`;
        `detail["checked"]` tells whether they even are the same bytes. `peak_ram_bytes` is the most resident memory of
        a process on the board that loads the file and runs it once, Python included.

    Raises:
        EdgepruneError: a wrong address, no connection, something missing on the board, or no answer in time.
        CheckFailedError: the board computes something else.
    """
    address = parse(request.device)
    ssh = require("ssh", address.url)
    request.check()
    tasks = [_Task.of(path, request.inputs(path)) for path in request.paths]
    say(f"{address.url}: timing {len(tasks)} file(s), {request.runs} runs each, {_counts(request)} thread(s)")
    answer = _ask(request, address, ssh, _pack(request, tasks))
    pairs = [(threads, task) for threads in request.threads for task in tasks]
    results = answer.get("results")
    if not isinstance(results, list) or len(results) != len(pairs):
        raise _no_answer(address)
    return [
        _record(request, address, answer, result, threads, task)
        for result, (threads, task) in zip(results, pairs, strict=True)
    ]


@dataclass(frozen=True, eq=False)
class _Task:
    """A file, what goes into it and what must come out."""

    path: Path
    source: str
    stored: NDArray[Any]
    expected: NDArray[Any]

    @classmethod
    def of(cls, path: Path, inputs: Inputs) -> "_Task":
        stored, expected = checks.reference(path, inputs)
        return cls(Path(path), inputs.source, stored, expected)


def _pack(request: BenchRequest, tasks: list[_Task]) -> bytes:
    """An archive of everything the board needs, under names of our own."""
    files = [
        {"model": f"model{number}.tflite", "inputs": f"inputs{number}.npy", "name": task.path.name}
        for number, task in enumerate(tasks)
    ]
    asked = {
        "files": files,
        "threads": list(request.threads),
        "runs": request.runs,
        "warmup": WARMUP,
        "timeout_s": request.timeout_s,
    }
    contents = {
        "runner.py": (share_folder("export") / "linux" / "runner.py").read_bytes(),
        "request.json": json.dumps(asked).encode("utf-8"),
    }
    for entry, task in zip(files, tasks, strict=True):
        contents[entry["model"]] = task.path.read_bytes()
        contents[entry["inputs"]] = _npy(task.stored)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o600
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def _npy(values: NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=False)
    return stream.getvalue()


def _ask(request: BenchRequest, address: Address, ssh: str, archive: bytes) -> dict[str, Any]:
    """What the program on the board answers."""
    python = os.environ.get(REMOTE_PYTHON) or "python3"
    limit_s = math.ceil(request.timeout_s + _GRACE_S / 2)
    remote = shlex.join(["exec", "sh", "-c", _SCRIPT, "edgeprune", python, str(len(archive)), str(limit_s)])
    command = [*_ssh_command(address, ssh, request.timeout_s), remote]
    try:
        done = _converse(command, archive, request.timeout_s + _GRACE_S)
    except subprocess.TimeoutExpired as error:
        raise _late(request, address) from error
    except OSError as error:
        raise EdgepruneError(f"device {address.url}: {ssh} cannot be run ({error.strerror}).") from error
    answer = _parse_answer(done.stdout)
    if answer is None:
        raise _failure(request, address, done, python)
    if "error" in answer:
        raise EdgepruneError(f"device {address.url}: {str(answer['error']).rstrip('.')}.")
    return answer


def _ssh_command(address: Address, ssh: str, timeout_s: float) -> list[str]:
    config = os.environ.get(SSH_CONFIG)
    options = {
        "BatchMode": "yes",
        "PreferredAuthentications": "publickey",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "StrictHostKeyChecking": "yes",
        "ConnectTimeout": str(min(_CONNECT_S, math.ceil(timeout_s))),
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


def _converse(command: list[str], sent: bytes, limit_s: float) -> subprocess.CompletedProcess[bytes]:
    """Run ssh, send it `sent`, and leave its input open until it ends: the board takes the end for a lost connection.

    Raises:
        subprocess.TimeoutExpired: it took longer than `limit_s` and was killed.
    """
    read_end, write_end = os.pipe()
    try:
        process = subprocess.Popen(command, stdin=read_end, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError:
        os.close(write_end)
        raise
    finally:
        os.close(read_end)
    feeder = threading.Thread(target=_feed, args=(write_end, sent), daemon=True)
    feeder.start()
    try:
        out, said = process.communicate(timeout=limit_s)
    finally:
        process.kill()  # without effect on a process that has ended
        process.wait()
        feeder.join()  # ends at the latest with ssh, which reads what it writes
        os.close(write_end)
    return subprocess.CompletedProcess(command, process.returncode, out, said)


def _feed(pipe: int, sent: bytes) -> None:
    left = memoryview(sent)
    with suppress(BrokenPipeError):  # ssh itself says why it did not take it
        while left:
            left = left[os.write(pipe, left) :]


def _parse_answer(out: bytes) -> dict[str, Any] | None:
    """The JSON on the last line; start-up files of the board's shell may have said something before it."""
    try:
        answer = json.loads(out.decode("utf-8", "replace").strip().splitlines()[-1], parse_constant=_refuse_constant)
    except (ValueError, IndexError):
        return None
    return answer if isinstance(answer, dict) else None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _failure(
    request: BenchRequest, address: Address, done: subprocess.CompletedProcess[bytes], python: str
) -> EdgepruneError:
    """Why there is no answer."""
    said = done.stderr.decode("utf-8", "replace")
    reason = last_line(done.stderr)
    if done.returncode == 95:
        return _late(request, address)
    if done.returncode in _BOARD:
        return EdgepruneError(f"device {address.url}: {_BOARD[done.returncode].format(said=reason, python=python)}.")
    for words, meaning in _REFUSALS.items():
        if done.returncode == 255 and words in said:
            return EdgepruneError(f"device {address.url}: {meaning}.")
    if done.returncode == 255:
        return EdgepruneError(f"device {address.url}: no connection ({reason}); check its name, port and network.")
    return EdgepruneError(
        f"device {address.url}: ended with exit code {done.returncode} and no answer ({reason}); check the board."
    )


def _late(request: BenchRequest, address: Address) -> EdgepruneError:
    return EdgepruneError(
        f"device {address.url}: gave no answer in {request.timeout_s:g} s and was stopped; check the board or raise "
        "--timeout."
    )


def _no_answer(address: Address) -> EdgepruneError:
    return EdgepruneError(
        f"device {address.url}: gave an answer that makes no sense; check the Python and the interpreter on the board."
    )


def _record(
    request: BenchRequest, address: Address, answer: dict[str, Any], result: Any, threads: int, task: _Task
) -> Measurement:
    times_ns, outputs = _read_result(request, address, result)
    checked = _compare(address, task, outputs)
    p5, median, p95 = (float(value) for value in np.percentile(times_ns / 1e6, [5, 50, 95]))
    peak = result.get("peak_ram_bytes")
    return Measurement(
        device=address.url,
        kind="measured",
        unit="ms",
        median=median,
        p5=p5,
        p95=p95,
        runs=len(times_ns),
        peak_ram_bytes=peak if isinstance(peak, int) else None,
        threads=threads,
        model=task.path.name,
        sha256=sha256_file(task.path),
        detail={
            **{name: answer.get(name) for name in ("cpu", "board", "cores", "system", "governor")},
            "runtime": answer.get("interpreter"),
            **{name: answer.get(name) for name in ("python", "numpy", "before", "after")},
            "xnnpack": result.get("delegate"),
            "warmup": WARMUP,
            "timed": "inference only",
            "ram_before_model_bytes": result.get("ram_before_model_bytes"),
            "peak_ram": "not known" if peak is None else "VmHWM of a fresh process, Python included",
            "checked": f"{checked} on {len(outputs)} inputs",
            "inputs": task.source,
        },
    )


def _read_result(request: BenchRequest, address: Address, result: Any) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Times of the runs in ns, and outputs `[n, classes]` in the type of the file."""
    try:
        times_ns = np.array(result["times_ns"], dtype=np.int64)
        dtype = np.dtype({"float32": "f4", "int8": "i1", "uint8": "u1", "int16": "i2"}[result["outputs_dtype"]])
        outputs = np.array(result["outputs"], dtype=dtype)  # null becomes NaN, which no check lets pass
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _no_answer(address) from error
    if times_ns.shape != (request.runs,) or times_ns.min() <= 0:
        raise _no_answer(address)
    return times_ns, outputs


def _compare(address: Address, task: _Task, outputs: NDArray[Any]) -> str:
    """How the outputs compare with the reference's, in words; they are refused where they are too far off."""
    # Not byte for byte even where no delegate took part: the kernels of older interpreters round otherwise.
    error = checks.check_close(address.url, task.path, task.expected, outputs)
    same = outputs.tobytes() == task.expected.tobytes()
    return "bytes equal to TFLite's" if same else f"within {error:.2g} of TFLite's"


def _counts(request: BenchRequest) -> str:
    return " and ".join(str(count) for count in request.threads)
