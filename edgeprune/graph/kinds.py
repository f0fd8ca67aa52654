"""What kinds of operators there are, and the names that layers and operators get."""

from collections.abc import Iterable, Mapping

MULTIPLYING = frozenset({"conv", "depthwise", "grouped conv", "transpose conv", "dense", "matmul", "recurrent"})
"""The kinds with MACs."""
FREE_OF_MACS = frozenset(
    {
        *("pool", "reduce", "add", "sub", "mul", "div", "maximum", "minimum", "activation", "pad", "concat", "split"),
        *("slice", "transpose", "resize", "move", "cast", "shape", "arg", "expand", "norm", "other"),
    }
)
SCALE = "scale"
"""A batch norm that cannot be folded, or what is left of one: a sum or product with a constant of several values."""
UNKNOWN = "unknown"
"""An operator whose MACs are not known: it is reported by name."""
SCALES = frozenset({"add", "sub", "mul", "div"})
"""With a constant of several values they are a `scale`."""
FUSING = frozenset({"conv", "depthwise", "grouped conv", "dense", "pool", "add", "sub", "mul", "scale"})
"""TFLite fuses a ReLU into these."""
FOLDING = frozenset({"conv", "depthwise", "grouped conv", "dense"})
"""A batch norm that directly follows these is folded into them."""


def kinds_by_name(names: Mapping[str, str]) -> dict[str, str]:
    """The kind of each operator, from the operators' names of each kind in one text."""
    return {name: kind for kind, text in names.items() for name in text.split()}


def unique(name: str, taken: Iterable[str]) -> str:
    """`name`, with a number where it is taken."""
    others = set(taken)
    numbered = (f"{name}:{number}" for number in range(2, len(others) + 3))
    return name if name not in others else next(other for other in numbered if other not in others)
