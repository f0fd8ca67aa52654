"""The networks of the registry that run on microcontrollers, each from training to TFLite Micro in one run."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from edgeprune.files import read_json
from edgeprune.graph.cost import cost
from edgeprune.models.registry import make_spec
from edgeprune.recipe import Bench, Budget, Data, Export, LogMel, Model, Prune, Recipe, Train
from edgeprune.running.run import run
from edgeprune.tflite.flatbuffer import operators

pytestmark = pytest.mark.slow  # trains and exports networks

# what compilers to C for microcontrollers take
OPERATORS = {
    *("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "MUL", "AVERAGE_POOL_2D", "MEAN", "PAD"),
    *("LOGISTIC", "HARD_SWISH", "SOFTMAX"),
}


@dataclass(frozen=True)
class Tried:
    """A network at a small width, with its front-end at the 16 kHz of the synthetic scenes."""

    name: str
    width: float
    frontend: LogMel
    input_shape: tuple[int, int, int]
    epochs: int = 2


NETWORKS = [
    Tried("dscnn", 0.5, LogMel.dscnn(), (1, 49, 10)),
    # after two epochs its outputs vary by hardly more than int8 rounds
    Tried("cpmobile", 0.5, replace(LogMel.cpmobile(), sample_rate=16000, n_fft=2048, mels=64), (1, 64, 65), epochs=10),
    Tried(
        "mobilenetv3_small",
        0.5,
        replace(LogMel.mobilenetv3(), sample_rate=16000, n_fft=512, fmax=0, mels=64),
        (1, 64, 101),
    ),
    Tried("bcresnet", 1.0, LogMel.bcresnet(), (1, 40, 101)),
    Tried("yamnet", 0.125, LogMel.yamnet(), (1, 96, 64)),
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("tried", NETWORKS, ids=lambda tried: tried.name)
def test_half_of_the_macs_on_tflite_micro(tried, cache, tmp_path) -> None:
    dense = cost(make_spec(tried.name, 10, tried.input_shape, tried.width))
    recipe = Recipe(
        name=tried.name,
        data=Data(clips_per_scene=9, root=cache / "scenes", cache=cache, validation=0.0),
        frontend=tried.frontend,
        model=Model(tried.name, tried.width),
        train=Train(epochs=tried.epochs, batch_size=16, threads=1),
        prune=Prune(min_filters=4),
        budget=Budget(macs=dense.macs // 2),
        finetune=Train(epochs=tried.epochs, batch_size=16, threads=1),
        export=Export(formats=("float32", "int8"), dense_formats=(), calibration_clips=20),
        bench=Bench(devices=("tflm",)),
        out=tmp_path / "run",
    )
    run(recipe)  # holds the float32 file to 1e-4, and TFLite Micro's outputs to the file's
    result = read_json(tmp_path / "run" / "result.json")
    assert result["dense"]["cost"]["macs"] == dense.macs
    assert result["pruned"]["cost"]["macs"] <= dense.macs // 2
    assert result["artefacts"]["int8"]["parity"]["max_abs_error"] < 0.1
    assert [(record["device"], record["kind"]) for record in result["latency"]] == [("tflm", "measured")]
    assert set(operators(tmp_path / "run" / "model_int8.tflite")) <= OPERATORS
