"""The C of a bundle, from samples to decisions: front-end, listening, and the network by one of two runtimes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeprune.audio.listen_rules import Judgement
from edgeprune.audio.listener import Listener
from edgeprune.bundles.arena import ALIGNMENT, Arena
from edgeprune.bundles.common import fill_template, filled
from edgeprune.bundles.deployment import Deployment
from edgeprune.bundles.micro_operators import op_resolver
from edgeprune.bundles.source import Clip, Source
from edgeprune.files import write_text
from edgeprune.firmware.c_text import c_array, c_float
from edgeprune.firmware.frontend import write_frontend
from edgeprune.firmware.listening import write_listening
from edgeprune.firmware.stream.compile import StreamNetwork, compile_stream
from edgeprune.tflite.flatbuffer import operators
from edgeprune.tflite.interpreter import TFLiteModel


@dataclass(frozen=True)
class Firmware:
    """What was written.

    Attributes:
        takes_frames: the network takes each frame as it comes; otherwise a window's frames wait for it.
        network: by the runtime `stream`; None by TensorFlow Lite Micro.
        facts: for the manifest.
    """

    takes_frames: bool
    network: StreamNetwork | None
    facts: dict[str, Any]

    @property
    def state_bytes(self) -> int | None:
        """Of the network's state, by the runtime `stream`."""
        return None if self.network is None else self.network.state_bytes


def write_firmware(source: Source, deployment: Deployment, folder: Path, arena: Arena | None = None) -> Firmware:
    """Write the C (and C++) sources of a bundle to one folder; `arena`: of the runtime `tflm`."""
    description, model = source.description, TFLiteModel(source.model)
    network = None
    if deployment.runtime == "stream":
        network = compile_stream(source.model, folder, deployment.network_prefix)
        names = {"net": network.prefix, "NET": network.prefix.upper()}
        fill_template("c/edgeprune_network.h", folder, **names)
        facts: dict[str, Any] = {"state_bytes": network.state_bytes}
    else:
        assert arena is not None
        facts = _write_interpreter(source, folder, arena)
    time = "width" if description.layout == "mels_frames" else "height"
    takes_frames = network is not None and network.walk == time
    write_frontend(
        source.frontend, description.normalisation, folder, description.layout, model.input_quantisation, takes_frames
    )
    write_listening(deployment.rules, source.frontend, source.labels, model.output_quantisation, folder)
    return Firmware(takes_frames, network, {"runtime": deployment.runtime, "takes_frames": takes_frames, **facts})


def heard_in(clip: Clip, source: Source, deployment: Deployment) -> Judgement:
    """What `edgeprune listen` hears in a clip, of which the network says the probabilities that the clip holds."""
    listener = Listener(source.frontend, lambda _: clip.probabilities, deployment.rules)
    return next(listener.listen([(clip.samples / 32768).astype(np.float32)])).judgement


def levels_text(source: Source, deployment: Deployment) -> str:
    """Units, rules and gain in Markdown, and the call of `edgeprune listen` that decides as the firmware does."""
    rules, spec = deployment.rules, source.frontend
    hop_frames = rules.hop_frames(spec)
    hop_s = hop_frames * spec.hop_samples / spec.sample_rate
    values = {
        "SAMPLE_RATE": spec.sample_rate,
        "FRAMES": spec.patch_frames,
        "HOP": spec.hop_samples,
        "WINDOW_S": f"{spec.patch_s:g}",
        "DECISION_FRAMES": hop_frames,
        "DECISION_S": f"{hop_s:g}",
        "GATE": "there is none" if rules.gate_dbfs is None else f"{rules.gate_dbfs:g} dBFS",
        "SMOOTHING": f"{rules.smoothing:g}",
        "REST": f"{1 - rules.smoothing:g}",
        "THRESHOLD": f"{rules.threshold:g}",
        "LOG_MEL_STEP": f"{np.log(10) / (10 if spec.spectrum == 'power' else 20):.3f}",
        "LISTEN": f"edgeprune listen {source.model.name} --file street.wav --hop-s {hop_s:g} --smoothing "
        f"{rules.smoothing:g} --threshold {rules.threshold:g} --gate-dbfs {rules.gate_dbfs}",
    }
    return filled("c/levels.txt", **values)


def _write_interpreter(source: Source, folder: Path, arena: Arena) -> dict[str, Any]:
    """Write the model, and what runs it under TensorFlow Lite Micro; returns fields of the manifest."""
    content = np.frombuffer(source.model.read_bytes(), np.uint8)
    model = TFLiteModel(source.model)
    (scale_in, zero_in), (scale_out, zero_out) = model.input_quantisation, model.output_quantisation
    count, methods = op_resolver(source.model)
    values = {
        "BYTES": len(content),
        "INPUT_SIZE": source.stored[0].size,
        "CLASSES": len(source.labels),
        "INPUT_SCALE": c_float(scale_in),
        "INPUT_ZERO_POINT": zero_in,
        "OUTPUT_SCALE": c_float(scale_out),
        "OUTPUT_ZERO_POINT": zero_out,
        "MEASURED": arena.measured_bytes,
        "HEADROOM": arena.headroom_bytes,
        "KERNELS": arena.kernels,
        "ARENA": arena.total_bytes,
        "OPERATORS": count,
        "ADDED": "\n".join(f"        operators.{method}();" for method in methods),
    }
    for name in ("infer.h", "infer.cc", "model.h", "network.h"):
        fill_template(f"tflm/edgeprune_{name}", folder, **values)
    declaration = f"alignas({ALIGNMENT}) const unsigned char edgeprune_model[{len(content)}]"
    write_text(folder / "edgeprune_model.cc", '#include "edgeprune_model.h"\n\n' + c_array(declaration, content))
    return {
        "operators": sorted(set(operators(source.model))),
        "arena": {
            "bytes": arena.total_bytes,
            "measured_bytes": arena.measured_bytes,
            "headroom_bytes": arena.headroom_bytes,
            "headroom_for": arena.kernels,
        },
    }
