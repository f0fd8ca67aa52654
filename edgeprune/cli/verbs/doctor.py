"""`edgeprune doctor`: what is installed here, and which devices can be used."""

import importlib.metadata
import platform
import re
from dataclasses import dataclass
from typing import Any

from edgeprune.cli.output import print_json
from edgeprune.console import print_table
from edgeprune.cores import cores
from edgeprune.devices.find import DEVICES, Device
from edgeprune.devices.tools import find_program
from edgeprune.version import __version__


@dataclass(frozen=True)
class DoctorCommand:
    """Show what is installed here: Python, packages, TFLite interpreter, optional tools."""

    json: bool = False
    """Print JSON."""

    def __call__(self) -> int:
        findings = examine()
        if self.json:
            print_json(findings)
        else:
            print_findings(findings)
        return 0


MISSING = "not installed"


TOOLS = {
    "arm-none-eabi-gcc": "building for Cortex-M",
    "qemu-system-arm": "emulating Cortex-M",
    "riscv64-unknown-elf-gcc": "building for RISC-V",
    "qemu-system-riscv32": "emulating RISC-V",
    "adb": "measuring on Android",
    "ssh": "measuring on other computers",
    "chromium": "measuring in a browser",
    "make": "building the c11 bundle",
    "gcc": "building the c11 bundle for this machine, and estimating cycles",
}
"""Programs that some devices need, and what for."""


def examine() -> dict[str, Any]:
    """Versions and paths of what edgeprune uses; None for what is not there. Nothing heavy is imported.

    `interpreter` is the TFLite interpreter that loads; `devices` are those of `edgeprune bench`.
    """
    required, extras = _requirements()
    return {
        "edgeprune": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": cores(),
        "interpreter": _interpreter(),
        "packages": {name: _version(name) for name in required},
        "extras": {extra: {name: _version(name) for name in names} for extra, names in extras.items()},
        "tools": {name: find_program(name) for name in TOOLS},
        "devices": [_device(device) for device in DEVICES],
    }


def _device(device: Device) -> dict[str, Any]:
    missing = device.missing()
    return {
        "names": list(device.names),
        "kind": device.kind,
        "about": device.about,
        "usable": not missing,
        "missing": missing,
        "install": device.install if missing else "",
    }


def print_findings(findings: dict[str, Any]) -> None:
    """Print the findings of `examine` as tables."""
    about = {name: findings[name] for name in ("edgeprune", "python", "platform", "cores", "interpreter")}
    about["interpreter"] = about["interpreter"] or f"{MISSING}; install ai-edge-litert"
    print_table("", ("", ""), about.items())
    rows = [(name, version or MISSING, "always") for name, version in findings["packages"].items()]
    for extra, names in findings["extras"].items():
        rows += [(name, version or MISSING, f"edgeprune[{extra}]") for name, version in names.items()]
    print_table("", ("package", "version", "needed for"), rows)
    tools = [(name, path or MISSING, TOOLS[name]) for name, path in findings["tools"].items()]
    print_table("", ("program", "path", "needed for"), tools)
    devices = [
        (
            ", ".join(device["names"]),
            device["kind"],
            device["about"],
            "can be used" if device["usable"] else f"needs {', '.join(device['missing'])}",
        )
        for device in findings["devices"]
    ]
    print_table("", ("device", "numbers", "tells", "here"), devices)
    for device in findings["devices"]:
        if not device["usable"]:
            print(f"{device['names'][0]}: {device['install']}")


def _requirements() -> tuple[list[str], dict[str, list[str]]]:
    """Names of the packages edgeprune declares: always needed, and by extra (those of its developers left out)."""
    try:
        lines = importlib.metadata.requires("edgeprune") or []
    except importlib.metadata.PackageNotFoundError:  # a checkout that was not installed
        lines = []
    required: list[str] = []
    extras: dict[str, list[str]] = {}
    for line in lines:
        name = re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]
        extra = re.search(r"extra == ['\"]([^'\"]+)['\"]", line)
        if extra is None:
            required.append(name)
        elif extra[1] != "dev":
            extras.setdefault(extra[1], []).append(name)
    return required, extras


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _interpreter() -> str | None:
    try:
        from edgeprune.tflite.interpreter import runtime_version
    except (ImportError, AttributeError):  # a build for another platform or another major version of numpy
        return None
    return runtime_version()
