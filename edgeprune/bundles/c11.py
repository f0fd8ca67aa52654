"""The bundle `c11`: from samples to decisions in C11 without interpreter, and an example that tests itself."""

import shutil
from pathlib import Path

import numpy as np

from edgeprune.bundles.common import HEARD, common_files, fill_template, write_manifest
from edgeprune.bundles.deployment import Deployment, rename
from edgeprune.bundles.firmware import Firmware, heard_in, levels_text, write_firmware
from edgeprune.bundles.source import Source
from edgeprune.devices.boards import BOARDS, Board
from edgeprune.devices.qemu import OPTIMISE
from edgeprune.devices.tflm import outputs
from edgeprune.files import share_folder, write_text
from edgeprune.firmware.c_text import c_array, c_string


def write(source: Source, out: Path, deployment: Deployment) -> None:
    """Write the bundle to the folder `out`."""
    facts = common_files(source, out)
    firmware = write_firmware(source, deployment, out / "src")
    for name in ("console.h", "main.c"):
        fill_template(f"c11/{name}", out / "example")
    _write_vectors(source.stored, outputs(source.model, source.stored, "c11"), out / "example")
    _write_clips(source, deployment, out / "example")
    (out / "board").mkdir()
    files = {"board.h", "sections.ld", *(f"{name}.ld" for name in BOARDS)}
    for name in sorted(files.union(*(board.tools.sources for board in BOARDS.values()))):
        shutil.copyfile(share_folder("export") / "boards" / name, out / "board" / name)
    fill_template(
        "c11/Makefile",
        out,
        OPTIMISE=OPTIMISE,
        NAMES=" ".join(BOARDS),
        BOARDS="\n".join(line for board in BOARDS.values() for line in _make_variables(board)),
    )
    _write_readme(source, deployment, firmware, out)
    rename(out, deployment.prefix)
    write_manifest(out, {**facts, **firmware.facts, "target": "c11", "prefix": deployment.prefix})


def _make_variables(board: Board) -> list[str]:
    """How a board's program is built and run, for the Makefile; small where the memory is the real board's."""
    values = {
        "CC": board.tools.compiler,
        "FLAGS": " ".join(board.options),
        "START": " ".join(f"board/{name}" for name in board.tools.sources),
        "QEMU": " ".join((board.tools.emulator, *board.machine)),
        "LOAD": " ".join(board.load),
        "OPTIMISE": "-Os" if board.fixed_memory else OPTIMISE,
    }
    return [f"{name}_{board.name} := {value}" for name, value in values.items()]


def _write_readme(source: Source, deployment: Deployment, firmware: Firmware, out: Path) -> None:
    assert firmware.network is not None
    when = "as they come" if firmware.takes_frames else "at the end of a window, out of a ring"
    fill_template(
        "c11/README.md",
        out,
        MODEL=source.model.name,
        VECTORS=len(source.stored),
        NET=firmware.network.prefix,
        STATE=f"{firmware.network.state_bytes:,}",
        WHEN=when,
        BOARDS=", ".join(name for name in BOARDS if name != "cortex-m4"),
        LEVELS=levels_text(source, deployment),
    )


def _write_vectors(inputs: np.ndarray, expected: np.ndarray, folder: Path) -> None:
    """Write inputs and outputs, int8 `[n, values]`; the outputs are the bytes of TFLite Micro's interpreter."""
    fill_template("c11/test_vectors.h", folder, VECTORS=len(inputs))
    text = '#include "test_vectors.h"\n'
    for name, values, size in (("inputs", inputs, "EP_INPUT_SIZE"), ("outputs", expected, "EP_CLASSES")):
        text += "\n" + c_array(f"TABLE int8_t test_{name}[TEST_VECTORS][{size}]", values)
    write_text(folder / "test_vectors.c", text)


def _write_clips(source: Source, deployment: Deployment, folder: Path) -> None:
    """Write the clips' samples, and what is heard in them by Python: the class (or `HEARD`), and its probability."""
    fill_template("c11/test_audio.h", folder, CLIPS=len(source.clips))
    text, rows = '#include "test_audio.h"\n', []
    for number, clip in enumerate(source.clips):
        judgement = heard_in(clip, source, deployment)
        heard, percent = HEARD.get(judgement.heard, judgement.best), judgement.percent
        text += "\n" + c_array(f"static TABLE int16_t samples_{number}[]", clip.samples)
        rows.append(f"    {{{c_string(clip.name)}, samples_{number}, {len(clip.samples)}, {heard}, {percent}}},\n")
    write_text(folder / "test_audio.c", text + f"\nTABLE test_clip test_clips[TEST_CLIPS] = {{\n{''.join(rows)}}};\n")
