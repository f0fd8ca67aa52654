"""RAM and flash of a linked program as limits: a runtime's costs by width, and polynomials that stay below them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgeprune.pruning.allocation.cost_polynomials import Forms, Ints


class RuntimeCosts(Protocol):
    """What the solver needs of a runtime (see `firmware.stream_costs.StreamCosts`)."""

    def bytes(self, limit: str, widths: Ints, names: Sequence[str]) -> Ints:
        """Of widths `[n, groups]` of the groups `names` the bytes `[n]` that count against `peak_ram` or `flash`."""
        ...

    def below(self, names: Sequence[str]) -> Forms:
        """Polynomials of the widths, named `peak_ram` and `flash`, that the bytes never go below."""
        ...

    def largest(self, limit: str, widths: Mapping[str, int]) -> tuple[str, int]:
        """Name and bytes of the largest part of a limit's cost."""
        ...


@dataclass(frozen=True)
class RuntimeLimit:
    """No more than `most` bytes by limit, `peak_ram` and `flash` or one of them."""

    most: Mapping[str, int]
    runtime: RuntimeCosts

    def bind(self, names: Sequence[str]) -> Callable[[Ints], NDArray[np.bool_]]:
        """Of widths `[n, groups]`, whether each is within the limits."""

        def within(widths: Ints) -> NDArray[np.bool_]:
            return np.all([self.runtime.bytes(name, widths, names) <= most for name, most in self.most.items()], axis=0)

        return within

    def of(self, widths: Mapping[str, int], limits: Sequence[str]) -> dict[str, int]:
        """The bytes of these widths by limit."""
        row = np.array([list(widths.values())], dtype=np.int64)
        return {name: int(self.runtime.bytes(name, row, list(widths))[0]) for name in limits}

    def below(self, names: Sequence[str]) -> tuple[Forms, Ints]:
        """Polynomials that the bytes of no allocation go below, and their limits."""
        forms = self.runtime.below(names).only(list(self.most))
        return forms, np.array([self.most[name] for name in forms.limits], dtype=np.int64)
