"""LiteRT.js, TensorFlow Lite for browsers: the files that a page needs of its npm packages, held to their hashes.

Nothing is downloaded here. `npm install` puts the packages into a folder `node_modules`.
"""

import base64
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.files import share_folder, write_bytes

VERSION = "2.5.3"
INSTALL = f"npm install --no-save @litertjs/core@{VERSION} @litertjs/wasm-utils@{VERSION}"
INTEGRITY = {
    "core": "sha512-PlGmbMOq9WitX7FO0jhbdJw9GthatsyuCQXjTt/wJZo0FLaw48q4tz8IwqgqCIkviYGr9OFDL1kCnN4nzWoyJQ==",
    "wasm-utils": "sha512-4fJiw6tBQnIs+0jH/OQ16nYOiSl8/+zZnn5h2ul8aTKHi05sVqZW580Tmk78pC2kT39A9OYBVdFawteZ/sI1kQ==",
}
"""Of the packages as npm downloads them."""
ENVIRONMENT = "EDGEPRUNE_LITERT_JS"
"""Names the folder of the packages, where the environment sets it."""
IMPORT_MAP = '{"imports": {"@litertjs/wasm-utils": "./litert/wasm-utils/dist/index.js"}}'
"""Of every page that loads `runtime.js` from its own folder: one package names the other without a path."""

SCRIPTS = {
    "core/dist/index.js": "e7daccc3a31eef890848a737ccb863ded5f046a6b40c3fdc0556495adeb5d9b3",
    "wasm-utils/dist/index.js": "e0e20bc28ab001ac732cf40d15b6eebd24fb0deaeb95eeba5100f51eebf015f2",
}
"""SHA-256 of files of the packages, by path under `@litertjs`."""
WASM = {
    "core/wasm/litert_wasm_internal.js": "68efb69f770e3f76aff36a377de629ca496c131b86ac0f0f4b592a1543a898eb",
    "core/wasm/litert_wasm_internal.wasm": "7280cf4471774867e385e6c3cd53e2b45e2975b80fea338fff4ef359b0865614",
    "core/wasm/litert_wasm_compat_internal.js": "4d8f894b7883654fd6e8439730aa41e79ceaab7d19184fc4f1f0b0f1a2a2c8a5",
    "core/wasm/litert_wasm_compat_internal.wasm": "5255c8ad06eabdbd2522cdebf6b22fc10faf74625c23a49b9e072570cd1fa41c",
}
"""The runtime for browsers with relaxed SIMD, and the one for all others; one of them is loaded."""
THREADED_WASM = {
    "core/wasm/litert_wasm_threaded_internal.js": "92fe7a720c6deedaa1194c011c79a005ea4f6fc98f533b661cf7900760ab4849",
    "core/wasm/litert_wasm_threaded_internal.wasm": "b5e54eca10f043497edf9a02186332707cae260c550d7ea22b2cae55669596cf",
}
"""The runtime with threads, for pages that are cross-origin isolated."""


def page_policy() -> str:
    """The Content-Security-Policy of a page that loads `runtime.js`.

    Nothing comes from elsewhere, and of scripts in the page's markup the import map alone counts, by its hash.
    """
    import_map = base64.b64encode(hashlib.sha256(IMPORT_MAP.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'self' 'wasm-unsafe-eval' 'sha256-{import_map}'; style-src 'self'; "
        "img-src 'self'; connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; "
        "form-action 'none'"
    )


def find_litert_js(folder: Path | None = None) -> Path:
    """The folder `@litertjs` of the packages.

    Args:
        folder: `node_modules`, or a folder that holds it; None: the folder that `EDGEPRUNE_LITERT_JS` names, else the
            first of the current folder and those above it, as Node looks.
    """
    named = folder or (Path(os.environ[ENVIRONMENT]) if os.environ.get(ENVIRONMENT) else None)
    places = [named] if named is not None else [Path.cwd(), *Path.cwd().parents]
    for place in places:
        for packages in (place / "node_modules" / "@litertjs", place / "@litertjs"):
            if (packages / "core" / "package.json").is_file():
                return packages
    where = f"is not in {named}" if named is not None else "is not installed here"
    raise EdgepruneError(f"LiteRT.js: {where}; run `{INSTALL}`, or name its folder with --litert-js.")


def copy_litert_js(packages: Path, out: Path, threads: bool = False) -> None:
    """Write `runtime.js` into the folder `out` of a page, and the files of LiteRT.js it loads into `out/litert`.

    Args:
        packages: of `find_litert_js`.
        threads: the runtime with threads as well.
    """
    for name, content in litert_js_files(packages, threads).items():
        write_bytes(out / "litert" / name, content)
    write_bytes(out / "runtime.js", (share_folder("export") / "web" / "runtime.js").read_bytes())


def litert_js_files(packages: Path, threads: bool = False) -> dict[str, bytes]:
    """Contents of LiteRT.js's files, by path under `litert/`; each is the very one of version `VERSION`."""
    expected = SCRIPTS | WASM | (THREADED_WASM if threads else {})
    return dict(_checked(packages, expected.items()))


def _checked(packages: Path, expected: Iterable[tuple[str, str]]) -> Iterable[tuple[str, bytes]]:
    for name, sha256 in expected:
        try:
            content = (packages / name).read_bytes()
        except OSError as error:
            raise EdgepruneError(f"{packages / name}: cannot be read ({error.strerror}); run `{INSTALL}`.") from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise CheckFailedError(f"{packages / name}: is not the file of LiteRT.js {VERSION}; run `{INSTALL}`.")
        yield name, content
