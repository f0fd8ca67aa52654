"""Training on a handful of random patches: reproducible, resumable, and left with the chosen weights."""

import copy
import csv
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from random_patches import CLASSES, RECIPE, SPEC, make_patches, run, same
from torch import nn

from edgeprune import console
from edgeprune.errors import EdgepruneError
from edgeprune.models.registry import build
from edgeprune.recipe import Train
from edgeprune.reporting.plots import ACCURACY, LOSS
from edgeprune.training.checkpoint_io import AtomicCheckpointIO
from edgeprune.training.fit import EpochSampler, _loader, fit
from edgeprune.training.module import SceneModule


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run nothing happened to, and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    return *run(folder), folder


class KilledError(Exception):
    pass


@pytest.fixture
def kill(monkeypatch):
    """`kill(epoch, batch)`: the next training dies there."""

    def arm(epoch: int, batch: int, error: BaseException | None = None) -> None:
        step = SceneModule.training_step

        def dying(self, values, number):
            if (self.current_epoch, number) == (epoch, batch):
                monkeypatch.setattr(SceneModule, "training_step", step)
                raise error or KilledError
            return step(self, values, number)

        monkeypatch.setattr(SceneModule, "training_step", dying)

    return arm


def test_history_and_its_file(whole) -> None:
    model, history, folder = whole
    assert [row["epoch"] for row in history] == [0, 1, 2]
    assert {tuple(row) for row in history} == {("epoch", "train_loss", "val_log_loss", "val_accuracy")}
    drawn = [curve.column for curve in (*LOSS, *ACCURACY)]
    assert drawn == list(history[0])[1:]
    with open(folder / "history.csv", newline="") as stream:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(stream)]
    assert rows == history
    assert not model.training
    assert sorted(path.name for path in folder.iterdir()) == ["best.ckpt", "history.csv", "last.ckpt"]


def test_it_learns(tmp_path) -> None:
    recipe = Train(epochs=25, batch_size=6, lr=0.02, mixup=0.0, threads=1)
    _, history = run(tmp_path, recipe)
    assert min(row["val_log_loss"] for row in history) < 0.75, "chance is log 3 = 1.10"


def test_same_seed_same_weights(whole, tmp_path) -> None:
    torch.manual_seed(99)
    torch.rand(7)  # the state of the generator before the call does not matter
    model, history = run(tmp_path / "again")
    assert same(model, whole[0])
    assert history == whole[1]
    assert not same(run(tmp_path / "other", seed=1)[0], whole[0])


@pytest.mark.parametrize("schedule", ["onecycle", "cosine", "constant"])
@pytest.mark.parametrize(("epoch", "batch"), [(0, 1), (1, 0), (2, 2)])
def test_resumed_equals_uninterrupted(tmp_path, kill, epoch, batch, schedule) -> None:
    recipe = dataclasses.replace(RECIPE, schedule=schedule)
    model, history = run(tmp_path / "whole", recipe)
    kill(epoch, batch)
    with pytest.raises(KilledError):
        run(tmp_path / "killed", recipe)
    # with a whole epoch done, the weights it is given do not matter
    resumed, rows = run(tmp_path / "killed", recipe, start=1 if epoch else 0)
    assert same(resumed, model)
    assert rows == history
    assert (tmp_path / "killed/history.csv").read_bytes() == (tmp_path / "whole/history.csv").read_bytes()


def test_a_finished_training_is_not_repeated(whole, tmp_path, monkeypatch) -> None:
    shutil.copytree(whole[2], tmp_path / "run")

    def refuse(self, values, number) -> None:
        raise AssertionError("it trains again")

    monkeypatch.setattr(SceneModule, "training_step", refuse)
    model, history = run(tmp_path / "run", start=1)
    assert same(model, whole[0])
    assert history == whole[1]


def _worst_at_last(monkeypatch, best: int) -> None:
    """Validation that likes one epoch best."""
    monkeypatch.setattr(
        SceneModule,
        "_clip_metrics",
        lambda self: (torch.tensor(abs(self.current_epoch - best) + 1.0), torch.tensor(0.5)),
    )


