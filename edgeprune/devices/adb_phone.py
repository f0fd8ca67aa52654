"""An Android phone over adb: commands, files, and its description."""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeprune.console import say
from edgeprune.devices.tools import last_line, require, run_tool
from edgeprune.errors import EdgepruneError
from edgeprune.scratch import scratch_folder

_REFUSALS = {
    "unauthorized": "has not allowed this computer; unlock the phone and confirm USB debugging",
    "more than one": "is one of several; give its serial as adb:SERIAL (adb devices lists them)",
    "no devices": "is not there; connect a phone with USB debugging switched on",
    "not found": "is not there; adb devices lists the ones that are",
    "authorizing": "has not allowed this computer yet; unlock the phone and confirm USB debugging",
    "offline": "does not answer; reconnect the phone",
    "permissions": "cannot be used by this user; set the udev rules of Android phones",
}
"""Words of adb about a phone it does not reach, and our messages."""
_PROPERTIES = {
    "manufacturer": "ro.product.manufacturer",
    "phone": "ro.product.model",
    "android": "ro.build.version.release",
    "abi": "ro.product.cpu.abi",
    "cpu": "ro.soc.model",
    "board": "ro.board.platform",
}
"""Names in `Measurement.detail` and the system properties they come from."""


def parse(device: str) -> str | None:
    """The serial in `adb:SERIAL`, None in `adb:`."""
    prefix, _, serial = device.partition(":")
    if prefix != "adb" or ":" not in device or not re.fullmatch(r"([A-Za-z0-9._:][A-Za-z0-9._:-]*)?", serial):
        shown = device if device.isprintable() else repr(device)
        raise EdgepruneError(f"device {shown}: is no phone; give adb: or adb:SERIAL, as adb devices lists it.")
    return serial or None


@dataclass(frozen=True)
class Phone:
    """A phone that adb reaches.

    Attributes:
        command: adb, with the phone's serial.
        timeout_s: limit of each call.
    """

    device: str
    command: tuple[str, ...]
    timeout_s: float

    @staticmethod
    def connect(device: str, timeout_s: float) -> Phone:
        serial, adb = parse(device), require("adb", device)
        phone = Phone(device, (adb, "-s", serial) if serial else (adb,), timeout_s)
        done = phone.call("get-state")
        if done.returncode == 0 and done.stdout.strip().endswith(b"device"):
            return phone
        output = done.stderr + done.stdout
        meanings = (meaning for words, meaning in _REFUSALS.items() if words.encode() in output)
        reason = next(meanings, f"cannot be used ({last_line(output)}); see adb devices")
        raise EdgepruneError(f"device {device}: {reason}.")

    def call(self, *words: str, timeout_s: float | None = None) -> subprocess.CompletedProcess[bytes]:
        return run_tool([*self.command, *words], self.device, timeout_s or self.timeout_s)

    def shell(self, line: str) -> str:
        """Run a line in the phone's shell, which must succeed; returns its output."""
        done = self.call("shell", line)
        if done.returncode:
            raise self._failed(line.split(" ", 1)[0], done)
        return done.stdout.decode("utf-8", "replace")

    def push(self, path: Path, target: str) -> None:
        done = self.call("push", str(path.absolute()), target)
        if done.returncode:
            raise self._failed("adb push", done)

    def pull(self, source: str) -> bytes | None:
        """The content of a file, None where there is none."""
        with scratch_folder() as folder:
            local = folder / "pulled"
            done = self.call("pull", source, str(local))
            return local.read_bytes() if done.returncode == 0 and local.is_file() else None

    def describe(self) -> dict[str, Any]:
        """Model, processor, Android version and governor; None for what the phone does not know."""
        commands = [f"echo {name}=$(getprop {shlex.quote(key)})" for name, key in _PROPERTIES.items()]
        commands.append("echo governor=$(cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor 2>/dev/null)")
        lines = (line.partition("=") for line in self.shell("; ".join(commands)).splitlines())
        values = {name: value.strip() or None for name, _, value in lines}
        return {name: values.get(name) for name in (*_PROPERTIES, "governor")}

    def temperatures(self) -> dict[str, float] | None:
        """Degrees Celsius by the name of the sensor; None where none can be read."""
        line = (
            "for zone in /sys/class/thermal/thermal_zone*; do echo $(cat $zone/type 2>/dev/null)"
            "=$(cat $zone/temp 2>/dev/null); done"
        )
        degrees_by_sensor = {}
        for text in self.shell(line).splitlines():
            name, _, value = text.rpartition("=")
            if re.fullmatch(r"-?\d+", value.strip()):
                degrees = int(value)  # some sensors give degrees, most give thousandths
                degrees_by_sensor[name] = degrees / 1000 if abs(degrees) >= 1000 else float(degrees)
        return degrees_by_sensor or None

    def clean(self, folder: str) -> None:
        """Remove the folder and end its processes; on a phone that is gone both stay until it restarts."""
        line = f"[ -f {folder}/pid ] && kill -9 $(cat {folder}/pid) 2>/dev/null; rm -rf {folder}"
        try:
            removed = self.call("shell", line, timeout_s=15).returncode == 0
        except EdgepruneError:
            removed = False
        if not removed:
            say(f"{self.device}: {folder} could not be removed; remove it by hand")

    def _failed(self, action: str, done: subprocess.CompletedProcess[bytes]) -> EdgepruneError:
        reason = last_line(done.stderr if done.stderr.strip() else done.stdout)
        return EdgepruneError(f"device {self.device}: {action} failed ({reason}); check the phone and its free memory.")
