"""What all parts of a trace share: the tensors seen so far, the operators, and which filters lie where."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import fx

from edgeprune.graph.coupling import Coupling, Numbers, fixed_numbers
from edgeprune.graph.draft import Constant, Draft, Value, values_a_clip
from edgeprune.graph.graph import Cut, Graph
from edgeprune.graph.kinds import FOLDING
from edgeprune.graph.operators import nodes_in, operation, shape_of


class Tracer:
    """The state of one walk over the nodes of an exported program.

    Attributes:
        layers: paths of the modules whose filters may be pruned.
        values: by node, what depends on the input; `parts` has those of nodes with several outputs.
        constants: by node, what does not.
        clips: the batch of the example.
        counts: the network's output depends on what comes next, so constants are counted where they are used first.
    """

    def __init__(self, labels: dict[str, str], layers: set[str], clips: int) -> None:
        self.labels = labels
        self.layers = layers
        self.clips = clips
        self.coupling = Coupling()
        self.values: dict[str, Value] = {}
        self.parts: dict[str, list[Value]] = {}
        self.constants: dict[str, Constant] = {}
        self.drafts: list[Draft] = []
        self.memory: list[Value] = []
        self.made_by: dict[str, Draft] = {}
        self.outputs: list[Value] = []
        self.counts = True
        self.learned: set[str] = set()
        self._cuts: dict[tuple[str, int], tuple[Numbers, bool]] = {}
        self._counted: set[str] = set()
        self._left_out: list[Draft] = []

    def graph(self) -> Graph:
        """The graph, when all nodes are seen."""
        run = {draft.path for draft in self.drafts}
        for draft in self._left_out:
            if draft.path not in run:
                self.coupling.freeze(draft.output.numbers, "the output in inference does not depend on it")
        axes = [value.numbers for value in self.memory] + [numbers for numbers, _ in self._cuts.values()]
        groups = self.coupling.named(self.labels, axes)
        used = sorted({tensor for draft in self.drafts for tensor in (*draft.reads, draft.output.memory, *draft.more)})
        place = {tensor: number for number, tensor in enumerate(used)}
        blocks = self.coupling.blocks
        cuts = (
            Cut(tensor, axis, blocks(numbers), silences) for (tensor, axis), (numbers, silences) in self._cuts.items()
        )
        return Graph(
            operators=tuple(draft.operator(self.coupling, place) for draft in self.drafts),
            groups=groups,
            tensors=tuple(
                (blocks(value.numbers), self._positions(value)) for value in map(self.memory.__getitem__, used)
            ),
            outputs=tuple(place[value.memory] for value in self.outputs if value.memory in place),
            cuts=tuple(cut for cut in cuts if any(block.group for block in cut.channels)),
        )

    # Filters

    def read(self, value: Value) -> None:
        """A layer sums over these channels, so a filter that is silenced must put out zero."""
        if value.awake:
            self.coupling.freeze(value.numbers, f"{value.awake} makes something else than zero of a silent filter")

    def cut(self, tensor: str, axis: int, numbers: Numbers, silences: bool, reason: str) -> None:
        """Let an axis of a parameter or buffer go with filters; where it goes with others already, with both."""
        before = self._cuts.get((tensor, axis))
        if before is not None:
            self.coupling.unite(before[0], numbers, reason)
            numbers, silences = before[0], silences or before[1]
        self._cuts[tensor, axis] = numbers, silences

    def cut_constant(self, constant: Constant, axis: int, numbers: Numbers, silences: bool, reason: str) -> bool:
        """`cut` along an axis of what shows a parameter; freeze the filters where it shows none.

        Returns whether the parameter is zero for silenced filters.
        """
        own = constant.axes[axis] if constant.tensor else None
        if own is None:
            self.coupling.freeze(numbers, reason)
            return False
        silences = silences and constant.exact and constant.tensor in self.learned
        self.cut(constant.tensor, own, numbers, silences, reason)
        return silences

    def once(self, constant: Constant) -> bool:
        """Whether the values of a constant are counted here, where they are used first."""
        root = constant.tensor or constant.root
        first = root not in self._counted
        if self.counts:
            self._counted.add(root)
        return first

    # Operators

    def operate(
        self,
        node: fx.Node,
        kind: str,
        sources: Sequence[Value],
        axis: int,
        numbers: Numbers,
        awake: str = "",
        path: str | None = None,
        **details: Any,
    ) -> Draft:
        """Add an operator with one output."""
        value = Value(shape_of(node), axis, numbers, len(self.memory), awake)
        value = value if value.follows else replace(value, awake="")
        self.memory.append(value)
        self.values[node.name] = value
        reads = tuple(source.memory for source in sources)
        name = self.name(node, path, kind)
        draft = Draft(name, kind, reads, value, path=path or "", foldable=kind in FOLDING, **details)
        self.drafts.append(draft)
        self.made_by[node.name] = draft
        return draft

    def lose_track(self, node: fx.Node, kind: str, inputs: Sequence[Value], reason: str, **details: Any) -> Draft:
        """Add an operator behind which the channels cannot be followed, so those that it reads are frozen."""
        for value in inputs:
            self.coupling.freeze(value.numbers, reason)
        out = self.fixed(shape_of(node))
        draft = self.operate(node, kind, inputs, out.axis, out.numbers, **details)
        self.more_parts(node, draft)
        return draft

    def more_parts(self, node: fx.Node, draft: Draft) -> None:
        """The outputs of an operator that has several, as fixed channels; the first is there already."""
        val = node.meta["val"]
        if isinstance(val, tuple | list):
            others = [self.fixed(tuple(int(size) for size in part.shape)) for part in val[1:]]
            self.add_parts(node, draft, [draft.output, *others])

    def add_parts(self, node: fx.Node, draft: Draft, parts: Sequence[Value]) -> None:
        """The outputs of an operator, the first of which is its draft's."""
        stored = [draft.output]
        for part in parts[1:]:
            stored.append(Value(part.shape, part.axis, part.numbers, len(self.memory), part.awake))
            self.memory.append(stored[-1])
        draft.more = tuple(part.memory for part in stored[1:])
        self.parts[node.name] = stored

    def leave_out(self, start: int) -> None:
        """Take the operators from this one on out of the network: its output in inference does not depend on them."""
        self._left_out += [draft for draft in self.drafts[start:] if draft.path in self.layers]
        del self.drafts[start:]

    def stand_for(self, node: fx.Node, value: Value, foldable: bool = True) -> None:
        """A node that costs nothing stands for the operator before it; not `foldable`: a batch norm after it stays."""
        self.values[node.name] = value
        before = self.producer(node)
        if before is not None:
            self.made_by[node.name] = before
            before.foldable = before.foldable and foldable

    def fixed(self, shape: tuple[int, ...]) -> Value:
        """A tensor, next in memory, whose channels follow from no filter."""
        axis = 1 if len(shape) > 1 else 0
        places = shape[axis] if shape else 1
        return Value(shape, axis, fixed_numbers(places), len(self.memory))

    # Nodes

    def inputs(self, node: fx.Node) -> list[Value]:
        """What a node reads that depends on the network's input."""
        nodes = nodes_in([list(node.args), list(node.kwargs.values())])
        return [self.values[arg.name] for arg in nodes if arg.name in self.values]

    def constant(self, arg: Any) -> Constant | None:
        return self.constants.get(arg.name) if isinstance(arg, fx.Node) else None

    def value(self, arg: Any) -> Value | None:
        return self.values.get(arg.name) if isinstance(arg, fx.Node) else None

    def path(self, arg: Any) -> str | None:
        """Path of the module that a parameter belongs to."""
        constant = self.constant(arg)
        return constant.tensor.rpartition(".")[0] or None if constant is not None else None

    def producer(self, node: fx.Node) -> Draft | None:
        """The operator whose output only this node reads."""
        source = node.args[0] if node.args else None
        if not isinstance(source, fx.Node) or len(source.users) != 1:
            return None
        return self.made_by.get(source.name)

    def positions(self, shape: tuple[int, ...]) -> int:
        """Values of a tensor for one clip."""
        return values_a_clip(shape, self.clips)

    def _positions(self, value: Value) -> int:
        return max(1, self.positions(value.shape) // max(1, len(value.numbers)))

    def name(self, node: fx.Node, path: str | None, kind: str) -> str:
        """The layer's label; without one, the label of the module in which the node is called, and its kind."""
        name = self.labels.get(path, path) if path else None
        if name is None:
            stack = node.meta.get("nn_module_stack")
            inside = list(stack.values())[-1][0] if stack else ""
            leaf = inside and not any(other.startswith(f"{inside}.") for other in self.labels)
            name = self.labels.get(inside, inside) + ("" if leaf else f".{kind}") if inside else None
        if name is None:
            name = f"{kind}_{sum(draft.kind == kind for draft in self.drafts) + 1}"
        return name if all(draft.name != name for draft in self.drafts) else f"{name}:{node.name}"

    def describe(self, node: fx.Node) -> str:
        """The operator and the line of the user's source that calls it."""
        frames = re.findall(r'File "([^"]+)", line (\d+)', node.meta.get("stack_trace") or "")
        own = [frame for frame in frames if "torch" not in Path(frame[0]).parts]
        return f"{operation(node)} ({Path(own[-1][0]).name}, line {own[-1][1]})" if own else operation(node)
