"""Lists of clips and predictions of the most various bytes."""

import gzip
import random
from pathlib import Path

from hostile import try_inputs
from spoiling import spoil_bytes

from edgeprune.data.cards import load_card
from edgeprune.data.splits import load_split, split_validation
from edgeprune.evaluation.predictions import read_predictions, write_predictions

CLIPS = "".join(f"audio/street-{n}.wav,{'car' if n % 2 else 'water'},{n % 3},{n % 4 + 1}\n" for n in range(12))
TABLE = ("filename,label,group,fold\n" + CLIPS).encode()


def read_split(root: Path, name: str, content: bytes) -> None:
    (root / name).write_bytes(content)
    split_validation(load_split(load_card("folder"), root, 1, check_files=False).train)


def test_lists_of_clips(tmp_path, hold):
    hold(
        try_inputs(
            "lists of clips", lambda rng: spoil_bytes(rng, TABLE), lambda made: read_split(tmp_path, "clips.csv", made)
        )
    )


def test_packed_lists_of_clips(tmp_path, hold):
    def make(rng: random.Random) -> bytes:
        packed = gzip.compress(TABLE if rng.random() < 0.5 else spoil_bytes(rng, TABLE), rng.randint(0, 9), mtime=0)
        return spoil_bytes(rng, packed) if rng.random() < 0.7 else packed

    hold(try_inputs("packed lists of clips", make, lambda made: read_split(tmp_path, "clips.csv.gz", made)))


def test_predictions(tmp_path, hold):
    path = tmp_path / "predictions.csv"
    rows = [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]] * 2
    write_predictions(path, [f"{n}.wav" for n in range(6)], ["a", "b", "c"] * 2, rows, ["a", "b", "c"])
    whole = path.read_bytes()

    def read(made: bytes) -> None:
        path.write_bytes(made)
        read_predictions(path)

    hold(try_inputs("predictions", lambda rng: spoil_bytes(rng, whole), read))
