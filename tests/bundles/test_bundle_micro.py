"""Bundles for frameworks of microcontrollers: what is generated is compiled and run, by both runtimes.

TensorFlow Lite Micro's interpreter and the frameworks' headers are replaced by stand-ins (marked so).
"""

import hashlib
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_tflite
from ai_edge_litert import schema_py_generated as schema
from bundle_sources import ARENA, LABELS, make_source

from edgeprune.bundles import arena, micro
from edgeprune.bundles.deployment import Deployment
from edgeprune.bundles.micro_operators import METHODS, op_resolver
from edgeprune.bundles.source import Source
from edgeprune.errors import EdgepruneError
from edgeprune.firmware.c_text import c_float
from edgeprune.tflite.flatbuffer import operators

TFLM = Deployment(runtime="tflm")
BUNDLES = {
    "tflm": ("tflm", TFLM),
    **{f"{name} tflm": (name, TFLM) for name in ("esp-idf", "zephyr", "arduino")},
    **{name: (name, Deployment()) for name in ("esp-idf", "zephyr", "arduino")},
}
"""By a test's name: target and deployment."""
SOURCES = {
    "tflm": "src",
    "esp-idf": "components/edgeprune_network/src",
    "zephyr": "src",
    "arduino": "src",
}


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Source:
    return make_source(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def bundles(source, tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("bundles")
    for name, (target, deployment) in BUNDLES.items():
        micro.write(source, root / name, target, deployment)
    return {name: root / name for name in BUNDLES}


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["zephyr", "zephyr tflm"])
def test_the_same_source_gives_the_same_bytes(source, bundles, tmp_path, name) -> None:
    micro.write(source, tmp_path / "again", *BUNDLES[name])
    assert _contents(tmp_path / "again") == _contents(bundles[name])


@pytest.mark.parametrize("name", BUNDLES)
def test_the_manifest_lists_every_file(source, bundles, name) -> None:
    contents, (target, deployment) = _contents(bundles[name]), BUNDLES[name]
    manifest = json.loads(contents.pop("manifest.json"))
    assert manifest["files"] == {
        path: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for path, content in contents.items()
    }
    assert manifest["target"] == target
    assert manifest["labels"] == list(LABELS)
    assert manifest["runtime"] == deployment.runtime
    assert contents["model_int8.tflite"] == source.model.read_bytes()
    if deployment.runtime == "stream":
        assert 500 < manifest["state_bytes"] < 5000
        assert not any(name.endswith((".cc", ".cpp")) for name in contents)
        return
    assert manifest["operators"] == sorted(set(operators(source.model)))
    arena = manifest["arena"]
    assert arena["measured_bytes"] == ARENA
    assert arena["bytes"] == -(-(ARENA + arena["headroom_bytes"]) // 16) * 16
    assert (
        f"#define EDGEPRUNE_ARENA_BYTES {arena['bytes']}\n" in contents[f"{SOURCES[target]}/edgeprune_infer.h"].decode()
    )


@pytest.mark.parametrize("bundle", BUNDLES)
def test_nothing_is_left_to_fill_in(bundles, bundle) -> None:
    for name, content in _contents(bundles[bundle]).items():
        if not name.endswith((".tflite", ".json")):
            left = set(re.findall(r"@\w+@", content.decode()))
            assert left <= ({"@CLASSES@", "@ARENA@"} if name == "README.md" else set()), name  # those of the label


@pytest.mark.parametrize("name", BUNDLES)
def test_the_readme_tells_what_is_needed(source, bundles, name) -> None:
    text = (bundles[name] / "README.md").read_text(encoding="utf-8")
    for label in LABELS:
        assert f"\n      {json.dumps(label, ensure_ascii=False)}\n" in text
    (scale_in, zero_in), (scale_out, zero_out) = (0.02, 3), (1 / 256, -128)
    assert f"{scale_in:.9g} * (q {-zero_in:+d})" in text.replace("0.0199999996", "0.02")
    assert f"{scale_out:.9g} * (q {-zero_out:+d})" in text
    assert (f"{ARENA:,} B are the least" in text) == ("tflm" in name)
    assert "8000 Hz" in text
    assert "--hop-s 0.192 --smoothing 0.7 --threshold 0 --gate-dbfs -80.0" in text


def _run(*command: str | Path) -> bytes:
    done = subprocess.run([str(word) for word in command], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def _compiler(name: str) -> str:
    if shutil.which(name) is None:
        pytest.skip(f"needs {name}")
    return name


DUMP = """
#include <stdio.h>
#include "edgeprune_model.h"
int main() {
    if (reinterpret_cast<unsigned long>(edgeprune_model) % 16) return 1;
    return fwrite(edgeprune_model, 1, sizeof edgeprune_model, stdout) != sizeof edgeprune_model;
}
"""
NAMES = """
#include <stdio.h>
#include <string.h>
#include "edgeprune_listen.h"
int main(void) {
    for (int i = 0; i < EP_CLASSES; ++i)
        fwrite(ep_labels[i], 1, strlen(ep_labels[i]) + 1, stdout);
    return 0;
}
"""


def test_the_array_is_the_file(source, bundles, tmp_path) -> None:
    sources = bundles["tflm"] / "src"
    (tmp_path / "dump.cc").write_text(DUMP)
    flags = ("-std=c++17", "-Wall", "-Wextra", "-Werror", f"-I{sources}")
    _run(_compiler("g++"), *flags, tmp_path / "dump.cc", sources / "edgeprune_model.cc", "-o", tmp_path / "dump")
    assert _run(tmp_path / "dump") == source.model.read_bytes()


@pytest.mark.parametrize("standard", ["c99", "c11"])  # these replace trigraphs
def test_labels_are_what_they_were(bundles, tmp_path, standard) -> None:
    sources = bundles["tflm"] / "src"
    (tmp_path / "names.c").write_text(NAMES)
    flags = (f"-std={standard}", "-Wall", "-Wextra", "-Werror", "-pedantic", f"-I{sources}")
    _run(_compiler("gcc"), *flags, tmp_path / "names.c", sources / "edgeprune_labels.c", "-o", tmp_path / "names")
    assert _run(tmp_path / "names").split(b"\0")[:-1] == [label.encode() for label in LABELS]


STAND_IN = """\
// STAND-IN for tests. This is NOT TensorFlow Lite Micro: it declares what the bundles use of it, checks how they use
// it, and answers with the expected output of the nearest test vector.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "test_vectors.h"

namespace tflite {
struct Model { unsigned version() const { return 3; } };
inline const Model *GetModel(const void *bytes) {
    static const Model model{};
    if (reinterpret_cast<uintptr_t>(bytes) % 16 || memcmp(static_cast<const char *>(bytes) + 4, "TFL3", 4)) abort();
    return &model;
}
}  // namespace tflite

@OPEN@
enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };
struct TfLiteTensor { union { int8_t *int8; float *f; } data; size_t bytes; };
@BETWEEN@
struct MicroOpResolver { unsigned size, added; };
template <unsigned kSize>
struct MicroMutableOpResolver : MicroOpResolver {
    MicroMutableOpResolver() : MicroOpResolver{kSize, 0} {}
@METHODS@
};

class MicroInterpreter {
 public:
    MicroInterpreter(const tflite::Model *, const MicroOpResolver &operators, uint8_t *arena, size_t bytes)
        : operators_(operators), arena_(arena), bytes_(bytes) {}
    TfLiteStatus AllocateTensors() {
        const bool right = operators_.added == operators_.size && bytes_ >= @ARENA@;
        if (reinterpret_cast<uintptr_t>(arena_) % 16 || bytes_ % 16) abort();
        return right ? kTfLiteOk : kTfLiteError;
    }
    TfLiteTensor *input(size_t) { return &input_; }
    TfLiteTensor *output(size_t) { return &output_; }
    size_t arena_used_bytes() const { return @ARENA@; }
    TfLiteStatus Invoke() {
        int best = 0;
        long least = -1;
        for (int i = 0; i < TEST_VECTORS; ++i) {
            long distance = 0;
            for (int j = 0; j < EDGEPRUNE_INPUT_SIZE; ++j) distance += labs(input_values_[j] - test_inputs[i][j]);
            if (least < 0 || distance < least) least = distance, best = i;
        }
        memcpy(output_values_, test_outputs[best], EDGEPRUNE_CLASSES);
        return kTfLiteOk;
    }

 private:
    const MicroOpResolver &operators_;
    uint8_t *arena_;
    size_t bytes_;
    int8_t input_values_[EDGEPRUNE_INPUT_SIZE], output_values_[EDGEPRUNE_CLASSES];
    TfLiteTensor input_{{input_values_}, EDGEPRUNE_INPUT_SIZE}, output_{{output_values_}, EDGEPRUNE_CLASSES};
};
@CLOSE@
"""
HEADERS = ("micro/micro_interpreter.h", "micro/micro_mutable_op_resolver.h", "schema/schema_generated.h")


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory) -> Path:
    """A folder of headers."""
    return _stand_in(tmp_path_factory.mktemp("stand_in"), newer=True)


def _stand_in(folder: Path, newer: bool) -> Path:
    """Headers with the namespaces of older or of newer releases."""
    methods = (f"    TfLiteStatus Add{name}() {{ ++added; return kTfLiteOk; }}" for name in METHODS.values())
    text = STAND_IN.replace("@METHODS@", "\n".join(methods)).replace("@ARENA@", str(ARENA))
    text = text.replace("@OPEN@", "namespace tflite { namespace micro {" if newer else "")
    text = text.replace("@BETWEEN@", "" if newer else "namespace tflite {").replace("@CLOSE@", "} }" if newer else "}")
    for name in HEADERS:
        path = folder / "tensorflow" / "lite" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def _build(sources: Path, stand_in: Path, out: Path, main: Path, *flags: str, standard: str = "c++17") -> Path:
    """Everything in `sources` and a main function, as a program."""
    objects = []
    for path in (*sorted(sources.iterdir()), main):
        if path.suffix not in (".c", ".cc", ".cpp", ".ino"):
            continue
        c = path.suffix == ".c"
        command = [_compiler("gcc"), "-std=c11"] if c else [_compiler("g++"), f"-std={standard}", "-fno-exceptions"]
        if path.suffix == ".ino":
            command += ["-x", "c++", "-include", "Arduino.h"]  # as Arduino's builder does
        objects.append(out / f"{path.name}.o")
        _run(
            *command,
            "-Wall",
            "-Wextra",
            "-Werror",
            f"-I{sources}",
            f"-I{stand_in}",
            *flags,
            "-c",
            path,
            "-o",
            objects[-1],
        )
    _run("g++", *objects, "-lm", "-o", out / "program")
    return out / "program"


@pytest.mark.parametrize(("newer", "standard"), [(False, "c++14"), (True, "c++17")])
def test_the_example_runs(source, bundles, tmp_path, newer, standard) -> None:
    """From samples through the C front-end to a class; with the stand-in, the network's answer is looked up."""
    folder = bundles["tflm"]
    stand_in = _stand_in(tmp_path / "stand_in", newer)
    program = _build(folder / "src", stand_in, tmp_path, folder / "example" / "main.cc", standard=standard)
    best = int(source.clips[0].probabilities.argmax())
    percent = round(100 * float(source.clips[0].probabilities[best]))
    arena = json.loads((folder / "manifest.json").read_text())["arena"]["bytes"]
    lines = _run(program).decode().replace('a "clip"\n.wav', "CLIP").replace(LABELS[1], "SECOND").splitlines()
    label = "SECOND" if best == 1 else LABELS[best]
    assert lines == [
        f"arena: {ARENA} of {arena} bytes in use",
        "vectors: 10 of 10 right",
        f"clip CLIP: {label} {percent}%, -21 dBFS (Python: {label} {percent}%)",
        "done",
    ]


def test_the_example_finds_wrong_bytes_and_small_arenas(bundles, stand_in, tmp_path) -> None:
    sources = shutil.copytree(bundles["tflm"] / "src", tmp_path / "src")
    main = bundles["tflm"] / "example" / "main.cc"
    small = _build(sources, stand_in, tmp_path, main, "-DEDGEPRUNE_ARENA_BYTES=1024")
    done = subprocess.run([small], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "failed: edgeprune_init gave -1; see edgeprune_infer.h\n")
    # An interpreter that computes something else: the answer is off by one step.
    wrong, end = sources / "edgeprune_infer.cc", '    return EDGEPRUNE_OK;\n}\n\nextern "C" size_t'
    assert wrong.read_text().count(end) == 1
    wrong.write_text(wrong.read_text().replace(end, f"    output[3] ^= 1;\n{end}"))
    done = subprocess.run([_build(sources, stand_in, tmp_path, main)], capture_output=True, text=True)
    assert done.returncode == 1
    assert "vectors: 0 of 10 right" in done.stdout
    assert done.stdout.endswith("failed: the network computes something else\n")


ARDUINO = """\
// STAND-IN for tests: not Arduino's core.
#include <cstdio>
struct Console {
    void begin(int) {}
    void println(const char *line) { std::puts(line); }
    explicit operator bool() const { return true; }
} inline Serial;
void setup();
void loop();
int main() { setup(); loop(); }
"""


@pytest.mark.parametrize("name", [name for name in BUNDLES if name != "tflm"])
def test_the_other_targets_compile(bundles, stand_in, tmp_path, name) -> None:
    folder, target = bundles[name], BUNDLES[name][0]
    if target == "esp-idf":  # whose own main function calls app_main
        main = tmp_path / "main.c"
        main.write_text(f'#include "{folder}/main/main.c"\nint main(void) {{ app_main(); return 0; }}\n')
    elif target == "zephyr":
        main = folder / "example" / "main.c"
    else:
        main = folder / "examples" / "Classify" / "Classify.ino"
        (tmp_path / "Chirale_TensorFlowLite.h").write_text("// STAND-IN for tests: not the Arduino library.\n")
        (tmp_path / "Arduino.h").write_text(ARDUINO)
    program = _build(folder / SOURCES[target], stand_in, tmp_path, main, f"-I{tmp_path}")
    assert _run(program).decode().endswith("done\n")


def test_cmake_builds_it(bundles, stand_in, tmp_path) -> None:
    if shutil.which("cmake") is None:
        pytest.skip("needs cmake")
    root = shutil.copytree(stand_in, tmp_path / "tflm")
    library = root / "gen" / "linux_x86_64_default_gcc" / "lib" / "libtensorflow-microlite.a"
    library.parent.mkdir(parents=True)
    _run("ar", "rcs", library)
    folder, build = bundles["tflm"], tmp_path / "build"
    _run("cmake", "-S", folder, "-B", build, f"-DTFLM_ROOT={root}", "-DCMAKE_CXX_FLAGS=-O0", "-DCMAKE_C_FLAGS=-O0")
    _run("cmake", "--build", build)
    assert _run(build / "edgeprune_example").decode().endswith("done\n")
    said = subprocess.run(["cmake", "-S", folder, "-B", tmp_path / "none"], capture_output=True, text=True)
    assert said.returncode != 0
    assert "TFLM_ROOT must be a checkout of tflite-micro" in said.stderr


def test_the_operators_are_those_of_the_file(source) -> None:
    expected = ["AddConv2D", "AddFullyConnected", "AddMaxPool2D", "AddReshape", "AddSoftmax"]
    assert op_resolver(source.model) == (5, expected)


def test_every_name_is_an_operator_of_tflite() -> None:
    known = {name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    assert set(METHODS) <= known
    assert len(set(METHODS.values())) == len(METHODS)
    for name, method in METHODS.items():  # but for capitals and underscores they are the same
        assert method.upper() == name.replace("_", "")


def test_an_operator_without_a_method(tmp_path) -> None:
    model = tiny_tflite.float_model()
    model.operatorCodes[0].builtinCode, model.operatorCodes[0].deprecatedBuiltinCode = schema.BuiltinOperator.GELU, 127
    model.subgraphs[0].operators[0].builtinOptionsType = 0
    model.subgraphs[0].operators[0].builtinOptions = None
    path = tiny_tflite.write(model, tmp_path / "odd.tflite")
    with pytest.raises(
        EdgepruneError, match=r"odd\.tflite: has the operator GELU, which TensorFlow Lite Micro does no"
    ):
        op_resolver(path)


def test_no_arena_no_bundle(source, tmp_path) -> None:
    with pytest.raises(EdgepruneError, match="its arena was not measured"):
        micro.write(replace(source, arena_bytes=None), tmp_path / "out", "tflm", TFLM)


def test_a_bundle_without_a_clip(source, stand_in, tmp_path) -> None:
    micro.write(replace(source, clips=()), tmp_path / "out", "tflm", TFLM)
    program = _build(tmp_path / "out" / "src", stand_in, tmp_path, tmp_path / "out" / "example" / "main.cc")
    assert _run(program).decode().splitlines()[1:] == ["vectors: 10 of 10 right", "done"]


def test_headroom_by_hand(source) -> None:
    """The second convolution: 3 x 3 x 8 = 72 values a filter (80 with padding), 16 filters, input 10 x 6 x 8."""
    assert arena.scratch_bytes(source.model, "CMSIS-NN") == 4 * 80 + 4 * 16
    # rows of 24 values, 32 with padding
    esp = (10 + 3) * (6 + 3) * 8 + 32 * 3 * 16 + 4 * 16 + 64
    assert arena.scratch_bytes(source.model, "ESP-NN") == -(-esp // 16) * 16
    assert arena._esp_nn("CONV_2D", [1, 5, 5, 32], [64, 1, 1, 32]) == 24 * 32 + 8 * 64 + 16 * 1024 + 64
    assert arena._cmsis_nn("DEPTHWISE_CONV_2D", [1, 5, 5, 32], [1, 3, 3, 32]) == 4 * 124 * 9 + 4 * 32
    assert arena._cmsis_nn("FULLY_CONNECTED", [1, 64], [10, 64]) == 40


@pytest.mark.parametrize(("value", "text"), [(1.0, "1.0f"), (0.00390625, "0.00390625f"), (1e-7, "1e-07f"), (3, "3.0f")])
def test_floats_of_c(value, text) -> None:
    assert c_float(value) == text


def test_the_vectors_are_what_tflite_micro_gives(source, bundles, tmp_path) -> None:
    """Not TFLite's, whose dense layers are a step apart now and then."""
    from tflite_micro import runtime

    text = (bundles["tflm"] / "src" / "test_vectors.c").read_text()
    arrays = re.findall(r"const int8_t (\w+)\[.*?= \{\n(.*?)\n\};", text, re.DOTALL)
    found = {name: np.array([int(word) for word in re.findall(r"-?\d+", body)], np.int8) for name, body in arrays}
    interpreter, expected = runtime.Interpreter.from_file(str(source.model), arena_size=1 << 20), []
    for values in source.stored:
        interpreter.set_input(values[None], 0)
        interpreter.invoke()
        expected.append(np.array(interpreter.get_output(0)).reshape(-1))
    np.testing.assert_array_equal(found["test_inputs"].reshape(source.stored.shape), source.stored)
    np.testing.assert_array_equal(found["test_outputs"].reshape(10, -1), expected)
