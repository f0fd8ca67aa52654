"""Log-mels of clips as a figure: tones of known frequency and time are where they must be."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from calls import call

import edgeprune
from edgeprune import Data, LogMel
from edgeprune.errors import EdgepruneError
from edgeprune.reporting.logmel_figure import band_ticks

RATE = 16_000
TONES_HZ = {"low": 500, "middle": 1000, "high": 4000}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two-second clips: a tone in the second second alone; three clips of each of three classes."""
    rows = ["filename,label,fold"]
    for label, hertz in TONES_HZ.items():
        for number in range(4):
            time_s = np.arange(2 * RATE) / RATE
            tone = np.where(time_s >= 1, 0.5 * np.sin(2 * np.pi * hertz * time_s), 0)
            soundfile.write(tmp_path / f"{label}{number}.wav", tone, RATE)
            rows.append(f"{label}{number}.wav,{label},{1 if number == 3 else 2}")
    (tmp_path / "clips.csv").write_text("\n".join(rows))
    return tmp_path


def test_tones_are_at_their_hertz_and_seconds(root: Path) -> None:
    frontend = LogMel(sample_rate=RATE, patch_frames=50, patch_hop_frames=50)
    figure = edgeprune.plots.clips(Data("folder", root), frontend)
    *panels, bar = figure.axes
    assert [axes.get_title() for axes in panels] == [
        f"{name}{number}.wav" for name in ("high", "low", "middle") for number in (0, 1)
    ]
    labels = [label.get_text() for label in panels[0].get_yticklabels()]
    ticks = dict(zip(labels, panels[0].get_yticks(), strict=True))
    for axes, hertz in zip(panels, (4000, 4000, 500, 500, 1000, 1000), strict=True):
        (image,) = axes.images
        logmel = np.asarray(image.get_array())
        assert logmel.shape == (40, 101)
        left, right, bottom, top = image.get_extent()
        assert (left, right) == pytest.approx((0, 2.02))
        second = round(1.5 / right * logmel.shape[1])
        loudest = bottom + (logmel[:, second].argmax() + 0.5) * (top - bottom) / len(logmel)
        assert loudest == pytest.approx(ticks[f"{hertz}" if hertz < 1000 else f"{hertz // 1000}k"], abs=1)
        assert logmel[:, 10].max() == pytest.approx(np.log(1e-3))  # silence in the first second
    assert bar.get_ylabel() == "ln(magnitude + 0.001)"
    assert panels[0].get_ylabel() == "high\nHz"


def test_names_of_frequencies_do_not_touch() -> None:
    for frontend in (LogMel(), LogMel.vggish(), LogMel.cpmobile(), LogMel.dscnn()):
        places = sorted(band_ticks(frontend).values())
        assert len(places) >= 3
        assert min(np.diff(places)) >= 0.12 * frontend.mels - 1e-9


def test_classes_and_how_many_of_each_can_be_said(root: Path) -> None:
    frontend = LogMel(sample_rate=RATE)
    figure = edgeprune.plots.clips(Data("folder", root), frontend, per_class=1, classes=["middle"])
    assert [axes.get_title() for axes in figure.axes[:-1]] == ["middle0.wav"]
    for wrong, complaint in (
        ({"classes": ["midle"]}, "perhaps you meant 'middle'"),
        ({"per_class": 0}, "0 of each class"),
    ):
        with pytest.raises(EdgepruneError, match=complaint):
            edgeprune.plots.clips(Data("folder", root), frontend, **wrong)  # type: ignore[arg-type]


def test_from_the_command_line(capsys, root: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = call(
        capsys, "data", "show", "folder", "--root", root, "--frontend.sample-rate", "8000", "--classes", "low,high"
    )
    assert (code, out) == (0, "")
    assert "front-end: as the flags say" in err
    assert "clips.png: 4 clips of 2 classes" in err
    assert (tmp_path / "clips.png").read_bytes().startswith(b"\x89PNG")


def test_a_recipe_brings_its_front_end(capsys, root: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "own.py"
    recipe.write_text(
        "from edgeprune import Data, LogMel, Recipe\n"
        f"recipe = Recipe(name='own', data=Data('folder', {str(root)!r}), frontend=LogMel(sample_rate=8000, mels=17))\n"
        "if __name__ == '__main__':\n    recipe.main()\n"
    )
    out = tmp_path / "own.svg"
    code, _, err = call(capsys, "data", "show", recipe, "--out", out)
    assert code == 0, err
    assert "front-end: that of the recipe own" in err
    assert "ln(magnitude + 0.001)" in out.read_text()


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["mnist"], "holds images"),
        (["esc10"], "say where the data set lies"),
        (["esc11"], "'esc11': is no data set (`edgeprune data list`) and no recipe"),
        (["esc10", "--out", "clips.jpg"], "clips.jpg: a plot is written as .svg or .png"),
        (["esc10", "--frontend.mels", "0"], "mels must be 1 to 32768, not 0"),
    ],
)
def test_what_is_wrong_is_said(capsys, argv: list[str], complaint: str) -> None:
    code, out, err = call(capsys, "data", "show", *argv)
    assert (code, out) == (2, "")
    assert complaint in err
