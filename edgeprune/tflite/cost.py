"""What a .tflite costs, by the conventions of `edgeprune.graph.cost`, and what it stores.

The figures are those of the int8 network whatever the file's types, so that all formats of a network agree: a byte a
weight and a value in memory, four bytes a bias. A PAD before a convolution is an operator of the file; where it decides
the peak, `peak_ram_bytes` is above that of the network without PADs, and is what TFLite Micro takes.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from edgeprune.errors import CheckFailedError
from edgeprune.graph.cost import Cost, count
from edgeprune.tflite.read_graph import TfliteReader, type_of


@dataclass(frozen=True)
class FileFacts:
    """What a .tflite stores.

    Attributes:
        bytes: the whole file.
        weight_bytes: weights and biases as they are stored; what several layers share is there once.
        weight_type: the type most weights have, such as "int8"; None where there are none.
        activation_type: the type most values in memory have.
    """

    bytes: int
    weight_bytes: int
    weight_type: str | None
    activation_type: str


def cost_of_tflite(path: Path | str) -> Cost:
    """Cost of one run of a .tflite; the counts before folding are None, since its batch norms are folded."""
    return count(TfliteReader(Path(path)).graph)


def file_facts(path: Path | str) -> FileFacts:
    reader = TfliteReader(Path(path))
    weights: Counter[str] = Counter()
    for tensor, values in reader.weights.items():
        weights[type_of(reader.tensors[tensor])] += values
    return FileFacts(
        bytes=Path(path).stat().st_size,
        weight_bytes=sum(reader.stored.values()),
        weight_type=weights.most_common(1)[0][0] if weights else None,
        activation_type=reader.values_by_type.most_common(1)[0][0],
    )


PROMISED = ("params", "macs", "flash_bytes", "peak_ram_bytes")
"""Figures of `Cost` that must be the same for a network and its file, whatever small operators a converter adds."""


def costs_of(cost: Cost) -> dict[str, int]:
    """The figures an allocation is about."""
    return {name: getattr(cost, name) for name in (*PROMISED, "arena_bytes")}


def check_cost(promised: Cost, path: Path | str) -> None:
    """Compare a file's cost with what was promised for its network.

    Converters write a bias of zeros where a convolution has none, and leave out that of a dense layer where all are
    zero; a PAD that the file does without makes its peak smaller.
    """
    reader = TfliteReader(Path(path))
    cost, zeros, without = count(reader.graph), reader.zero_biases, reader.without_bias
    leeway = {"params": (zeros, without), "flash_bytes": (4 * zeros, 4 * without), "peak_ram_bytes": (0, 1 << 62)}
    for name in PROMISED:
        value, wanted = getattr(cost, name), getattr(promised, name)
        more, less = leeway.get(name, (0, 0))
        if not value - more <= wanted <= value + less:
            raise CheckFailedError(
                f"{path}: has {name.replace('_', ' ')} {value:,} where the plan promised {wanted:,}; please report "
                "this network."
            )
