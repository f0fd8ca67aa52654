"""`edgeprune submit`: what is written reads back, and what is wrong is refused before anything is written."""

import csv
import io
import json
import shutil
import zipfile
from pathlib import Path

import made_runs
import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml

from edgeprune.submitting.package import yaml_text

# What the organisers' validators ask for, typed from their main.py:
# github.com/toni-heittola/dcase2022_task1_submission_validator, commit e211810, and dcase2024_..., commit c868be0.
COLUMNS = [
    "filename", "scene_label", "airport", "bus", "metro", "metro_station", "park", "public_square", "shopping_mall",
    "street_pedestrian", "street_traffic", "tram",
]  # fmt: skip
DEVICES = ["a", "b", "c", "s1", "s2", "s3", "s4", "s5", "s6"]
SPLITS = ["split_5", "split_10", "split_25", "split_50", "split_100"]
FIELDS = {
    # github.com/toni-heittola/dcase2021_task1_submission_validator, commit 4a38e13
    "dcase2021": {
        "description": "input_sampling_rate acoustic_features embeddings data_augmentation machine_learning_method "
        "ensemble_method_subsystem_count decision_making external_data_usage",
        "complexity": "total_parameters",
    },
    "dcase2022": {
        "description": "input_sampling_rate acoustic_features embeddings data_augmentation machine_learning_method "
        "ensemble_method_subsystem_count decision_making external_data_usage complexity_management pipeline framework",
        "complexity": "total_parameters total_parameters_non_zero memory_use macs",
    },
    "dcase2024": {
        "description": "input_sampling_rate acoustic_features data_augmentation machine_learning_method "
        "external_data_usage complexity_management pipeline framework split_adaptations system_adaptations",
        "complexity": "total_model_size total_parameters macs",
    },
}


def written(out: Path, label: str = "Surname_INST_task1_2") -> tuple[Path, dict]:
    """A system's folder and its meta file."""
    folder = out / "task1" / label
    return folder, yaml.safe_load((folder / f"{label}.meta.yaml").read_text(encoding="utf-8"))


def assert_fields(meta: dict, rules: str) -> None:
    assert set(meta) == {"submission", "system", "results"}
    assert set(meta["submission"]) == {"label", "name", "abbreviation", "authors"}
    for author in meta["submission"]["authors"]:
        assert {"lastname", "firstname", "email", "affiliation"} <= set(author)
    assert sum(bool(author.get("corresponding")) for author in meta["submission"]["authors"]) == 1
    assert set(meta["system"]) == {"description", "complexity", "external_datasets", "source_code"}
    for part, names in FIELDS[rules].items():
        assert set(meta["system"][part]) == set(names.split())


def assert_results(results: dict) -> None:
    assert set(results) == {"overall", "class_wise", "device_wise"}
    assert list(results["class_wise"]) == COLUMNS[2:]
    assert list(results["device_wise"]) == DEVICES
    for scores in (results["overall"], *results["class_wise"].values(), *results["device_wise"].values()):
        assert set(scores) == {"accuracy", "logloss"}
        assert all(isinstance(value, float) for value in scores.values())


def test_package_2022(run, info, submit, tmp_path):
    out = tmp_path / "out"
    code, text, err = submit(run, "--rules", "dcase2022", "--out", out, "--info", info, "--json")
    assert code == 0, err
    done = json.loads(text)
    folder, meta = written(out)
    assert_fields(meta, "dcase2022")
    assert_results(meta["results"]["development_dataset"])
    assert sorted(path.name for path in folder.iterdir()) == [f"{folder.name}.meta.yaml", f"{folder.name}.output.csv"]
    with zipfile.ZipFile(out / "Surname_INST_task1.zip") as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert {tuple(name.split("/")[:2]) for name in names} == {("task1", "Surname_INST_task1_2")}
        assert yaml.safe_load(archive.read(names[0])) == meta
    assert done["open"] == []
    assert not done["ready"]  # the evaluation part is not the evaluation set
    assert (out / "model_card.md").is_file()


