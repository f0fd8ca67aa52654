"""Operators that the tracer does not follow: those without MACs, and those whose cost is not known."""

from collections.abc import Sequence

from torch import Tag, fx

from edgeprune.graph.draft import Value
from edgeprune.graph.elementwise import pointwise
from edgeprune.graph.kinds import UNKNOWN
from edgeprune.graph.operators import may_multiply, nodes_in
from edgeprune.graph.tracer import Tracer


def other(tracer: Tracer, node: fx.Node, inputs: Sequence[Value]) -> None:
    """An operator that has no function of its own here."""
    if may_multiply(node):
        unknown(tracer, node, inputs)
    elif Tag.pointwise in getattr(node.target, "tags", ()):
        pointwise(tracer, node, inputs)
    else:
        reason = f"{tracer.describe(node)} is not followed"
        tracer.lose_track(node, "other", inputs, reason, values=held_values(tracer, node))


def unknown(tracer: Tracer, node: fx.Node, inputs: Sequence[Value]) -> None:
    """An operator whose cost is not known."""
    described = tracer.describe(node)
    draft = tracer.lose_track(node, UNKNOWN, inputs, f"{described} is not known", values=held_values(tracer, node))
    draft.name = f"{draft.name}: {described}"


def held_values(tracer: Tracer, node: fx.Node) -> int:
    """Values of the constants that a node reads and none before it has read."""
    args = nodes_in([list(node.args), list(node.kwargs.values())])
    constants = [tracer.constants[arg.name] for arg in args if arg.name in tracer.constants]
    return sum(constant.size for constant in constants if constant.size > 1 and tracer.once(constant))