@pytest.mark.parametrize("best", [0, 1])
def test_choose(tmp_path, monkeypatch, best) -> None:
    """`best` is the network of the epoch with the lowest validation loss, `last` that of the last epoch."""
    _worst_at_last(monkeypatch, best)
    seen = {}
    record = SceneModule.record_epoch

    def remember(self):
        seen[self.current_epoch] = copy.deepcopy(self.model)
        return record(self)

    monkeypatch.setattr(SceneModule, "record_epoch", remember)
    chosen, _ = run(tmp_path / "best")
    assert same(chosen, seen[best])
    last, _ = run(tmp_path / "last", dataclasses.replace(RECIPE, choose="last"))
    assert same(last, seen[2])
    assert not same(last, chosen)


def test_without_validation_the_last_epoch_stays(tmp_path) -> None:
    model, history = run(tmp_path / "none", validate=False)
    last, _ = run(tmp_path / "last", dataclasses.replace(RECIPE, choose="last"))
    assert same(model, last)
    assert set(history[0]) == {"epoch", "train_loss"}
    assert not (tmp_path / "none/best.ckpt").exists()


def test_the_best_epoch_survives_a_kill_and_a_move(tmp_path, monkeypatch, kill) -> None:
    _worst_at_last(monkeypatch, 0)
    expected, _ = run(tmp_path / "whole")
    kill(2, 0)
    with pytest.raises(KilledError):
        run(tmp_path / "here")
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert same(run(tmp_path / "there", start=1)[0], expected)


def test_patience_and_a_kill_after_it_ran_out(tmp_path, monkeypatch) -> None:
    _worst_at_last(monkeypatch, 1)
    recipe = dataclasses.replace(RECIPE, epochs=9, patience=2)
    model, history = run(tmp_path, recipe)
    assert len(history) == 4
    resumed, rows = run(tmp_path, recipe, start=1)
    assert rows == history
    assert same(resumed, model)


def test_distillation_teaches_the_student_and_leaves_the_teacher(whole, tmp_path) -> None:
    torch.manual_seed(5)
    teacher = build(SPEC)
    before = copy.deepcopy(teacher)
    soft = dataclasses.replace(RECIPE, distillation=0.9)
    taught, _ = run(tmp_path / "taught", soft, teacher=teacher)
    assert same(teacher, before)
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert not same(taught, whole[0])
    assert not any("teacher" in name for name in torch.load(tmp_path / "taught/last.ckpt")["state_dict"])
    assert same(run(tmp_path / "hard", teacher=teacher)[0], whole[0]), "weight 0: the teacher is not listened to"


def test_distillation_loss_by_hand() -> None:
    """(1 - a) CE + a T^2 KL(teacher || student), both softened by T."""
    torch.manual_seed(0)
    student, teacher = build(SPEC).eval(), build(SPEC).eval()
    recipe = Train(mixup=0.0, time_roll=False, distillation=0.3, temperature=4.0)
    module = SceneModule(student, recipe, CLASSES, "mels_frames", 0, teacher)
    x, labels = torch.randn(6, 1, 20, 10), torch.tensor([0, 1, 2, 0, 1, 2])
    loss = module.training_step((x, labels, labels), 0).item()

    def softmax(values: np.ndarray) -> np.ndarray:
        power = np.exp(values)
        return power / power.sum(1, keepdims=True)

    ours, theirs = (model(x).detach().double().numpy() for model in (student, teacher))
    hard = -np.log(softmax(ours)[range(6), labels.numpy()]).mean()
    p, q = softmax(theirs / 4), softmax(ours / 4)
    kl = (p * np.log(p / q)).sum(1).mean()
    assert loss == pytest.approx(0.7 * hard + 0.3 * 16 * kl, rel=1e-5)


def test_validation_by_clip_by_hand() -> None:
    """Two patches of clip 4 and one of clip 9, in two batches: log loss and accuracy of the clips' means."""
    module = SceneModule(nn.Identity(), Train(), CLASSES, "mels_frames", 0)
    module._validation = [
        (torch.tensor([[0.6, 0.3, 0.1], [0.1, 0.8, 0.1]]), torch.tensor([0, 2]), torch.tensor([4, 9])),
        (torch.tensor([[0.2, 0.7, 0.1]]), torch.tensor([0]), torch.tensor([4])),
    ]
    loss, accuracy = module._clip_metrics()
    assert float(loss) == pytest.approx(-(np.log(0.4) + np.log(0.1)) / 2, rel=1e-6)
    assert float(accuracy) == 0.0