def test_package_2021(info, submit, tmp_path):
    run = made_runs.make_run(tmp_path / "run", data="tau2020_mobile")
    text = info.read_text(encoding="utf-8").replace("task1_2", "task1a_2").replace("pipeline", "decision_making")
    info.write_text(text, encoding="utf-8")
    out = tmp_path / "out"
    code, text, err = submit(run, "--rules", "dcase2021", "--out", out, "--info", info, "--json")
    assert code == 0, err
    label = "Surname_INST_task1a_2"
    with zipfile.ZipFile(out / "Surname_INST_task1a.zip") as archive:
        names = archive.namelist()
        meta = yaml.safe_load(archive.read(f"task1/task1a/{label}/{label}.meta.yaml"))
    # the validator takes the third folder for the label, and the task from it
    assert {tuple(name.split("/")[:-1]) for name in names} == {("task1", "task1a", label)}
    assert_fields(meta, "dcase2021")
    assert_results(meta["results"]["development_dataset"])
    assert [verdict["rule"] for verdict in json.loads(text)["verdicts"][str(run)]] == ["size"]


def test_output_is_the_predictions_in_the_official_order(run, info, submit, tmp_path):
    assert submit(run, "--rules", "dcase2022", "--out", tmp_path / "out", "--info", info)[0] == 0
    folder, _ = written(tmp_path / "out")
    found = pd.read_csv(folder / f"{folder.name}.output.csv", sep="\t", float_precision="round_trip")
    source = pd.read_csv(run / "predictions_int8.csv", float_precision="round_trip")
    assert list(found.columns) == COLUMNS
    assert list(found["filename"]) == [Path(name).name for name in source["filename"]]
    assert list(found["scene_label"]) == list(source["predicted"])
    assert (found[COLUMNS[2:]].to_numpy() == source[COLUMNS[2:]].to_numpy()).all()


def test_figures_come_from_file_and_result(run, info, submit, tmp_path):
    assert submit(run, "--rules", "dcase2022", "--out", tmp_path / "out", "--info", info)[0] == 0
    _, meta = written(tmp_path / "out")
    inputs = 6 * 51
    weights, bias = made_runs.network(inputs)
    assert meta["system"]["complexity"] == {
        "total_parameters": 10 * inputs + 10,
        "total_parameters_non_zero": int((weights != 0).sum() + (bias != 0).sum()),
        "memory_use": inputs + 10,
        "macs": 10 * inputs,
    }
    source = pd.read_csv(run / "predictions_int8.csv")
    right = source["label"] == source["predicted"]
    results = meta["results"]["development_dataset"]
    assert results["overall"]["accuracy"] == pytest.approx(100 * right.groupby(source["label"]).mean().mean(), abs=1e-3)
    assert results["class_wise"]["bus"]["accuracy"] == pytest.approx(
        100 * right[source["label"] == "bus"].mean(), abs=1e-3
    )
    of_s3 = source["filename"].str.endswith("-s3.wav")
    assert results["device_wise"]["s3"]["accuracy"] == pytest.approx(100 * right[of_s3].mean(), abs=1e-3)
    own = [row[row["label"]] for _, row in source[of_s3].iterrows()]
    assert results["device_wise"]["s3"]["logloss"] == pytest.approx(-np.log(own).mean(), abs=1e-3)
    assert meta["system"]["description"]["input_sampling_rate"] == "8kHz"
    assert meta["system"]["description"]["pipeline"] == "none"  # the authors' word counts
    assert meta["submission"]["authors"][0]["affiliation"]["abbreviation"] == "INST"
    assert meta["submission"]["authors"][0]["lastname"] == "S\u00fcrname"


def test_package_2024_of_five_subsets(info, submit, tmp_path):
    runs = [made_runs.make_run(tmp_path / f"run{subset}", subset) for subset in ("100", "5", "25", "10", "50")]
    info.write_text(made_runs.INFO, encoding="utf-8")
    code, _, err = submit(*runs, "--rules", "dcase2024", "--out", tmp_path / "out", "--info", info)
    assert code == 0, err
    folder, meta = written(tmp_path / "out")
    assert_fields(meta, "dcase2024")
    assert list(meta["results"]["development_dataset"]) == SPLITS
    for split in SPLITS:
        assert_results(meta["results"]["development_dataset"][split])
        assert (folder / f"{folder.name}.output.{split}.csv").is_file()
    assert meta["system"]["complexity"]["total_model_size"] == 10 * 6 * 51 + 4 * 10
    assert meta["system"]["description"]["split_adaptations"] is None
    code, _, err = submit(*runs[1:], "--rules", "dcase2024", "--out", tmp_path / "fewer", "--info", info)
    assert code == 2
    assert "results.development_dataset.split_100 is missing" in err
    assert not (tmp_path / "fewer").exists()
    code, _, err = submit(runs[0], runs[0], "--rules", "dcase2024", "--out", tmp_path / "twice", "--info", info)
    assert code == 2
    assert "split_100" in err


