"""Files that native code or many megabytes are behind: each kind is read in a process of its own, with limits."""

import sys
from pathlib import Path

import pytest
from audio_kinds import Recordings
from native import try_in_child
from onnx_kinds import OnnxFiles
from stored_kinds import Archives, Checkpoints, FeatureCaches, ImageFiles
from tflite_kinds import TfliteFiles

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="limits on memory are Linux's"),
]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (".tflite files", TfliteFiles),
        (".onnx files", OnnxFiles),
        ("recordings", Recordings),
        ("checkpoints", Checkpoints),
        ("archives", Archives),
        ("feature caches", FeatureCaches),
        ("files of images", ImageFiles),
    ],
)
def test_hostile_binaries(name: str, kind: type, tmp_path: Path, hold) -> None:
    hold(try_in_child(name, kind, tmp_path))
