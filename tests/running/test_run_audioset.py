"""AudioSet weights in a run: each network's own loader gets the file and what it needs to know of the data."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgeprune.data.normalisation import Normalisation
from edgeprune.errors import EdgepruneError
from edgeprune.models import cnn14, vggish
from edgeprune.recipe import Model
from edgeprune.running.train_dense import check_audioset_weights, load_audioset_weights

DATA = SimpleNamespace(normalisation=Normalisation(np.full(64, -5, np.float32), np.full(64, 3, np.float32)))


def test_cnn14_is_told_the_normalisation(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(cnn14, "load_panns_weights", lambda *args: calls.append(args) or ["bn0"])
    load_audioset_weights("network", "cnn14", Path("weights.pth"), DATA)
    model, path, mean, std = calls[0]
    assert (model, path) == ("network", Path("weights.pth"))
    assert (mean == -5).all()
    assert (std == 3).all()


def test_vggish_takes_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(vggish, "load_audioset_weights", lambda *args: calls.append(args) or ["conv1"])
    load_audioset_weights("network", "vggish", Path("weights.pth"), DATA)
    assert calls == [("network", Path("weights.pth"))]


def test_other_networks_have_none() -> None:
    with pytest.raises(EdgepruneError, match="only vggish and cnn14 can start from AudioSet weights, not dcase21"):
        check_audioset_weights(Model(name="dcase21", audioset_weights=Path("weights.pth")))