def test_missing_fields_are_named(run, info, submit, tmp_path):
    code, _, err = submit(run, "--rules", "dcase2022", "--out", tmp_path / "out")
    assert code == 2
    for name in ("label", "name", "abbreviation", "authors"):
        assert f"submission.{name} is missing" in err
    assert "give what its authors know with --info FILE.toml (docs/submit.md shows one), or" in err
    info.write_text(info.read_text().replace('email = "second@example.org"', 'email = " "'))
    code, _, err = submit(run, "--rules", "dcase2022", "--out", tmp_path / "out", "--info", info)
    assert code == 2
    assert "submission.authors[1].email is missing" in err
    assert not (tmp_path / "out").exists()


def test_draft_marks_what_is_open(run, submit, tmp_path):
    code, text, err = submit(run, "--rules", "dcase2022", "--out", tmp_path / "out", "--draft", "--json")
    assert code == 0, err
    _, meta = written(tmp_path / "out", "Surname_INST_task1_1")
    assert_fields(meta, "dcase2022")
    assert meta["submission"]["label"] == meta["submission"]["authors"][0]["email"] == "TODO"
    done = json.loads(text)
    assert not done["ready"]
    assert "submission.label" in done["open"]


def test_authors_on_the_command_line(run, submit, tmp_path):
    flags = ["--label", "Doe_UNI_task1_1", "--name", "A system", "--abbreviation", "A"]
    authors = ["--author", "Doe, Jane, jane@example.org, University, of X", "Roe, R., r@example.org, Other"]
    code, _, err = submit(run, "--rules", "dcase2022", "--out", tmp_path / "out", *flags, *authors)
    assert code == 0, err
    _, meta = written(tmp_path / "out", "Doe_UNI_task1_1")
    first, second = meta["submission"]["authors"]
    assert first["affiliation"] == {"abbreviation": "UNI", "institute": "University, of X"}
    assert first["corresponding"]
    assert second["lastname"] == "Roe"
    code, _, err = submit(run, "--rules", "dcase2022", "--out", tmp_path / "out", *flags, "--author", "Doe, Jane, X")
    assert code == 2
    assert "Doe, Jane, X" in err


@pytest.mark.parametrize(
    "label",
    ["", "../../evil_INST_task1_1", "Surname_INST_task1_5", "Surname_INST_task1_1_1", "Surname_INST_task1a_1",
     "Sur name_INST_task1_1", "Sur.name_INST_task1_1", "S\u00fcrname_INST_task1_1", "Surname__task1_1",
     "Surname_INST_task1_1\n", "Surname_INST_task1_01", "-_INST_task1_1"],
)  # fmt: skip
def test_labels_that_are_none(label, run, info, submit, tmp_path):
    code, _, err = submit(run, "--rules", "dcase2022", "--out", tmp_path / "out", "--info", info, f"--label={label}")
    assert code == 2
    assert "label" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('abbreviation = "Pruned"', 'abbreviation = "Pruned12345"', "11 characters"),
        ('name = "Pruned by operator norm"', 'name = "two\\nlines"', "one line"),
        ('name = "Pruned by operator norm"', "name = 5", "one line"),
        ("lastname = ", "surname = ", "submission.authors[0].surname"),
        ("[system]", "[system]\nsource_kode = 1", "system.source_kode (perhaps source_code)"),
        ("[system]", "[results]\n[system]", "results"),
        ("[system]", "[system.complexity]\nmacs = 1\n[system]", "system.complexity"),
        ("[submission]", "[submission", "TOML"),
        ('email = "second@example.org"', 'email = "x@y"\ncorresponding = true', "both corresponding"),
        ("[[submission.authors]]", "[submission.authors]", "submission.authors"),
    ],
)
def test_info_that_is_wrong(old, new, said, run, info, submit, tmp_path):
    text = info.read_text(encoding="utf-8").replace('email = "first@', 'corresponding = true\nemail = "first@')
    text = text.replace(old, new, 1)
    if new == "[submission.authors]":
        text = text[: text.rindex("[[submission.authors]]")] + text[text.index("[system]") :]
    info.write_text(text, encoding="utf-8")
    code, _, err = submit(run, "--rules", "dcase2022", "--out", tmp_path / "out", "--info", info)
    assert code == 2, err
    assert said in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_names_that_yaml_could_take_for_something_else(run, info, submit, tmp_path):
    for name in ("no", "2024", "1e3", "~", "- a: b #c", "'\"", "{{x}}", "!!python/object:os.system", "\u00e9\u4e2d"):
        quoted = json.dumps(name, ensure_ascii=False)
        info.write_text(info.read_text(encoding="utf-8").replace('"Yes"', quoted), encoding="utf-8")
        code, _, err = submit(run, "--rules", "dcase2022", "--out", tmp_path / "out", "--info", info)
        assert code == 0, err
        _, meta = written(tmp_path / "out")
        assert meta["submission"]["authors"][1]["firstname"] == name
        info.write_text(info.read_text(encoding="utf-8").replace(quoted, '"Yes"'), encoding="utf-8")


