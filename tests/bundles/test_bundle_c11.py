"""The C11 bundle: built as it is written, without a warning and under the sanitizers, and run on emulated boards."""

import json
import shutil
import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tiny_tflite
from bundle_sources import LABELS, SPEC, make_source

from edgeprune.audio.listen_rules import ListenRules
from edgeprune.bundles import c11, firmware
from edgeprune.bundles.deployment import Deployment
from edgeprune.bundles.source import Clip, Source
from edgeprune.bundles.targets import runtime_of, write_bundle
from edgeprune.devices.boards import BOARDS
from edgeprune.errors import EdgepruneError
from edgeprune.firmware.stream.compile import compile_stream

NAMES = ("beach", "bus", "park", "tram", "metro")
SANITISED = "-O1 -Werror -fsanitize=address,undefined -fno-sanitize-recover=all"
TWO = Deployment(ListenRules(hops_per_window=3, threshold=0.9, smoothing=0.25), prefix="street")


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Source:
    """With a clip of noise, a quiet one and a silent one."""
    made = make_source(tmp_path_factory.mktemp("source"), labels=NAMES)
    (clip,) = made.clips
    quiet = replace_samples(made, clip, "quiet.wav", (clip.samples // 400).astype(np.int16))
    silent = replace_samples(made, clip, "silent.wav", np.zeros_like(clip.samples))
    return replace(made, clips=(replace(clip, name="noise.wav"), quiet, silent))


def replace_samples(source: Source, clip: Clip, name: str, samples: np.ndarray) -> Clip:
    from edgeprune.tflite.interpreter import TFLiteModel

    patches = source.description.patches((samples / 32768).astype(np.float32))
    return replace(clip, name=name, samples=samples, probabilities=TFLiteModel(source.model).predict(patches[:1])[0])


@pytest.fixture(scope="module")
def bundle(source, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("bundles") / "plain"
    c11.write(source, out, Deployment())
    return out


@pytest.fixture(scope="module")
def renamed(source, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("bundles") / "renamed"
    c11.write(source, out, TWO)
    return out


def make(folder: Path, *arguments: str) -> list[str]:
    for program in ("make", "gcc"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    done = subprocess.run(["make", "--silent", *arguments], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if "warning" in line]
    assert not [line for line in warnings if "RWX permissions" not in line]  # of a board with one memory
    return done.stdout.splitlines()


def check(lines: list[str]) -> None:
    """The bytes of TFLite Micro, a class in noise, and silence in silence."""
    assert lines[0] == "vectors: 10 of 10 right"
    assert lines[1].startswith("clip noise.wav: tram 57%, -21 dBFS (Python: tram 57%)")
    assert lines[2].split(":")[0] == "clip quiet.wav"
    assert lines[3].startswith("clip silent.wav: silence 0%, -91 dBFS (Python: silence 0%)")
    assert lines[-2:] == ["clips: 3 of 3 as in Python", "done"]


def test_it_runs_here_under_the_sanitizers(bundle) -> None:
    check(make(bundle, "run", f"CFLAGS={SANITISED}"))


@pytest.mark.parametrize("board", BOARDS)
def test_it_runs_on_the_boards(bundle, board) -> None:
    tools = BOARDS[board].tools
    for program in (tools.compiler, tools.emulator):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    check(make(bundle, f"run-{board}"))


def test_a_bundle_with_a_prefix_runs_on_a_board(renamed) -> None:
    for program in ("arm-none-eabi-gcc", "qemu-system-arm"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    assert make(renamed, "run-cortex-m4")[-2:] == ["clips: 3 of 3 as in Python", "done"]


def test_a_wrong_byte_is_told(bundle, tmp_path) -> None:
    copy = shutil.copytree(bundle, tmp_path / "copy")
    vectors = copy / "example" / "test_vectors.c"
    head, mark, rest = vectors.read_text().rpartition("    {")
    vectors.write_text(f"{head}{mark}{-int(rest.split(',')[0]) - 1}{rest[rest.index(',') :]}")
    done = subprocess.run(["make", "--silent", "run"], cwd=copy, capture_output=True, text=True)
    assert done.returncode != 0
    assert "vectors: 9 of 10 right" in done.stdout
    assert done.stdout.endswith("failed: the network computes something else\n")


def test_a_network_that_does_not_walk_time_takes_its_frames_out_of_a_ring(source, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(firmware, "compile_stream", partial(compile_stream, walk="height"))
    c11.write(source, tmp_path / "out", Deployment())
    assert not json.loads((tmp_path / "out" / "manifest.json").read_text())["takes_frames"]
    assert "#define EP_STREAM 0\n" in (tmp_path / "out" / "src" / "edgeprune_frontend_config.h").read_text()
    check(make(tmp_path / "out", "run", f"CFLAGS={SANITISED}"))


def test_rules_and_prefix_are_those_of_the_deployment(renamed) -> None:
    lines = make(renamed, "run", f"CFLAGS={SANITISED}")
    assert lines[1].startswith("clip noise.wav: none 57%, -21 dBFS (Python: none 57%)")
    assert lines[-2:] == ["clips: 3 of 3 as in Python", "done"]
    manifest = json.loads((renamed / "manifest.json").read_text())
    assert manifest["prefix"] == "street"
    names = {Path(name).name for name in manifest["files"]}
    assert {"street_stream.c", "street_net.h", "street_frontend_config.h"} <= names
    assert not {name for name in names if name.startswith("edgeprune_")} - {"edgeprune_kernels.h"}
    readme = (renamed / "README.md").read_text()
    assert "street_stream_listen(&stream, &fifo, &decision)" in readme
    assert "--hop-s 0.064 --smoothing 0.25 --threshold 0.9 --gate-dbfs -80.0" in readme


WINDOWS = """
#include <stdio.h>
#include <string.h>
#include "street_stream.h"
#define SAMPLES (2 * STREET_SAMPLE_RATE)
static int16_t samples[SAMPLES];
static int8_t rows[SAMPLES / STREET_HOP + 2][STREET_MELS], input[STREET_INPUT_SIZE];
static street_frontend frontend;
static street_stream stream;
static street_network whole;
int main(void)
{
    unsigned seed = 1, frames = 0, windows = 0, same = 0, kinds = 0;
    int8_t expected[STREET_CLASSES], streamed[STREET_CLASSES], before[STREET_CLASSES] = {0};
    for (int i = 0; i < SAMPLES; ++i) {
        seed = seed * 1664525u + 1013904223u;
        samples[i] = (int16_t)((int)(seed >> 20) * (i / 1000 % 7) - 2048 * (i / 1000 % 7));
    }
    street_frontend_reset(&frontend);
    for (size_t i = 0; i < SAMPLES; ++i) {
        if (street_frontend_push_i16(&frontend, samples + i, 1))
            memcpy(rows[frames++], street_frontend_row(&frontend), STREET_MELS);
    }
    street_stream_reset(&stream);
    for (size_t done = 0; done < SAMPLES;) {
        street_decision decision;
        done += street_stream_push_i16(&stream, samples + done, SAMPLES - done);
        if (stream.due == NULL)
            continue;
        for (int frame = 0; frame < STREET_FRAMES; ++frame)
            for (int mel = 0; mel < STREET_MELS; ++mel)
                input[mel * STREET_FRAMES + frame] = rows[windows * STREET_DECISION_HOP + frame][mel];
        street_network_infer(&whole, input, expected);
        street_network_output(&stream.due->network, streamed);
        same += memcmp(expected, streamed, sizeof streamed) == 0;
        kinds += memcmp(before, streamed, sizeof streamed) != 0;
        memcpy(before, streamed, sizeof streamed);
        ++windows;
        (void)street_stream_decide(&stream, &decision);
    }
    printf("%u %u %d\\n", windows, same, kinds > windows / 2);
    return 0;
}
"""


def test_overlapping_windows_are_to_the_byte_those_of_the_whole_input(renamed, tmp_path) -> None:
    """Three states of the network, out of phase, against one that takes each window at once."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    (tmp_path / "windows.c").write_text(WINDOWS)
    sources = [tmp_path / "windows.c", *(renamed / "src").glob("*.c")]
    command = ["gcc", "-std=c11", *SANITISED.split(), "-Wall", f"-I{renamed / 'src'}", *sources, "-lm"]
    subprocess.run([*command, "-o", tmp_path / "windows"], check=True)
    printed = subprocess.run([tmp_path / "windows"], capture_output=True, text=True, check=True).stdout
    # two seconds have 125 frames, of which windows of 12 begin every 4
    assert printed == f"{(125 - 12) // 4 + 1} {(125 - 12) // 4 + 1} 1\n"


BOTH = """
#include <stdio.h>
#include "edgeprune_stream.h"
#include "street_stream.h"
static ep_stream one;
static street_stream two;
int main(void)
{
    static int16_t samples[EP_SAMPLE_RATE];
    unsigned decisions = 0, of_two = 0;
    for (int i = 0; i < EP_SAMPLE_RATE; ++i)
        samples[i] = (int16_t)(i * 7919 % 4001 - 2000);
    ep_stream_reset(&one);
    street_stream_reset(&two);
    for (size_t done = 0; done < EP_SAMPLE_RATE;) {
        ep_decision decision;
        done += ep_stream_push_i16(&one, samples + done, EP_SAMPLE_RATE - done);
        decisions += ep_stream_decide(&one, &decision) > 0;
    }
    for (size_t done = 0; done < STREET_SAMPLE_RATE;) {
        street_decision decision;
        done += street_stream_push_i16(&two, samples + done, STREET_SAMPLE_RATE - done);
        of_two += street_stream_decide(&two, &decision) > 0;
    }
    printf("%u %u %d\\n", decisions, of_two, STREET_NONE);
    return 0;
}
"""


def test_two_bundles_link_into_one_program(bundle, renamed, tmp_path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    (tmp_path / "both.c").write_text(BOTH)
    folders = [bundle / "src", renamed / "src"]
    sources = [path for folder in folders for path in folder.glob("*.c")]
    includes = [f"-I{folder}" for folder in folders]
    command = ["gcc", "-std=c11", "-Wall", "-Werror", *includes, tmp_path / "both.c", *sources, "-lm"]
    subprocess.run([*command, "-o", tmp_path / "both"], check=True)
    printed = subprocess.run([tmp_path / "both"], capture_output=True, text=True, check=True).stdout
    # a second has 62 frames: a window of 12 in turn, and every 4 frames
    assert printed == f"{(62 - 12) // 12 + 1} {(62 - 12) // 4 + 1} -1\n"


def test_the_state_is_as_large_as_was_said(source, bundle, tmp_path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["takes_frames"]
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("needs gcc-arm-none-eabi")
    (tmp_path / "size.c").write_text(
        f'#include "net.h"\n_Static_assert(sizeof(net_state) == {manifest["state_bytes"]}, "size");\n'
    )
    command = ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-c", f"-I{bundle / 'src'}", tmp_path / "size.c"]
    subprocess.run([*command, "-o", tmp_path / "size.o"], check=True)


def test_nothing_is_left_to_fill_in(bundle) -> None:
    for path in bundle.rglob("*"):
        if path.is_file() and path.suffix not in (".tflite", ".json") and "build" not in path.parts:
            assert "@" not in path.read_text().replace("$@", "").replace("$(@D)", ""), path


def test_wrong_deployments(source) -> None:
    with pytest.raises(EdgepruneError, match="prefix: 'a-b' makes no C names"):
        Deployment(prefix="a-b")
    with pytest.raises(EdgepruneError, match="keep their names; use --runtime stream"):
        Deployment(prefix="street", runtime="tflm")
    with pytest.raises(EdgepruneError, match="runtime: c11 has no bundle for tflm"):
        runtime_of("c11", "tflm")
    assert (runtime_of("tflm", None), runtime_of("zephyr", None), runtime_of("zephyr", "tflm")) == (
        "tflm",
        "stream",
        "tflm",
    )
    assert len(LABELS) == len(NAMES) == 5
    assert SPEC.patch_frames == 12


def test_what_no_bundle_is_made_of_is_refused_with_what_to_do(tmp_path) -> None:
    with pytest.raises(EdgepruneError, match=rf"`edgeprune export {tmp_path} --formats int8` makes of a finished run"):
        write_bundle(tmp_path, "c11", tmp_path / "out")
    path = tiny_tflite.write(tiny_tflite.float_model(), tmp_path / "model_float32.tflite")
    with pytest.raises(EdgepruneError, match=r"is not int8 from end to end, .* give the run's folder or its"):
        write_bundle(path, "c11", tmp_path / "out")
