"""The command line: every verb on tiny inputs, its exit codes, its JSON, and what it must not import."""

import errno
import json
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from calls import call, call_json

import edgeprune
import edgeprune.running.evaluate
import edgeprune.running.export_more
import edgeprune.running.run
from edgeprune.cli.main import run_recipe
from edgeprune.console import say
from edgeprune.data.fetch import FetchReport
from edgeprune.errors import CheckFailedError, EdgepruneError, InfeasibleBudgetError
from edgeprune.files import share_folder, write_json
from edgeprune.flags import parse_flags
from edgeprune.models import checkpoint
from edgeprune.models.registry import ModelSpec, build
from edgeprune.recipe import Budget, Data, Recipe
from edgeprune.recipe_files import from_dict, load_recipe
from edgeprune.results.figures import Scores
from edgeprune.results.result import Result
from edgeprune.running.evaluate import Evaluation
from edgeprune.running.network_file import NetworkFile
from edgeprune.units import format_size, parse_size

RECIPES = sorted(share_folder("recipes").glob("*.py"))
HEAVY = ("torch", "tensorflow", "lightning", "librosa", "pandas", "scipy", "sklearn", "matplotlib", "onnx", "numba")
DENSE = {"conv1": 3, "conv2": 4, "conv3": 5, "fc1": 6}
PRUNED = {"conv1": 2, "conv2": 2, "conv3": 2, "fc1": 6}


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run folder with a small dense network and a smaller pruned one."""
    folder = tmp_path / "a run"
    folder.mkdir()
    torch.manual_seed(1)
    for stage, widths in (("dense", DENSE), ("pruned", PRUNED)):
        spec = ModelSpec("dcase21", 3, (1, 20, 10), widths)
        checkpoint.save(folder / f"{stage}.ckpt", spec, build(spec))
    return folder


@pytest.fixture
def tflite(tmp_path: Path) -> Path:
    """The smallest TFLite file: four numbers through a ReLU."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    def tensor(name: str) -> schema.TensorT:
        made = schema.TensorT()
        made.name, made.shape, made.type, made.buffer = name, [1, 4], schema.TensorType.FLOAT32, 0
        return made

    relu = schema.OperatorT()
    relu.opcodeIndex, relu.inputs, relu.outputs = 0, [0], [1]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RELU
    code.version = 1
    graph = schema.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs, graph.operators = [tensor("in"), tensor("out")], [0], [1], [relu]
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT()]
    builder = flatbuffers.Builder(256)
    builder.Finish(model.Pack(builder), b"TFL3")
    path = tmp_path / "relu.tflite"
    path.write_bytes(bytes(builder.Output()))
    return path


def python(code: str, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, timeout=120)


VERBS = (
    *("run", "data", "cost", "score", "budget", "profile", "export", "evaluate", "bench", "sweep", "compare", "submit"),
    *("deploy", "listen", "doctor"),
)
DATA = ("list", "fetch", "make", "verify")


# Help, version, unknown words


def test_without_a_verb_it_prints_help(capsys):
    code, out, _ = call(capsys)
    assert code == 0
    assert all(f"\n  {verb} " in out for verb in VERBS)
    assert call(capsys, "--help") == (0, out, "")


def test_data_without_a_verb_prints_its_help(capsys):
    code, out, _ = call(capsys, "data")
    assert code == 0
    assert all(f"\n  {verb} " in out for verb in DATA)


def test_version(capsys):
    assert call(capsys, "--version") == (0, f"edgeprune {edgeprune.__version__}\n", "")


@pytest.mark.parametrize("verb", [[verb] for verb in VERBS if verb != "data"] + [["data", verb] for verb in DATA])
def test_every_verb_has_help(capsys, verb):
    code, out, err = call(capsys, *verb, "--help")
    assert code == 0
    assert f"usage: edgeprune {' '.join(verb)} " in out
    assert "--debug" in out
    assert err == ""