def test_limits_exceeded(info, submit, tmp_path):
    big = made_runs.make_run(tmp_path / "big", mels=256)  # 130,570 parameters of 128,000
    for rules in ("dcase2022", "dcase2024"):
        code, _, err = submit(big, "--rules", rules, "--out", tmp_path / "out", "--info", info, "--draft")
        assert code == 4, err
        assert "128,000" in err
        assert not (tmp_path / "out").exists()


def test_a_changed_file_is_refused(run, info, submit, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    path = copy / "model_int8.tflite"
    path.write_bytes(path.read_bytes() + b"\0")
    code, _, err = submit(copy, "--rules", "dcase2022", "--out", tmp_path / "out", "--info", info)
    assert code == 4
    assert "model_int8.tflite" in err
    (copy / "result.json").unlink()
    assert submit(copy, "--rules", "dcase2022", "--out", tmp_path / "out", "--info", info)[0] == 2


def test_another_data_set_is_refused(info, submit, tmp_path):
    other = made_runs.make_run(tmp_path / "other", data="synthetic")
    code, _, err = submit(other, "--rules", "dcase2022", "--out", tmp_path / "out", "--info", info)
    assert code == 2
    assert "trained on synthetic" in err
    assert "train on its data, as `edgeprune run dcase2022_task1_dcase21 --data.root FOLDER` does" in err
    assert "--info" not in err  # which would not help


def tone(path: Path, hertz: float, seconds: float) -> None:
    times = np.arange(round(16000 * seconds)) / 16000
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hertz * times) + 0.01 * np.sin(7000 * times**2), 16000)


