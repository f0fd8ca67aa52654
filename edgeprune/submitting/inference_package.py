"""The Python package of DCASE 2025: `pip install` takes it, and its module has the functions the organisers call."""

import io
import wave
from pathlib import Path

from edgeprune.files import write_bytes, write_text
from edgeprune.submitting.inference import FILE, NETWORK
from edgeprune.submitting.label import Label
from edgeprune.submitting.output import class_order
from edgeprune.submitting.shipped import Shipped
from edgeprune.submitting.template import load_template
from edgeprune.version import __version__

FOLDER = "inference"
_SETUP = """from setuptools import setup

setup(
    name="{team}",
    version="1.0",
    packages=["{team}", "{team}.resources"],
    package_data={{"{team}": ["systems/*/*"], "{team}.resources": ["*"]}},
    install_requires=open("requirements.txt").read().splitlines(),
    python_requires=">=3.11",
)
"""
_MODULE = '''"""{label}, DCASE 2025 task 1: the functions that evaluate_submission.py and test_complexity.py call."""

from pathlib import Path

from edgeprune.submitting.inference import Inference

_system = Inference(Path(__file__).parent / "systems" / "{label}", {classes})
predict = _system.predict
load_model = _system.load_model
load_inputs = _system.load_inputs
get_model_for_device = _system.get_model_for_device
'''


def write_inference(out: Path, label: Label, shipped: Shipped) -> list[str]:
    """Write the package to `out/inference`; returns its files, relative to `out`.

    Systems of the same authors share a package, each with a module of its own.
    """
    template = load_template("dcase2025")
    class_order(shipped, template)  # refuses another set of classes
    module, system = f"{FOLDER}/{label.team}", f"{FOLDER}/{label.team}/systems/{label}"
    texts = {
        f"{FOLDER}/setup.py": _SETUP.format(team=label.team),
        f"{FOLDER}/requirements.txt": f"edgeprune=={__version__}\n",
        f"{module}/__init__.py": "",
        f"{module}/resources/__init__.py": "",
        f"{module}/{label}.py": _MODULE.format(label=label, classes=list(template.classes)),
    }
    contents = {
        f"{module}/resources/dummy.wav": _second_of_silence(),
        f"{system}/{FILE}": shipped.path.read_bytes(),
        f"{system}/{NETWORK}": shipped.run.checkpoint("pruned").read_bytes(),
    }
    for name, text in texts.items():
        write_text(out / name, text)
    for name, content in contents.items():
        write_bytes(out / name, content)
    return [*texts, *contents]


def _second_of_silence() -> bytes:
    """A recording as long as the challenge's, on which complexity is counted."""
    content = io.BytesIO()
    with wave.open(content, "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(44100)
        recording.writeframes(bytes(2 * 44100))
    return content.getvalue()
