"""Every module is read on Windows and macOS too: what Linux alone has is used only where it is there."""

import subprocess
import sys
from pathlib import Path

import pytest

import edgeprune

PACKAGE = Path(edgeprune.__file__).parent
ABSENT_MODULES = ("fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty")
ABSENT_NAMES = {
    "os": (
        *(
            "fork",
            "getpgrp",
            "getpgid",
            "getuid",
            "geteuid",
            "killpg",
            "mkfifo",
            "nice",
            "sched_getaffinity",
            "setpgid",
        ),
        *("setsid", "sysconf", "uname", "getloadavg", "wait"),
    ),
    "signal": ("SIGALRM", "SIGHUP", "SIGKILL", "SIGQUIT", "SIGUSR1", "alarm", "setitimer"),
}
"""What Python on Windows lacks, of modules and of what is in them."""
_IMPORT_ALL = """
import builtins, importlib, os, pkgutil, signal, sys

absent, names = {absent!r}, {names!r}
for package in ("torch", "lightning", "tensorflow", "matplotlib", "ai_edge_litert.interpreter", "filelock"):
    importlib.import_module(package)  # others' packages look after themselves
real = builtins.__import__

def guarded(name, globals=None, locals=None, fromlist=(), level=0):
    if name.partition(".")[0] in absent and (globals or {{}}).get("__name__", "").startswith("edgeprune"):
        raise ModuleNotFoundError(f"No module named {{name!r}}")
    return real(name, globals, locals, fromlist, level)

builtins.__import__ = guarded
for module, missing in names.items():
    for name in missing:
        if hasattr(sys.modules[module], name):
            delattr(sys.modules[module], name)
import edgeprune
found = [module.name for module in pkgutil.walk_packages(edgeprune.__path__, "edgeprune.")]
for name in found:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(found))
"""


@pytest.mark.slow
def test_every_module_is_imported_without_what_linux_alone_has() -> None:
    code = _IMPORT_ALL.format(absent=ABSENT_MODULES, names=ABSENT_NAMES)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    files = [path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"]
    packages = {path.parent for path in PACKAGE.rglob("__init__.py")} - {PACKAGE}
    assert int(done.stdout.splitlines()[-1]) == len(files) + len(packages)
