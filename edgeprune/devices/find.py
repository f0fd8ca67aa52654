"""The table of devices and what each needs."""

import importlib
import importlib.util
import sys
from dataclasses import dataclass

from edgeprune.devices import litert_js
from edgeprune.devices.record import Kind
from edgeprune.devices.tools import find_program
from edgeprune.errors import EdgepruneError, unknown_name


@dataclass(frozen=True)
class Device:
    """A kind of device.

    Attributes:
        names: on the command line; an address follows a name that ends in `:` or `//`.
        module: of `edgeprune.devices`, with `measure(request: BenchRequest) -> list[Measurement]`.
        programs: needed on the search path.
        modules: Python packages needed, by the names they are imported by.
        litert_js: whether TensorFlow Lite for browsers is needed.
    """

    names: tuple[str, ...]
    module: str
    about: str
    kind: Kind = "measured"
    programs: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    litert_js: bool = False
    install: str = ""

    def missing(self) -> list[str]:
        """Programs and packages that are not here."""
        programs = [name for name in self.programs if find_program(name) is None]
        packages = [name for name in self.modules if not _is_installed(name)]
        return programs + packages + (["LiteRT.js"] if self.litert_js and not _has_litert_js() else [])


_MCU = "pip install 'edgeprune[mcu]'"
_BROWSER = f"pip install 'edgeprune[browser]'; {litert_js.INSTALL}"
DEVICES = (
    Device(("host",), "host", "latency and memory on this machine"),
    Device(
        ("tflm",),
        "tflm",
        "TFLite Micro: right bytes, smallest arena",
        modules=("tflite_micro",),
        install=f"{_MCU} (Linux)",
    ),
    Device(
        ("cortex-m0", "cortex-m4", "cortex-m7", "cortex-m33"),
        "cortex_m",
        "instructions, flash and RAM of streaming C in QEMU",
        "emulated",
        programs=("arm-none-eabi-gcc", "qemu-system-arm"),
        modules=("tflite_micro",),
        install=f"apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm; {_MCU}",
    ),
    Device(
        ("riscv32",),
        "riscv",
        "instructions, flash and RAM of streaming C in QEMU",
        "emulated",
        programs=("riscv64-unknown-elf-gcc", "qemu-system-riscv32"),
        modules=("tflite_micro",),
        install=f"apt-get install gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf qemu-system-misc; {_MCU}",
    ),
    Device(
        ("ethos-u55-128", "ethos-u55-256", "ethos-u85-256"),
        "ethos_u",
        "cycles, SRAM and flash by Arm's Vela",
        "estimated",
        modules=("ethosu",),
        install=_MCU,
    ),
    Device(
        ("ssh://",),
        "ssh",
        "latency and memory on a Linux board, as ssh://user@host:port",
        programs=("ssh",),
        install="apt-get install openssh-client; on the board Python with a TFLite interpreter and numpy",
    ),
    Device(
        ("adb:",),
        "adb",
        "latency on an Android phone, as adb:SERIAL or adb: for the only one",
        programs=("adb",),
        install="apt-get install adb; TFLite's benchmark_model for the phone's processor",
    ),
    Device(
        ("browser",),
        "browser",
        "latency as WebAssembly in headless Chromium",
        programs=("chromium",),
        modules=("playwright",),
        litert_js=True,
        install=f"apt-get install chromium, or name one in EDGEPRUNE_CHROMIUM; {_BROWSER}",
    ),
    Device(
        ("browser://",),
        "browser",
        "latency as WebAssembly on a phone that opens the page at HOST:PORT",
        modules=("segno",),
        litert_js=True,
        install=_BROWSER,
    ),
)


def find_device(name: str) -> Device:
    """Look up a device such as `cortex-m4` or `ssh://pi@board:22`; nothing is contacted."""
    for device in DEVICES:
        if any(name == known or (known[-1] in ":/" and name.startswith(known)) for known in device.names):
            return device
    if name.startswith("ethos-u"):  # Vela refuses accelerators it does not know
        return next(device for device in DEVICES if device.module == "ethos_u")
    if name.startswith("cortex-m"):  # the module gives the reason why it takes no other
        return next(device for device in DEVICES if device.module == "cortex_m")
    raise unknown_name("device", name, [known for device in DEVICES for known in device.names])


def require_device(name: str) -> Device:
    """Look up a device whose programs and packages are installed here."""
    device = find_device(name)
    if missing := device.missing():
        raise EdgepruneError(f"device {name}: needs {', '.join(missing)}, not installed here; {device.install}.")
    return device


def check_device(name: str) -> None:
    """Refuse a device that is unknown, misspelt or needs what is not installed here; nothing is contacted."""
    module = importlib.import_module(f"edgeprune.devices.{require_device(name).module}")
    if hasattr(module, "check_name"):
        module.check_name(name)


def _has_litert_js() -> bool:
    try:
        return litert_js.find_litert_js().is_dir()
    except EdgepruneError:
        return False


def _is_installed(module: str) -> bool:
    return module in sys.modules or importlib.util.find_spec(module) is not None