@pytest.mark.parametrize(
    ("argv", "near"),
    [
        (["cots"], "'cost'"),
        (["--versoin"], "'--version'"),
        (["data", "fecth"], "'fetch'"),
        (["cost", "dcase21", "--jsno"], "--json"),
        (["budget", "dcase21", "--peka-ram", "3k"], "--peak-ram"),
        (["run", "quickstart", "--budget.parms", "3k"], "--budget.params"),
        (["run", "quikstart"], "'quickstart'"),
        (["cost", "dcase12"], "'dcase21'"),
        (["score", "dcase21", "--criterion", "operator_nrom"], "'operator_norm'"),
    ],
)
def test_a_wrong_word_exits_2_and_names_the_nearest(capsys, argv, near):
    code, out, err = call(capsys, *argv)
    assert code == 2
    assert near in err
    assert out == ""


@pytest.mark.parametrize(
    "argv", [[], ["--help"], ["--version"], ["cost", "--help"], ["run", "--help"], ["run", "quickstart", "--help"]]
)
def test_help_imports_nothing_heavy(argv: list[str]):
    done = python(
        "import sys; from edgeprune.cli.main import main; code = main(sys.argv[2:]);"
        "print([name for name in sys.argv[1].split(',') if name in sys.modules], file=sys.stderr); sys.exit(code)",
        ",".join(HEAVY),
        *argv,
    )
    assert (done.returncode, done.stderr) == (0, "[]\n")
    assert done.stdout


