"""DCASE 2025: the meta file, and the Python package whose functions the organisers' scripts call."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import made_runs
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
import yaml

from edgeprune.models import checkpoint
from edgeprune.models.registry import build, make_spec

LABEL = "Surname_INST_task1_2"
DESCRIPTION = {
    *("input_sampling_rate", "acoustic_features", "data_augmentation", "machine_learning_method"),
    *("external_data_usage", "complexity_management", "pipeline", "framework", "device_information"),
    *("num_models_at_inference", "model_weight_sharing"),
}


@pytest.fixture
def run(tmp_path) -> Path:
    """A finished run on the subset of 25 %, with the network behind its file."""
    folder = made_runs.make_run(tmp_path / "run", "25")
    spec = make_spec("resnet50_cifar", 10, (1, 6, 51), 0.02)
    torch.manual_seed(0)
    checkpoint.save(folder / "pruned.ckpt", spec, build(spec))
    return folder


@pytest.fixture
def info(tmp_path) -> Path:
    path = tmp_path / "info.toml"
    code = '[system]\ninference_code = "https://example.org/package"'
    text = made_runs.INFO.replace("[system]", code, 1).replace("system_adaptations", "device_information")
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def written(run, info, submit, tmp_path) -> Path:
    code, _, err = submit(run, "--rules", "dcase2025", "--out", tmp_path / "out", "--info", info)
    assert code == 0, err
    return tmp_path / "out"


def test_meta_file(written):
    meta = yaml.safe_load((written / "task1" / LABEL / f"{LABEL}.meta.yaml").read_text(encoding="utf-8"))
    assert meta["system"]["inference_code"] == "https://example.org/package"
    assert set(meta["system"]["description"]) == DESCRIPTION
    assert meta["system"]["description"]["num_models_at_inference"] == 1
    assert set(meta["system"]["complexity"]) == {"total_model_size", "total_parameters", "macs"}
    assert list(meta["results"]["development_dataset"]) == ["general"]
    assert set(meta["results"]["development_dataset"]["general"]) == {"overall", "class_wise", "device_wise"}


def test_it_is_never_called_ready_since_the_evaluation_set_is_not_known(run, info, submit, tmp_path):
    _, text, _ = submit(run, "--rules", "dcase2025", "--out", tmp_path / "out", "--info", info, "--json")
    done = json.loads(text)
    assert not done["ready"]
    assert any("how many the evaluation set has is not known" in note for note in done["notes"])
    assert f"inference/Surname_INST_task1/{LABEL}.py" in done["files"]


def test_another_training_subset_or_no_address_of_the_code_is_refused(info, submit, tmp_path):
    other = made_runs.make_run(tmp_path / "other", "100")
    text = info.read_text(encoding="utf-8")
    info.write_text(text.replace('inference_code = "https://example.org/package"\n', ""), encoding="utf-8")
    code, _, err = submit(other, "--rules", "dcase2025", "--out", tmp_path / "out", "--info", info)
    assert code == 2
    assert "was not trained on the subset 25" in err
    assert "system.inference_code is missing" in err


def test_the_functions_as_the_organisers_call_them(written, monkeypatch, tmp_path):
    """The calls of evaluate_submission.py and test_complexity.py."""
    monkeypatch.syspath_prepend(str(written / "inference"))
    api = importlib.import_module(f"Surname_INST_task1.{LABEL}")
    files = [str(tmp_path / f"{number}.wav") for number in range(3)]
    for number, path in enumerate(files):
        soundfile.write(path, 0.1 * np.random.default_rng(number).standard_normal(8000), 8000)
    logits, classes = api.predict(file_paths=files, device_ids=["a", "s1", "s9"], model_file_path=None, use_cuda=False)
    assert classes == sorted(made_runs.LABELS)
    assert [value.shape for value in logits] == [(10,)] * 3
    with pytest.raises(Exception, match="3 files but 1 devices"):
        api.predict(files, ["a"])

    dummy = str(written / "inference" / "Surname_INST_task1" / "resources" / "dummy.wav")
    model = api.load_model()
    assert model.model.state_dict()
    (x,) = api.load_inputs([dummy], ["a"], model)
    assert x.shape == (1, 1, 6, 51)
    network = api.get_model_for_device(model, "s1")
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float16}
    assert network.float()(x.float()).shape == (1, 10)


def test_predictions_are_those_of_the_system_output(run, info, submit, tmp_path):
    audio = tmp_path / "audio"
    audio.mkdir()
    for number in range(3):
        soundfile.write(audio / f"{number}.wav", 0.1 * np.random.default_rng(number).standard_normal(8000), 8000)
    out = tmp_path / "again"
    assert submit(run, "--rules", "dcase2025", "--out", out, "--info", info, "--audio", audio)[0] == 0
    table = pd.read_csv(out / "task1" / LABEL / f"{LABEL}.output.csv", sep="\t")
    from edgeprune.submitting.inference import Inference

    system = Inference(out / "inference" / "Surname_INST_task1" / "systems" / LABEL, sorted(made_runs.LABELS))
    logits, classes = system.predict([str(audio / name) for name in table["filename"]], ["a"] * 3)
    assert [classes[int(row.argmax())] for row in logits] == list(table["scene_label"])


@pytest.mark.slow  # starts pip
def test_pip_takes_it(written, tmp_path):
    folder = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target"]
    subprocess.run([*command, str(folder), str(written / "inference")], check=True)
    names = {path.relative_to(folder).as_posix() for path in (folder / "Surname_INST_task1").rglob("*")}
    assert {f"Surname_INST_task1/{LABEL}.py", f"Surname_INST_task1/systems/{LABEL}/model.tflite"} <= names
    assert "Surname_INST_task1/resources/dummy.wav" in names
