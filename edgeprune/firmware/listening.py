"""The C that listens around front-end and network: rules of decision, windows, a queue for a microphone's samples."""

from collections.abc import Sequence
from pathlib import Path

from edgeprune.audio.listen_rules import UNIT, ListenRules
from edgeprune.errors import EdgepruneError
from edgeprune.files import share_folder, write_bytes, write_text
from edgeprune.firmware.c_text import c_strings
from edgeprune.recipe import LogMel

CONFIG = "edgeprune_listen_config.h"
LABELS = "edgeprune_labels.c"
_COPIED = tuple(f"edgeprune_{name}.{kind}" for name in ("listen", "stream", "fifo") for kind in "hc")


def write_listening(
    rules: ListenRules, spec: LogMel, labels: Sequence[str], output_quantisation: tuple[float, int], out: Path
) -> tuple[Path, ...]:
    """Write the sources that turn samples into decisions, beside those of `write_frontend`; returns the .c files.

    The program adds `edgeprune_network.h`, which gives the network the names that `edgeprune_stream.c` calls it by.

    Args:
        output_quantisation: scale and zero point of the network's probabilities.
        out: folder; created if missing.
    """
    scale, zero_point = output_quantisation
    unit = round(scale * UNIT)
    if unit < 1:
        raise EdgepruneError(f"listening: an output step of {scale:g} is no step of probabilities; export it again.")
    for name in _COPIED:
        write_bytes(out / name, (share_folder("export") / "c" / name).read_bytes())
    hop_s = rules.hop_frames(spec) * spec.hop_samples / spec.sample_rate
    gate = "no gate" if rules.gate_dbfs is None else f"mean square of {rules.gate_dbfs:g} dBFS"
    settings = {
        "EP_DECISION_HOP": (rules.hop_frames(spec), f"frames between the starts of two windows: {hop_s:g} s"),
        "EP_SMOOTHING": (f"{rules.smoothing_weight}u", f"{rules.smoothing:g} of EP_SMOOTHING_ONE"),
        "EP_THRESHOLD": (f"{rules.least_probability}u", f"a probability of {rules.threshold:g}"),
        "EP_GATE": (f"{rules.least_mean_square}u", gate),
    }
    lines = "\n".join(
        f"#ifndef {name}\n#define {name} {value} /* {what} */\n#endif" for name, (value, what) in settings.items()
    )
    write_text(
        out / CONFIG,
        f"""\
/* Settings of listening, generated; define those in #ifndef yourself to change them. */
#ifndef EDGEPRUNE_LISTEN_CONFIG_H
#define EDGEPRUNE_LISTEN_CONFIG_H

#define EP_CLASSES {len(labels)}
#define EP_OUTPUT_ZERO_POINT ({zero_point})
#define EP_OUTPUT_UNIT {unit}u /* a step of the output in 65536ths */

{lines}

#endif
""",
    )
    names = f"const char *const ep_labels[EP_CLASSES] = {{\n    {c_strings(labels)},\n}};\n"
    write_text(out / LABELS, f'#include "edgeprune_listen.h"\n\n{names}')
    return tuple(out / name for name in (*_COPIED, LABELS) if name.endswith(".c"))