def test_the_installed_command():
    command = Path(sysconfig.get_path("scripts")) / "edgeprune"
    done = subprocess.run([command, "cots"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr == "edgeprune: error: 'cots' is no verb of edgeprune; perhaps you meant 'cost'.\n"


def test_a_closed_pipe_is_no_error():
    command = Path(sysconfig.get_path("scripts")) / "edgeprune"
    with subprocess.Popen(
        [command, "data", "list", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        complaint = process.stderr.read()
    assert (process.returncode, complaint) == (141, b"")


# Data sets


def test_data_list(capsys):
    cards = {card["name"]: card for card in call_json(capsys, "data", "list")}
    assert cards["tau2020_mobile"]["classes"][0] == "airport"
    code, out, _ = call(capsys, "data", "list")
    assert code == 0
    assert all(name in out for name in cards)


def test_data_verify_tells_whole_missing_and_corrupt(capsys, tmp_path):
    root = tmp_path / "scenes"
    make = ["data", "make", "--root", root, "--clips-per-scene", "9", "--clip-s", "0.2"]
    assert call(capsys, *make)[0] == 0
    assert "were there already" in call(capsys, *make)[2]
    whole = call_json(capsys, "data", "verify", "synthetic", "--root", root)
    assert (whole["ok"], whole["clips"]) == (True, 90)
    clips = sorted((root / "audio").iterdir())
    for clip in clips[:25]:
        clip.unlink()
    clips[30].write_bytes(clips[30].read_bytes()[:1000])
    (root / "audio" / "stranger.wav").write_bytes(clips[40].read_bytes())
    found = call_json(capsys, "data", "verify", "synthetic", "--root", root, code=4)
    assert (found["ok"], found["clips"], found["extra"]) == (False, 64, ["audio/stranger.wav"])
    assert found["missing"] == [f"audio/{clip.name}" for clip in clips[:25]]
    assert [clip for clip, _ in found["corrupt"]] == [f"audio/{clips[30].name}"]
    code, out, _ = call(capsys, "data", "verify", "synthetic", "--root", root)
    assert code == 4
    assert "missing: 25\n" in out
    assert "and 5 more" in out
    assert f"  audio/{clips[19].name}\n" in out
    assert clips[20].name not in out


def test_data_fetch_passes_on_what_was_asked(capsys, monkeypatch, tmp_path):
    asked = []

    def fetch(card, root, only):
        asked.append((card.name, root, only))
        return FetchReport(("a",), ("a", "b"), ())

    monkeypatch.setattr("edgeprune.data.fetch.fetch", fetch)
    code, out, err = call(capsys, "data", "fetch", "tut2016", "--root", tmp_path, "--only", "meta", "doc")
    assert (code, out) == (0, "")
    assert "1 downloaded, 2 unpacked, 0 done before" in err
    assert call(capsys, "data", "fetch", "tut2016", "--root", tmp_path)[0] == 0
    assert asked == [("tut2016", tmp_path, ("meta", "doc")), ("tut2016", tmp_path, None)]


def test_data_fetch_makes_the_synthetic_scenes(capsys, monkeypatch, tmp_path):
    made = []
    monkeypatch.setattr("edgeprune.data.synthetic.ensure", lambda root, *rest: made.append((root, rest[0])) or True)
    assert call(capsys, "data", "fetch", "synthetic", "--root", tmp_path)[0] == 0
    assert made == [(tmp_path, Data().clips_per_scene)]
    assert call(capsys, "data", "fetch", "synthetic", "--root", tmp_path, "--only", "meta")[0] == 2


# Networks


def test_cost_has_the_published_numbers(capsys):
    found = call_json(capsys, "cost", "dcase21", "--input", "1x40x51")
    assert (found["macs"], found["flash_bytes"], found["peak_ram_bytes"]) == (29_203_560, 46_512, 65_280)
    assert sum(layer["params"] for layer in found["by_layer"]) == found["params"]
    code, out, _ = call(capsys, "cost", "dcase21")
    assert code == 0
    for text in ("45,990", "46,118", "46,246", "286,637,800", "640,000", "16x40x500", "multiply-accumulates"):
        assert text in out


def test_cost_of_another_number_of_classes(capsys):
    ten, three = (call_json(capsys, "cost", "dcase21", "--classes", n)["params"] for n in ("10", "3"))
    assert ten - three == 7 * 101


def test_cost_takes_the_pruned_network_of_a_run(capsys, run_folder):
    found = call_json(capsys, "cost", run_folder)
    assert found["checkpoint"] == str(run_folder / "pruned.ckpt")
    assert {layer["name"]: layer["filters"] for layer in found["by_layer"] if layer["kind"] != "pool"} == {
        **PRUNED,
        "output": 3,
    }
    assert call_json(capsys, "cost", run_folder / "dense.ckpt")["params"] > found["params"]
    (run_folder / "pruned.ckpt").unlink()
    assert call_json(capsys, "cost", run_folder)["checkpoint"] == str(run_folder / "dense.ckpt")
    (run_folder / "dense.ckpt").unlink()
    assert "neither pruned.ckpt nor dense.ckpt" in call(capsys, "cost", run_folder)[2]


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["cost", "model.tflite"], "model.tflite: cannot be read"),
        (["cost", "model.onnx"], "model.onnx: there is no such ONNX file"),
        (["score", "model.tflite"], "filters are scored and pruned in a network, not in a file"),
        (["budget", "model.onnx", "--params", "3k"], "filters are scored and pruned in a network, not in a file"),
        (["cost", "no/where"], "is no run folder"),
        (["cost", "no.ckpt"], "there is no such checkpoint"),
        (["cost", "dcase21", "--input", "40x51"], "as 1x40x51"),
        (["cost", "dcase21", "--input", "1x0x51"], "as 1x40x51"),
        (["cost", "dcase21", "--input", "1x4x4"], "too small"),
        (["cost", "dcase21", "--classes", "0"], "at least 1 class"),
        (["budget", "dcase21"], "no limit is given"),
        (["budget", "dcase21", "--params", "abc"], "is not a size"),
        (["budget", "dcase21", "--params", "3k", "--keep", "2"], "keep"),
        (["bench"], "no file to measure"),
        (["bench", "a.tflite", "--threads", "one"], "'one' is no whole number"),
        (["bench", "a.tflite", "--device", "tflmicro"], "device 'tflmicro' is unknown"),
        (["run"], "name the recipe first"),
        (["run", "--seed", "3", "quickstart"], "name the recipe first"),
        (["export", "nowhere"], "nowhere"),
        (["data", "fetch", "folder", "--root", "x"], "nothing to download"),
    ],
)
def test_wrong_input_exits_2_with_one_sentence(capsys, monkeypatch, tmp_path, argv, complaint):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(capsys, *argv)
    assert code == 2
    assert complaint in err
    assert "Traceback" not in err
    assert out == ""


def test_a_checkpoint_keeps_its_own_input(capsys, run_folder):
    code, _, err = call(capsys, "cost", run_folder, "--classes", "4")
    assert code == 2
    assert "leave out --input and --classes" in err


def test_score_of_a_run_is_of_its_dense_network(capsys, run_folder):
    found = call_json(capsys, "score", run_folder, "--criterion", "l1")
    weights = checkpoint.load(run_folder / "dense.ckpt").model.get_submodule("features.conv2").weight
    layer = found["layers"]["conv2"]
    assert layer["scores"] == pytest.approx(weights.abs().sum((1, 2, 3)).tolist())
    assert (layer["filters"], layer["min"], layer["max"]) == (4, min(layer["scores"]), max(layer["scores"]))
    assert layer["median"] == pytest.approx(sum(sorted(layer["scores"])[1:3]) / 2)
    assert list(found["layers"]) == ["conv1", "conv2", "conv3"]
    assert found["random_weights"] is False
    both = call_json(capsys, "score", run_folder, "--dense-layers")
    assert list(both["layers"]) == ["conv1", "conv2", "conv3", "fc1"]


def test_score_of_a_registry_name_says_that_weights_are_random(capsys):
    code, out, err = call(capsys, "score", "dcase21")
    assert code == 0
    assert "conv3" in out
    assert "random" in err
    argv = ["score", "dcase21", "--criterion", "random"]
    assert call_json(capsys, *argv) == call_json(capsys, *argv)


def test_budget_reaches_no_more_than_it_was_asked(capsys, run_folder):
    argv = ["budget", run_folder, "--params", "0.9k", "--macs", "120k"]
    found = call_json(capsys, *argv)
    assert found["asked"] == {"params": 900, "macs": 120_000}
    assert found["slack"] == {name: found["asked"][name] - found["reached"][name] for name in found["asked"]}
    assert all(slack >= 0 for slack in found["slack"].values())
    assert found["reached"]["params"] == found["cost"]["pruned"]["params"] < found["cost"]["dense"]["params"]
    assert found["widths"]["dense"] == DENSE
    assert found["widths"]["pruned"]["fc1"] == 6
    code, out, _ = call(capsys, *argv)
    assert code == 0
    assert "binding" in out
    assert f"{found['reached']['macs']:,}" in out


def test_an_infeasible_budget_exits_3(capsys, run_folder):
    code, out, err = call(capsys, "budget", run_folder, "--params", "20")
    assert (code, out) == (3, "")
    assert err.startswith("edgeprune: error: budget: params 20 cannot be met")


# Files


def test_bench(capsys, tflite):
    found = call_json(capsys, "bench", tflite, "--runs", "3", "--threads", "1,2")["latency"]
    assert [(row["threads"], row["runs"], row["kind"]) for row in found] == [(1, 3, "measured"), (2, 3, "measured")]
    code, out, _ = call(capsys, "bench", tflite, tflite, "--runs", "1")
    assert code == 0
    assert out.count("| relu.tflite |   host | measured |") == out.count("relu.tflite on host") == 2


def test_export_lists_the_files(capsys, monkeypatch, tmp_path):
    asked = []

    def export(target: str, formats: Sequence[str], waveform: bool) -> dict[str, Path]:
        print("a library's chatter")
        asked.append((target, tuple(formats)))
        paths = {name: tmp_path / f"model_{name}.tflite" for name in formats}
        for path in paths.values():
            path.write_bytes(b"abc")
        return paths

    monkeypatch.setattr(edgeprune.running.export_more, "export_more", export)
    found = call_json(capsys, "export", "somewhere", "--formats", "float32,int8")
    assert asked == [("somewhere", ("float32", "int8"))]
    assert list(found) == ["float32", "int8"]
    assert found["int8"]["bytes"] == 3
    assert found["int8"]["sha256"].startswith("ba7816bf")
    code, out, _ = call(capsys, "export", "somewhere", "--formats", "dynamic")
    assert code == 0
    assert "model_dynamic.tflite" in out


METRICS = {
    "accuracy": 0.75,
    "macro_accuracy": 0.7,
    "log_loss": 0.81234,
    "interval": [0.6, 0.85],
    "per_class": {
        "bus": {"accuracy": 0.5, "log_loss": 1.5, "clips": 2},
        "tram": {"accuracy": None, "log_loss": None, "clips": 0},
    },
    "per_device": {},
    "per_city": {},
    "clips": 4,
}


@pytest.fixture
def evaluated(monkeypatch) -> list[tuple[str, Data, str]]:
    """What `evaluate` was asked for; it answers METRICS."""
    asked: list[tuple[str, Data, str]] = []

    def evaluate(target: str, data: Data, split: str) -> Evaluation:
        asked.append((target, data, split))
        return Evaluation(Path(target), "0", Scores.from_json(METRICS), METRICS)

    monkeypatch.setattr(edgeprune.running.evaluate, "evaluate", evaluate)
    return asked


def test_evaluate_prints_the_metrics(capsys, evaluated):
    argv = ["evaluate", "model.tflite", "--data.name", "tut2017", "--data.root", "there", "--split", "train"]
    code, out, _ = call(capsys, *argv)
    assert code == 0
    for text in ("75.00 %", "60.0 to 85.0 %", "70.00 %", "0.812", "bus", "50.00 %"):
        assert text in out
    file = NetworkFile(Path("model.tflite"), description=None)
    assert evaluated == [(file, Data(name="tut2017", root=Path("there")), "train")]
    assert call_json(capsys, *argv)["accuracy"] == 0.75


def test_evaluate_takes_the_data_of_the_run(capsys, evaluated, tmp_path):
    own = Data(name="tut2017", root=Path("there"), fold=3)
    write_json(tmp_path / "recipe.json", Recipe(name="r", data=own).to_dict())
    call(capsys, "evaluate", tmp_path)
    call(capsys, "evaluate", tmp_path / "model_int8.tflite", "--data.fold", "2")
    call(capsys, "evaluate", tmp_path, "--data.name", "tut2016", "--data.root", "elsewhere")
    assert [data for _, data, _ in evaluated] == [
        own,
        Data(name="tut2017", root=Path("there"), fold=2),
        Data(name="tut2016", root=Path("elsewhere")),
    ]


def test_evaluate_takes_no_data_by_itself(capsys, evaluated):
    """Of a file that lies in no run: the synthetic scenes would be some other 300 clips."""
    code, _, err = call(capsys, "evaluate", "model.tflite")
    assert code == 2
    assert "lies in no run folder, so say on which data to evaluate it, as --data.name NAME --data.root FOLDER" in err
    assert not evaluated


def test_doctor(capsys):
    found = call_json(capsys, "doctor")
    assert found["packages"]["torch"] == torch.__version__
    assert found["interpreter"].startswith("ai-edge-litert ")
    assert "ray" in found["extras"]["ray"]
    assert set(found["tools"]) >= {"qemu-system-arm", "arm-none-eabi-gcc"}
    code, out, _ = call(capsys, "doctor")
    assert code == 0
    assert torch.__version__ in out


def test_doctor_without_an_interpreter(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "edgeprune.tflite.interpreter", None)  # importing it fails
    assert call_json(capsys, "doctor")["interpreter"] is None
    assert "install ai-edge-litert" in call(capsys, "doctor")[1]


# Running recipes


@pytest.fixture
def ran(monkeypatch) -> list[Recipe]:
    """The recipes that were run; each says something, prints something, and leaves a report."""
    recipes: list[Recipe] = []

    def run(recipe: Recipe) -> Result:
        say("working")
        print("a library's chatter")
        recipes.append(recipe)
        recipe.folder().mkdir(parents=True, exist_ok=True)
        (recipe.folder() / "report.html").write_text("report")
        return Result.from_json(
            {"recipe": recipe.to_dict(), "dense": {"cost": {"params": 46_000}, "accuracy": {}}, "schema": 1}
        )

    monkeypatch.setattr(edgeprune.running.run, "run", run)
    return recipes


def test_run_by_name_with_flags(capsys, ran, tmp_path):
    argv = ["run", "quickstart", "--out", tmp_path / "out", "--budget.peak-ram", "128kB", "--export.formats", "int8"]
    code, out, err = call(capsys, *argv, "--train.epochs", "2")
    assert code == 0
    assert "46.0k" in out
    assert f"report: {tmp_path / 'out' / 'report.html'}" in out
    assert "chatter" not in out
    assert "working" in err
    recipe = ran[0]
    assert (recipe.budget.peak_ram, recipe.export.formats, recipe.train.epochs) == (128_000, ("int8",), 2)
    assert recipe.name == "quickstart"


def test_run_with_json_prints_only_the_result(capsys, ran, tmp_path):
    assert call_json(capsys, "run", "quickstart", "--out", tmp_path)["schema"] == 1


def test_run_quietly(capsys, ran, tmp_path):
    code, _, err = call(capsys, "run", "--quiet", "quickstart", "--out", tmp_path)
    assert code == 0
    assert "working" not in err


def test_run_goes_on_in_the_folder_it_is_given(capsys, ran, tmp_path):
    write_json(tmp_path / "recipe.json", Recipe(name="mine", seed=7).to_dict())
    for target in (tmp_path, tmp_path / "recipe.json"):
        assert call(capsys, "run", target, "--bench.runs", "2")[0] == 0
    assert [(r.name, r.seed, r.out, r.bench.runs) for r in ran] == [("mine", 7, tmp_path, 2)] * 2


def test_a_recipe_script_runs_the_same_way(capsys, ran, tmp_path):
    recipe = Recipe(name="mine", out=tmp_path)
    assert run_recipe(recipe, ["--seed", "4", "--json", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["recipe"]["seed"] == 4
    assert "working" not in err
    assert run_recipe(recipe, ["--sede", "4"]) == 2
    assert "--seed" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        recipe.main(["--seed", "5"])
    assert stop.value.code == 0
    assert [r.seed for r in ran] == [4, 5]


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (EdgepruneError("card x: bad; fix it."), 2, "edgeprune: error: card x: bad; fix it.\n"),
        (InfeasibleBudgetError("too small."), 3, "edgeprune: error: too small.\n"),
        (CheckFailedError("parity."), 4, "edgeprune: error: parity.\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "runs/a"),
            2,
            "edgeprune: error: runs/a: the disk is full; free some space or choose another folder.\n",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "runs/a"),
            2,
            "edgeprune: error: runs/a: Permission denied; check the path and your permissions.\n",
        ),
        (
            ModuleNotFoundError("No module named 'ray'", name="ray"),
            2,
            "edgeprune: error: package 'ray' is not installed; `edgeprune doctor` lists what is.\n",
        ),
        (ZeroDivisionError("oh"), 1, "edgeprune: error: ZeroDivisionError: oh; this is a bug in edgeprune, --debug"),
        (KeyboardInterrupt(), 130, "edgeprune: interrupted; to continue: edgeprune run quickstart --out 'a b'\n"),
    ],
)
def test_errors_become_a_sentence_and_an_exit_code(capsys, monkeypatch, error, code, sentence):
    def run(recipe: Recipe) -> dict:
        raise error

    monkeypatch.setattr(edgeprune.running.run, "run", run)
    found, out, err = call(capsys, "run", "quickstart", "--out", "a b")
    assert (found, out) == (code, "")
    assert err.startswith(sentence)
    if code != 130:
        found, _, err = call(capsys, "run", "quickstart", "--debug")
        assert found == code
        assert err.startswith("Traceback")
        assert sentence in err


