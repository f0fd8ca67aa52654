"""LiteRT.js in Chromium, and how its packages are found."""

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import bundle_sources
import numpy as np
import pytest

from edgeprune.audio.logmel import waveform_patches
from edgeprune.convert.waveform import write_waveform_model
from edgeprune.devices.litert_js import IMPORT_MAP, VERSION, copy_litert_js, find_litert_js, litert_js_files
from edgeprune.errors import CheckFailedError, EdgepruneError
from edgeprune.tflite.interpreter import TFLiteModel

PAGE = f"""<!doctype html><title>t</title><link rel="icon" href="data:,"><script type="importmap">{IMPORT_MAP}</script>
<body><script type="module">
import {{ Network, wasmFeatures }} from "./runtime.js";
globalThis.wasmFeatures = wasmFeatures;
globalThis.classify = async (file, inputs, threads) => {{
    const network = await Network.open(file, {{ threads }});
    const outputs = [];
    for (const values of inputs) outputs.push([...await network.run(new Float32Array(values))]);
    network.close();
    return outputs;
}};
</script>"""


@pytest.mark.slow  # starts a browser
@pytest.mark.parametrize("threads", [1, 2])
def test_a_browser_gives_what_python_gives(
    browser: Any, litert_js: Path, served: Callable[[Path], AbstractContextManager[str]], tmp_path: Path, threads: int
) -> None:
    source = bundle_sources.make_source(tmp_path)
    file = write_waveform_model(source.model, tmp_path / "site" / "network.tflite")
    copy_litert_js(litert_js, tmp_path / "site", threads=threads > 1)
    (tmp_path / "site" / "page.html").write_text(PAGE)
    clips = source.clips[0].samples / np.float32(32768), np.sin(np.arange(4000, dtype=np.float32))
    patches = np.concatenate([waveform_patches(clip, source.frontend) for clip in clips])
    with served(tmp_path / "site") as address:
        page = browser.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.goto(f"{address}/page.html")
        page.wait_for_function("typeof classify == 'function'")
        outputs = page.evaluate("values => classify(...values)", ["network.tflite", patches.tolist(), threads])
        features = page.evaluate("wasmFeatures()")
        page.close()
    assert complaints == []
    assert features == {"relaxedSimd": True, "threads": True}
    expected = np.stack([TFLiteModel(file).predict(patch[None])[0] for patch in patches])
    assert expected.max() - expected.min() > 0.3
    np.testing.assert_allclose(outputs, expected, atol=1e-6)


def test_packages_are_found_as_node_finds_them(
    litert_js: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGEPRUNE_LITERT_JS", raising=False)
    project = tmp_path / "project"
    (project / "deep").mkdir(parents=True)
    (project / "node_modules").symlink_to(litert_js.parent)
    monkeypatch.chdir(project / "deep")
    assert find_litert_js() == project / "node_modules" / "@litertjs"
    monkeypatch.chdir(tmp_path)
    assert find_litert_js(project) == find_litert_js(project / "node_modules").parent / "@litertjs"
    monkeypatch.setenv("EDGEPRUNE_LITERT_JS", str(project))
    assert find_litert_js() == project / "node_modules" / "@litertjs"


def test_what_is_absent_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(EdgepruneError, match=rf"npm install .*@litertjs/core@{VERSION}"):
        find_litert_js(tmp_path)


def test_a_file_of_another_version_is_refused(litert_js: Path, tmp_path: Path) -> None:
    packages = tmp_path / "@litertjs"
    shutil.copytree(litert_js, packages)
    script = packages / "core/dist/index.js"
    script.write_bytes(script.read_bytes() + b"\n")
    with pytest.raises(CheckFailedError, match="is not the file of LiteRT"):
        litert_js_files(packages)
    script.unlink()
    with pytest.raises(EdgepruneError, match="cannot be read"):
        litert_js_files(packages)