def test_unlabelled_audio(run, info, submit, tmp_path):
    """Against a front-end of librosa's and the network in NumPy."""
    audio = tmp_path / "evaluation"
    for number in (10, 2, 0):
        tone(audio / "audio" / f"{number}.wav", 200 + 90 * number, 1.3 if number else 2.4)
    (audio / "readme.txt").write_text("no audio")
    args = ("--rules", "dcase2022", "--info", info)
    code, _, err = submit(run, *args, "--out", tmp_path / "out", "--audio", audio)
    assert code == 0, err
    folder, _ = written(tmp_path / "out")
    text = (folder / f"{folder.name}.output.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(text), delimiter="\t"))
    assert [row["filename"] for row in rows] == ["0.wav", "2.wav", "10.wav"]
    for row in rows:
        expected = reference(audio / "audio" / row["filename"])
        for place, label in enumerate(made_runs.LABELS):
            assert float(row[label]) == pytest.approx(expected[place], abs=1.01 * made_runs.SCALES["output_scale"][0])
    listed = audio / "list.csv"
    listed.write_text("filename\tidentifier\naudio/10.wav\tx\naudio/0.wav\ty\n")
    assert submit(run, *args, "--out", tmp_path / "listed", "--audio", listed)[0] == 0
    again = pd.read_csv(written(tmp_path / "listed")[0] / f"{folder.name}.output.csv", sep="\t")
    assert list(again["filename"]) == ["10.wav", "0.wav"]
    assert float(again["bus"][1]) == float(rows[0]["bus"])


def reference(path: Path) -> np.ndarray:
    """Mean outputs `[classes]` of a clip's patches."""
    import librosa
    import soxr

    samples, rate = soundfile.read(path, dtype="float32")
    samples = soxr.resample(samples, rate, 8000, quality="HQ")
    mel = librosa.feature.melspectrogram(
        y=samples, sr=8000, n_fft=512, win_length=320, hop_length=160, window="hamming", center=True, power=1.0,
        pad_mode="constant", n_mels=6, htk=False, norm=None,
    )  # fmt: skip
    features = (np.log(mel + 1e-3) - np.array(made_runs.NORMALISATION["mean"])[:, None]) / 1.5
    weights, bias = made_runs.network(6 * 51)
    outputs = []
    for start in range(0, features.shape[1] - 50, 51):
        scale, zero = made_runs.SCALES["input_scale"]
        entering = np.clip(np.round(features[:, start : start + 51] / scale) + zero, -128, 127) - zero
        sums = weights.astype(np.int64) @ entering.ravel() + bias
        scale, zero = made_runs.SCALES["output_scale"]
        stored = np.clip(np.round(sums * 0.1 * 0.02 / scale) + zero, -128, 127)
        outputs.append(scale * (stored - zero))
    return np.mean(outputs, axis=0)


def test_audio_that_cannot_be_used(run, info, submit, tmp_path):
    args = (run, "--rules", "dcase2022", "--out", tmp_path / "out", "--info", info, "--audio")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert submit(*args, empty)[0] == 2
    assert submit(*args, tmp_path / "nowhere")[0] == 2
    twice = tmp_path / "twice"
    for folder in ("x", "y"):
        tone(twice / folder / "1.wav", 300, 1.1)
    code, _, err = submit(*args, twice)
    assert code == 2
    assert "'1.wav': is there twice" in err
    (tmp_path / "list.txt").write_text("twice/x/1.wav\ntwice/x/2.wav\n")
    code, _, err = submit(*args, tmp_path / "list.txt")
    assert code == 2
    assert "2.wav" in err
    (twice / "x" / "1.wav").write_bytes(b"no audio")
    (twice / "y" / "1.wav").unlink()
    code, _, err = submit(*args, twice)
    assert code == 2
    assert "cannot be decoded" in err
    assert not (tmp_path / "out").exists()


def test_two_systems_and_a_report_in_one_zip(run, info, submit, tmp_path):
    report = tmp_path / "Report.pdf"
    report.write_bytes(b"%PDF-1.4")
    args = (run, "--rules", "dcase2022", "--out", tmp_path / "out", "--info", info)
    assert submit(*args, "--report", report)[0] == 0
    assert submit(*args, "--label", "Surname_INST_task1_1")[0] == 0
    (tmp_path / "out" / "task1" / "Surname_INST_task1_1" / "notes.txt").write_text("mine")
    first = (tmp_path / "out" / "Surname_INST_task1.zip").read_bytes()
    assert submit(*args, "--label", "Surname_INST_task1_1")[0] == 0
    assert (tmp_path / "out" / "Surname_INST_task1.zip").read_bytes() == first
    with zipfile.ZipFile(tmp_path / "out" / "Surname_INST_task1.zip") as archive:
        names = archive.namelist()
    assert names[0] == "task1/Report.pdf"
    assert {name.split("/")[1] for name in names[1:]} == {"Surname_INST_task1_1", "Surname_INST_task1_2"}
    assert len(names) == 5
    assert submit(*args, "--report", info)[0] == 2


def test_drafts_do_not_slip_into_a_submission(run, info, submit, tmp_path):
    args = (run, "--rules", "dcase2022", "--out", tmp_path / "out")
    assert submit(*args, "--draft")[0] == 0  # under the placeholder's name
    assert submit(*args, "--draft", "--label", "Doe_UNI_task1_2")[0] == 0
    code, text, err = submit(*args, "--info", info, "--label", "Doe_UNI_task1_1", "--json")
    assert code == 0, err
    done = json.loads(text)
    assert "the zip also holds drafts: Doe_UNI_task1_2" in done["notes"]
    with zipfile.ZipFile(done["zip"]) as archive:
        assert {name.split("/")[1] for name in archive.namelist()} == {"Doe_UNI_task1_1", "Doe_UNI_task1_2"}


def test_a_whole_evaluation_set_is_ready(run, info, submit, tmp_path, monkeypatch):
    from dataclasses import replace

    from edgeprune.submitting import package
    from edgeprune.submitting.template import load_template

    monkeypatch.setattr(package, "load_template", lambda name: replace(load_template(name), clips=2))
    for number in (0, 1):
        tone(tmp_path / "audio" / f"{number}.wav", 400, 1.1)
    args = (run, "--rules", "dcase2022", "--out", tmp_path / "out", "--info", info, "--audio", tmp_path / "audio")
    assert json.loads(submit(*args, "--json")[1])["ready"]
    tone(tmp_path / "audio" / "2.wav", 400, 1.1)
    assert not json.loads(submit(*args, "--json")[1])["ready"]


def test_yaml_that_does_not_read_back():
    from edgeprune.errors import EdgepruneError

    with pytest.raises(EdgepruneError, match="meta file"):
        yaml_text({"submission": {"name": object()}})
    with pytest.raises(EdgepruneError, match="meta file"):
        yaml_text({"number": float("nan")})