# Recipes and sizes


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_loads_and_survives_the_round_trip(path: Path):
    recipe = load_recipe(str(path))
    assert load_recipe(path.stem) == recipe
    assert from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert parse_flags(recipe, []) == recipe
    assert recipe.frontend.check() is recipe.frontend


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_a_script(path: Path):
    done = subprocess.run([sys.executable, path, "--help"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    assert "--budget.peak-ram SIZE" in done.stdout


@pytest.mark.parametrize(
    ("text", "value"), [("30k", 30_000), ("29.2M", 29_200_000), ("128kB", 128_000), ("1MiB", 2**20), ("none", None)]
)
def test_limits_of_a_recipe(text, value):
    start = Recipe(name="r", budget=Budget(params=5))
    assert parse_flags(start, ["--budget.params", text]).budget == Budget(params=value)
    if value is not None:
        assert parse_size(format_size(value)) == value


# edgeprune.score


def test_score_of_a_weight():
    weight = torch.tensor([[1.0, -2.0], [3.0, 0.5]])
    assert edgeprune.score(weight, criterion="l1").tolist() == [3.0, 3.5]
    # one channel, kernel of 2: the filters differ along (2, 2.5) only, so both lie as far from their mean
    assert edgeprune.score(weight[:, None, None, :]).tolist() == pytest.approx([1.0, 1.0])
    with pytest.raises(EdgepruneError, match="perhaps you meant 'l1'"):
        edgeprune.score(weight, criterion="l11")


def test_importing_edgeprune_does_not_import_torch():
    done = python("import sys, edgeprune; edgeprune.score; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)")
    assert done.returncode == 0
