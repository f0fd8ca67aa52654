import os
import subprocess
import sys

import pytest


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux lets a process choose its cores")
def test_a_process_bound_to_one_core_takes_one_thread():
    program = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import torch
from edgeprune.cores import cores
from edgeprune.training.threads import use_threads
use_threads(0)
print(cores(), torch.get_num_threads())
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["1", "1"]
