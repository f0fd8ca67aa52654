"""`edgeprune data verify` on images."""

import json

import numpy as np

from edgeprune.cli.main import main

CARD = """
name = "tiny"
title = "Tiny"
licence = "none"
kind = "images"
classes = ["a", "b"]
[images]
npz = "tiny.npz"
train = ["x", "y"]
test = ["u", "v"]
"""


def _write(folder, labels) -> str:
    (folder / "tiny.toml").write_text(CARD)
    images = np.zeros((4, 5, 5), np.uint8)
    np.savez(folder / "tiny.npz", x=images, y=labels, u=images[:2], v=np.array([0, 1]))
    return str(folder / "tiny.toml")


def test_whole_images(tmp_path, capsys) -> None:
    card = _write(tmp_path, np.array([0, 1, 0, 1]))
    assert main(["data", "verify", card, "--root", str(tmp_path)]) == 0
    assert "tiny: 6 images are whole" in capsys.readouterr().out


def test_a_wrong_label_and_a_missing_file(tmp_path, capsys) -> None:
    card = _write(tmp_path, np.array([0, 1, 2, 1]))
    assert main(["data", "verify", card, "--root", str(tmp_path), "--json"]) == 4
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["clips"]) == (False, 2)
    assert found["corrupt"][0][0] == "train"
    assert "labels image 2 as 2" in found["corrupt"][0][1]
    assert main(["data", "verify", card, "--root", str(tmp_path / "nowhere")]) == 4
