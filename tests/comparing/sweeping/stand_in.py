"""Does a cell's job in no time, or misbehaves as `orders.json` in the sweep's folder says: `python stand_in.py FOLDER`.

Orders by cell folder: `fail`, `die` (once, by SIGKILL), `kill parent` (once), `always kill parent`, `hang`.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from edgeprune.comparing.sweeping.child import ended_with_parent
from edgeprune.files import write_bytes, write_json


def result_of(recipe: dict) -> dict:
    """As much of a result as a sweep reads; it follows from the recipe alone."""
    pruned = recipe["budget"]["params"] or 46_000
    return {
        "seed": recipe["seed"],
        "criterion": recipe["prune"]["criterion"],
        "pruned": {"cost": {"params": pruned, "macs": 10 * pruned, "flash_bytes": pruned, "peak_ram_bytes": 1}},
        "artefacts": {
            "int8": {
                "path": "model_int8.tflite",
                "bytes": pruned,
                "accuracy": {"accuracy": 0.5, "macro_accuracy": 0.25, "log_loss": 1.5},
            }
        },
    }


def main(folder: Path) -> int:
    sweep, name = folder.parents[1], f"{folder.parent.name}/{folder.name}"
    recipe = json.loads((folder / "recipe.json").read_text())
    orders = json.loads((sweep / "orders.json").read_text()) if (sweep / "orders.json").is_file() else {}
    order = orders.get(name, "")
    note(sweep, "start", name, os.environ["OMP_NUM_THREADS"])
    (folder / "log.txt").touch()
    first = not (folder / "tried").exists()
    (folder / "tried").touch()
    if order == "hang":
        child = subprocess.Popen(["sleep", "600"])
        others = [process.pid for process in psutil.Process().children(recursive=True)]
        assert child.pid in others
        note(sweep, "pids", str(os.getpid()), *map(str, others))
        time.sleep(600)
    if order == "fail":
        print("a warning of some library\nedgeprune: error: NAME: was wrong; do better.", file=sys.stderr)
        return 3
    if order == "die" and first:
        os.kill(os.getpid(), signal.SIGKILL)
    if order == "always kill parent" or (order == "kill parent" and first):
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(600)
    limits = {**recipe["budget"], "runtime": None}
    if recipe["prune"]["keep"] == 1 and not any(limits.values()):
        write_bytes(folder / "dense.ckpt", b"weights")  # whole or absent, as a run's files are: it may be killed
    elif not Path(recipe["dense_from"]).is_file():
        print("edgeprune: error: there is no dense network.", file=sys.stderr)
        return 2
    note(sweep, "end", name)
    write_json(folder / "result.json", result_of(recipe))
    return 0


def note(sweep: Path, *words: str) -> None:
    """One line, in one write, so that lines of several processes do not mix."""
    with (sweep / "calls.txt").open("a") as stream:
        stream.write(" ".join(words) + "\n")


if __name__ == "__main__":
    with ended_with_parent():
        code = main(Path(sys.argv[1]))
    sys.exit(code)
