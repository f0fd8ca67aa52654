"""A run keeps with how many threads it was computed, and says where it is resumed with others."""

from dataclasses import replace
from pathlib import Path

import pytest

from edgeprune.recipe import Recipe, Train
from edgeprune.results.figures import Threads
from edgeprune.results.run_folder import RunFolder
from edgeprune.running.threads import note_threads, threads_of


def test_a_run_that_is_resumed_with_other_threads_says_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    one = Recipe("mine", train=Train(threads=1), finetune=Train(threads=1), out=tmp_path)
    two = replace(one, train=Train(threads=2))
    with RunFolder(tmp_path).locked() as folder:
        note_threads(two, folder)
        note_threads(one, folder)  # nothing had been computed
        assert threads_of(folder) == [Threads(1, 1)]
        folder.checkpoint("dense").touch()
        note_threads(one, folder)
        assert capfd.readouterr().err == ""
        note_threads(two, folder)
        note_threads(two, folder)
    said = "computed with 1 thread so far and goes on with 2 threads in training and 1 in fine-tuning; other numbers"
    assert said in " ".join(capfd.readouterr().err.split())
    assert folder.log_file.read_text().count(said) == 1
    assert threads_of(folder) == [Threads(1, 1), Threads(2, 1)]
