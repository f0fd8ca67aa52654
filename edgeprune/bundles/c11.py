"""The bundle `c11`: the network as C11 without an interpreter, its front-end, and an example that tests itself."""

import shutil
import tempfile
from pathlib import Path

import numpy as np

from edgeprune.bundles.common import common_files, fill_template, write_manifest
from edgeprune.bundles.source import Clip, Source
from edgeprune.devices.boards import BOARDS as ALL_BOARDS
from edgeprune.devices.qemu import OPTIMISE
from edgeprune.devices.tflm import reference_micro
from edgeprune.files import share_folder, write_text
from edgeprune.firmware.c11 import C11, TARGETS, compile_c11
from edgeprune.firmware.c_text import c_array, c_string, c_strings

NETWORKS = {"portable": "host", "cortex-m": "cortex-m4"}
"""Folders of the network's code, and the target each is compiled for. All Cortex-M processors share one code; compiler
flags select the paths of CMSIS-NN."""

BOARDS = {name: board for name, board in ALL_BOARDS.items() if name in TARGETS}
"""The emulated boards that run the example."""


def write(source: Source, out: Path) -> None:
    """Write the bundle to the folder `out`."""
    facts = common_files(source, out, out / "frontend")
    with tempfile.TemporaryDirectory() as scratch:
        networks = {name: _network(source, Path(scratch) / name, out, name) for name in NETWORKS}
        # the right outputs of the compiled network, int8 `[n, classes]`: the bytes of TFLite Micro's interpreter
        logits = reference_micro(networks["portable"][0].tflite, source.vectors, "c11")[1]
        for title, licence in networks["cortex-m"][0].licences.items():
            write_text(out / "licences" / f"{title}.txt", licence.read_text(encoding="utf-8"))
    _write_code(source, out)
    _write_vectors(source, out / "example", logits)
    _write_clips(source.clips, out / "example")
    (_, host_sources, host_options), (_, arm_sources, arm_options) = networks["portable"], networks["cortex-m"]
    boards = [f"BOARDS := {' '.join(BOARDS)}"]
    for name, board in BOARDS.items():
        boards += [f"MACHINE_{name} := {' '.join(board.machine)}", f"FLAGS_{name} := {' '.join(board.options)}"]
        boards += [f"START_{name} := {' '.join(f'board/{file}' for file in board.tools.sources)}"]
    fill_template(
        "c11/Makefile",
        out,
        HOST_SOURCES=host_sources,
        HOST_INCLUDES=host_options,
        ARM_SOURCES=arm_sources,
        ARM_INCLUDES=arm_options,
        ARM_OPTIMISE=OPTIMISE,
        BOARDS="\n".join(boards),
    )
    arena = {name: network.arena_bytes for name, (network, _, _) in networks.items()}
    fill_template(
        "c11/README.md",
        out,
        MODEL=source.model.name,
        CLASSES=len(source.labels),
        VECTORS=len(logits),
        ARENA_HOST=f"{arena['portable']:,}",
        ARENA_CORTEX_M=f"{arena['cortex-m']:,}",
    )
    write_manifest(out, {**facts, "target": "c11", "arena_bytes": arena})


def _network(source: Source, scratch: Path, out: Path, name: str) -> tuple[C11, str, str]:
    """Copy the network's code to `network/<name>`; returns it with its sources and options for the Makefile."""
    network = compile_c11(source.model, scratch, NETWORKS[name])
    root = network.header.parent
    shutil.copytree(root, out / "network" / name)

    def here(path: Path) -> str:
        return (Path("network") / name / path.relative_to(root)).as_posix()

    options = [f"-I{here(folder)}" for folder in network.includes] + [f"-D{macro}" for macro in network.defines]
    return network, " ".join(map(here, network.sources)), " ".join(options)


def _write_code(source: Source, out: Path) -> None:
    """Write the classifier, the example, and start-up code, console and memory map of the emulated boards."""
    fill_template("c11/edgeprune_classify.h", out / "src", CLASSES=len(source.labels))
    fill_template("c11/edgeprune_classify.c", out / "src", LABELS=c_strings(source.labels))
    for name in ("console.h", "main.c"):
        fill_template(f"c11/{name}", out / "example")
    (out / "board").mkdir()
    files = {"board.h", "sections.ld", *(f"{name}.ld" for name in BOARDS)}
    for name in sorted(files.union(*(board.tools.sources for board in BOARDS.values()))):
        shutil.copyfile(share_folder("export") / "boards" / name, out / "board" / name)


def _write_vectors(source: Source, folder: Path, logits: np.ndarray) -> None:
    fill_template("c11/test_vectors.h", folder, VECTORS=len(logits))
    arrays = {"test_inputs": (source.stored, "EP_INPUT_SIZE"), "test_logits": (logits, "EP_CLASSES")}
    text = '#include "test_vectors.h"\n'
    for name, (values, size) in arrays.items():
        text += "\n" + c_array(f"TABLE int8_t {name}[TEST_VECTORS][{size}]", values)
    write_text(folder / "test_vectors.c", text)


def _write_clips(clips: tuple[Clip, ...], folder: Path) -> None:
    fill_template("c11/test_audio.h", folder, CLIPS=len(clips))
    text, rows = '#include "test_audio.h"\n', []
    for number, clip in enumerate(clips):
        text += "\n" + c_array(f"static TABLE int16_t samples_{number}[]", clip.samples)
        best = int(clip.probabilities.argmax())
        percent = round(100 * float(clip.probabilities[best]))
        rows.append(f"    {{{c_string(clip.name)}, samples_{number}, {len(clip.samples)}, {best}, {percent}}},\n")
    write_text(folder / "test_audio.c", text + f"\nTABLE test_clip test_clips[TEST_CLIPS] = {{\n{''.join(rows)}}};\n")