@pytest.mark.parametrize("labels", [["0", "", "1"], []])
def test_unlabelled_clips_are_refused(tmp_path, labels) -> None:
    patches = make_patches(len(labels), 0, labels)
    with pytest.raises(EdgepruneError, match="training needs clips, each with a label"):
        fit(build(SPEC), (patches, None), RECIPE, 0, tmp_path)


def test_a_lonely_last_patch_is_left_out() -> None:
    """18 patches by 17: one would be left, and batch norm has no statistics of one at the end of a network."""
    patches = make_patches(12, 1)
    assert len(patches) == 18

    def batches(size: int, sampler: EpochSampler | None) -> list[int]:
        return [len(x) for x, _, _ in _loader(patches, size, sampler)]

    assert batches(17, EpochSampler(18, 0)) == [17]
    assert batches(16, EpochSampler(18, 0)) == [16, 2]
    assert batches(17, None) == [17, 1], "validation needs every patch"


def test_order_of_patches_follows_from_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        sampler = EpochSampler(20, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(0, 3) == order(0, 3)
    assert sorted(order(0, 3)) == list(range(20))
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_ctrl_c_comes_out_as_itself_and_works_again(tmp_path, kill) -> None:
    kill(1, 1, KeyboardInterrupt())
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    assert signal.getsignal(signal.SIGINT) is before
    assert len(run(tmp_path)[1]) == 3


@pytest.mark.parametrize("terminal", [False, True])
def test_a_damaged_state_is_refused_in_one_sentence(whole, tmp_path, monkeypatch, terminal) -> None:
    monkeypatch.setattr(console, "shows_progress", lambda: terminal)
    last = tmp_path / "last.ckpt"
    last.write_bytes((whole[2] / "last.ckpt").read_bytes()[:1000])
    with pytest.raises(EdgepruneError, match=r"last.ckpt: training cannot go on from it .* delete it") as caught:
        run(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_interrupted_write_leaves_the_state_before_it(tmp_path, monkeypatch) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"turn": 1}, path)
    whole = path.read_bytes()

    def half(target, data) -> None:
        with open(target, "wb") as stream:
            stream.write(data[:100])
        assert path.read_bytes() == whole, "the file itself must not be written to"
        raise KilledError

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(KilledError):
        AtomicCheckpointIO().save_checkpoint({"turn": 2}, path)
    assert AtomicCheckpointIO().load_checkpoint(path, weights_only=True) == {"turn": 1}


_KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from edgeprune.files import atomic_path, write_bytes
from edgeprune.training import checkpoint_io
sys.path.insert(0, sys.argv[1])
import random_patches

calls = []

def half(path, data):
    if Path(path).name == "last.ckpt":
        calls.append(path)
    if len(calls) < 2:
        return write_bytes(path, data)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data[:-1000])
        os.kill(os.getpid(), signal.SIGKILL)

checkpoint_io.write_bytes = half
random_patches.run(Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_killed_while_a_checkpoint_is_written(whole, tmp_path) -> None:
    """kill -9 in the middle of the second epoch's state: the first epoch's is whole, and the run goes on from it."""
    done = subprocess.run(
        [sys.executable, "-c", _KILLED_WHILE_WRITING, str(Path(__file__).parent), str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = [path for path in tmp_path.iterdir() if path.name.startswith(".last.ckpt.")]
    assert len(left) == 1, "it should have been killed while it wrote a temporary file"
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert [row["epoch"] for row in state["history"]] == [0]
    model, history = run(tmp_path, start=1)
    assert same(model, whole[0])
    assert history == whole[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.ckpt", "history.csv", "last.ckpt"]


@pytest.mark.slow
def test_two_processes_share_an_epoch(tmp_path) -> None:
    """Every process sees half of the patches; weights and history come back to the caller."""
    recipe = dataclasses.replace(RECIPE, devices=2, batch_size=3, epochs=2, choose="last")
    model, history = run(tmp_path, recipe)
    assert [row["epoch"] for row in history] == [0, 1]
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert state["global_step"] == 2 * 3  # 18 patches, half of them each, 3 a batch
    for name, value in model.state_dict().items():
        assert torch.equal(value, state["state_dict"][f"model.{name}"])
    torch.manual_seed(0)
    assert not same(model, build(SPEC))
