"""Checkpoints: what is saved comes back, and nothing but a whole checkpoint is taken."""

import pickle
from pathlib import Path

import pytest
import torch

from edgeprune.errors import EdgepruneError
from edgeprune.models.checkpoint import load, save
from edgeprune.models.registry import build, make_spec


@pytest.fixture
def spec():
    return make_spec("dcase21", 4, (1, 20, 25), 0.25)


@pytest.fixture
def content(spec, tmp_path):
    """What a checkpoint file holds."""
    save(tmp_path / "whole.ckpt", spec, build(spec), {"labels": ["a", "b"]})
    return torch.load(tmp_path / "whole.ckpt", weights_only=True)


@pytest.mark.parametrize("name", ["dcase21", "vggish"])
def test_round_trip_gives_equal_outputs(name, tmp_path) -> None:
    spec = make_spec(name, 4, (1, 32, 32), 0.1)
    model = build(spec).to(memory_format=torch.channels_last)
    x = torch.randn(3, 1, 32, 32)
    model.train()(x)  # moves the batch norm's statistics away from their start
    model.eval()
    extra = {"labels": ["a", "b"], "history": [{"epoch": 0, "loss": 1.5}], "normalisation": {"mean": [0.1]}}
    save(tmp_path / "deep" / "net.ckpt", spec, model, extra)
    read = load(tmp_path / "deep" / "net.ckpt")
    assert (read.spec, read.extra) == (spec, extra)
    assert not read.model.training
    assert all(torch.equal(read.model.state_dict()[key], value) for key, value in model.state_dict().items())
    model.to(memory_format=torch.contiguous_format)  # as a loaded network is: sums then go the same way
    assert torch.equal(read.model(x), model(x))


def test_equal_content_gives_equal_bytes(spec, tmp_path) -> None:
    """Whatever the file is called, and whether equal parts of the content are one object or several."""
    model, row = build(spec), {"loss": 1.5}
    save(tmp_path / "one.ckpt", spec, model, {"history": [row, row]})
    save(tmp_path / "another.ckpt", spec, model, {"history": [{"".join(["lo", "ss"]): 1.5} for _ in range(2)]})
    assert (tmp_path / "one.ckpt").read_bytes() == (tmp_path / "another.ckpt").read_bytes()


def test_only_the_checkpoint_is_left_in_the_folder(spec, tmp_path) -> None:
    save(tmp_path / "net.ckpt", spec, build(spec))
    assert [path.name for path in tmp_path.iterdir()] == ["net.ckpt"]


def test_a_failed_save_leaves_the_old_checkpoint(spec, tmp_path) -> None:
    path = tmp_path / "net.ckpt"
    save(path, spec, build(spec), {"turn": 1})
    with pytest.raises((AttributeError, TypeError, pickle.PicklingError)):
        save(path, spec, build(spec), {"turn": lambda: 2})
    assert load(path).extra == {"turn": 1}
    assert len(list(tmp_path.iterdir())) == 1


def _one_sentence(path: Path) -> str:
    with pytest.raises(EdgepruneError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert message.endswith(".")
    return message


def test_missing_file(tmp_path) -> None:
    assert "there is no such checkpoint" in _one_sentence(tmp_path / "none.ckpt")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_truncated_file(spec, tmp_path, share) -> None:
    path = tmp_path / "net.ckpt"
    save(path, spec, build(spec))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert "not a whole edgeprune checkpoint" in _one_sentence(path)


@pytest.mark.parametrize("key", ["format", "spec", "state", "extra"])
def test_a_part_is_missing(content, tmp_path, key) -> None:
    del content[key]
    torch.save(content, tmp_path / "part.ckpt")
    assert "not a whole edgeprune checkpoint" in _one_sentence(tmp_path / "part.ckpt")


def test_format_of_another_version(content, tmp_path) -> None:
    torch.save({**content, "format": 99}, tmp_path / "new.ckpt")
    assert "format 99 is not known" in _one_sentence(tmp_path / "new.ckpt")


def test_network_of_another_version(content, tmp_path) -> None:
    content["spec"]["name"] = "dcase20"
    torch.save(content, tmp_path / "old.ckpt")
    with pytest.raises(EdgepruneError, match="perhaps you meant 'dcase21'"):
        load(tmp_path / "old.ckpt")


def test_weights_of_other_widths(content, tmp_path) -> None:
    content["spec"]["widths"]["conv1"] += 1
    torch.save(content, tmp_path / "wide.ckpt")
    assert "not a whole edgeprune checkpoint" in _one_sentence(tmp_path / "wide.ckpt")


@pytest.mark.parametrize("value", [[1, 2], {"a": 1}, None, "text"])
def test_torch_file_of_something_else(tmp_path, value) -> None:
    torch.save(value, tmp_path / "other.ckpt")
    assert "not a whole edgeprune checkpoint" in _one_sentence(tmp_path / "other.ckpt")


class _Touch:
    """Unpickled, it creates a file: what a hostile checkpoint could do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_nothing_in_a_checkpoint_is_executed(content, tmp_path) -> None:
    mark = tmp_path / "executed"
    torch.save({**content, "extra": _Touch(mark)}, tmp_path / "hostile.ckpt")
    (tmp_path / "plain.pickle").write_bytes(pickle.dumps(_Touch(mark), protocol=2))
    for name in ("hostile.ckpt", "plain.pickle"):
        _one_sentence(tmp_path / name)
    assert not mark.exists()
    torch.load(tmp_path / "hostile.ckpt", weights_only=False)
    assert mark.exists(), "the file is harmless: this test shows nothing"
