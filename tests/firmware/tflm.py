"""TFLite Micro's outputs for many small files, from one process of its own: some of its checks abort."""

import pickle
import subprocess
import sys
from collections.abc import Sequence

import numpy as np

_ARENA_BYTES = 1 << 20
_SERVE = f"""
import os, pickle, sys
import numpy as np
from tflite_micro import runtime
answers = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)
for file, inputs in pickle.load(sys.stdin.buffer):
    try:
        interpreter = runtime.Interpreter.from_bytes(file, arena_size={_ARENA_BYTES})
        outputs = []
        for values in inputs:
            interpreter.set_input(values, 0)
            interpreter.invoke()
            outputs.append(np.array(interpreter.get_output(0)).reshape(-1))
        pickle.dump(np.stack(outputs), answers)
    except (RuntimeError, ValueError) as error:
        pickle.dump(str(error), answers)
    answers.flush()
"""


def tflm_outputs(work: Sequence[tuple[bytes, np.ndarray]], timeout_s: float = 60) -> list[np.ndarray | str]:
    """For each file and its inputs `[n, *input shape, the batch of 1 included]`: int8 outputs `[n, values]`.

    A text stands where TFLite Micro refused the file, with what it printed last.
    """
    answers: list[np.ndarray | str] = []
    while len(answers) < len(work):
        task = pickle.dumps([(file, np.ascontiguousarray(inputs)) for file, inputs in work[len(answers) :]])
        try:
            command = [sys.executable, "-c", _SERVE]
            done = subprocess.run(command, input=task, capture_output=True, check=False, timeout=timeout_s)
            stream, printed = done.stdout, done.stderr
        except subprocess.TimeoutExpired as late:
            stream, printed = late.stdout or b"", b"no answer in time"
        answers += _pickles(stream)
        if len(answers) < len(work):
            lines = printed.decode(errors="replace").strip().splitlines()
            answers.append(f"it ended: {lines[-1] if lines else ''}")
    return answers


def _pickles(stream: bytes) -> list[np.ndarray | str]:
    import io

    reader, found = io.BytesIO(stream), []
    while reader.tell() < len(stream):
        found.append(pickle.load(reader))
    return found
