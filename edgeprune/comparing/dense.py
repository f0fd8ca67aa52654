"""The unpruned networks that runs were pruned from, as the control every variant is compared with."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from math import isclose
from typing import Any

from edgeprune.comparing.load import FoundRun, split_of
from edgeprune.comparing.notes import some
from edgeprune.comparing.variants import Group
from edgeprune.reporting.tables import number, part

_PREFIX = "dense_"
_Place = tuple[int, int]


@dataclass
class _Pool:
    """Unpruned networks by seed and fold, of the same settings or shared; several runs may tell of the same one.

    Attributes:
        settings: what all of them have in common.
        keys: the settings of each group whose networks they are.
        members: places of these groups.
    """

    settings: dict[str, Any]
    keys: list[dict[str, Any]]
    members: list[int]
    networks: dict[_Place, list[FoundRun]] = field(default_factory=dict)

    def shares_with(self, other: "_Pool") -> bool:
        """Whether the same networks are in both, wherever both have a seed and fold."""
        places = self.networks.keys() & other.networks.keys()
        return bool(places) and all(
            same_network(first, second)
            for place in places
            for first in self.networks[place][:1]
            for second in other.networks[place][:1]
        )

    def take(self, other: "_Pool") -> None:
        self.settings = {name: value for name, value in self.settings.items() if other.settings.get(name) == value}
        self.keys += other.keys
        self.members += other.members
        for place, runs in other.networks.items():
            self.networks.setdefault(place, []).extend(runs)


def dense_groups(groups: Sequence[Group]) -> tuple[list[Group], dict[int, int], list[str]]:
    """The dense controls of some groups.

    Dense runs of their own come first; a seed and fold that has none is filled by what the other runs tell of the
    network they pruned, which may be the same one in many of them.

    Returns:
        The controls; for each group that is none itself its place in `groups` and that of its control; and notes.
    """
    pools: list[_Pool] = []
    for place, group in enumerate(groups):
        settings = group.dense_settings()
        pool = _Pool(settings, [settings], [place])
        for run in group.runs:
            network = run if group.role == "dense" else dense_view(run)
            if network is not None and network.result is not None:
                pool.networks.setdefault((run.seed, run.fold), []).append(network)
        _pour(pool, pools)
    pools = [pool for pool in pools if pool.networks]
    notes: list[str] = []
    controls = [_control(pool, [groups[member] for member in pool.members], notes) for pool in pools]
    control_of = {
        member: place for place, pool in enumerate(pools) for member in pool.members if groups[member].role != "dense"
    }
    return controls, control_of, notes


def _pour(pool: _Pool, pools: list[_Pool]) -> None:
    """Add a pool to those of its settings or networks."""
    key = pool.keys[0]
    for other in [other for other in pools if key in other.keys or other.shares_with(pool)]:
        pools.remove(other)
        other.take(pool)
        pool = other
    pools.append(pool)


def dense_view(run: FoundRun) -> FoundRun | None:
    """A run's unpruned network in the place of the pruned one; None where nothing is told of it."""
    result = run.result
    if result is None or not part(result, "dense"):
        return None
    artefacts = {name: file for name, file in part(result, "artefacts").items() if name.startswith(_PREFIX)}
    own = {name.removeprefix(_PREFIX): file for name, file in artefacts.items()}
    widths = dict(part(result, "widths"))
    if "dense" in widths:
        widths["pruned"] = widths["dense"]
    view = {**result, "pruned": result["dense"], "artefacts": {**artefacts, **own}, "widths": widths, "budget": {}}
    return replace(run, result=view, stage="dense")


def same_network(first: FoundRun, second: FoundRun) -> bool:
    """Whether two unpruned networks are one: of the same split, the files that both have equal, else their figures."""
    if split_of(first) != split_of(second):
        return False
    one, two = _hashes(first), _hashes(second)
    both = one.keys() & two.keys()
    if both:
        return all(one[name] == two[name] for name in both)
    (params, loss), (other_params, other_loss) = _figures(first), _figures(second)
    # The same network's log loss may be computed in another order of additions.
    return params == other_params and (loss == other_loss or isclose(loss or 0.0, other_loss or 0.0, rel_tol=1e-4))


def _hashes(run: FoundRun) -> dict[str, str]:
    files = part(run.result or {}, "artefacts").items()
    return {name: file["sha256"] for name, file in files if name.startswith(_PREFIX) and file.get("sha256")}


def _figures(run: FoundRun) -> tuple[float | None, float | None]:
    """Parameters and log loss of the unpruned network itself."""
    dense = part(run.result or {}, "dense")
    return number(part(dense, "cost").get("params")), number(part(dense, "accuracy").get("log_loss"))


def _control(pool: _Pool, groups: Sequence[Group], notes: list[str]) -> Group:
    """One network a seed and fold."""
    own = {id(run) for group in groups if group.role == "dense" for run in group.runs}
    chosen: list[FoundRun] = []
    torn: list[_Place] = []
    for place, runs in sorted(pool.networks.items()):
        run = _most_common(runs, own)
        chosen.append(run)
        if not all(same_network(run, other) for other in runs):
            torn.append(place)
    unfinished = [run for group in groups if group.role == "dense" for run in group.runs if run.result is None]
    if torn:
        told = some(f"seed {seed}, fold {fold}" for seed, fold in torn)
        notes.append(
            f"Runs were pruned from different dense networks of the same seed and fold ({told}); the control is the "
            "one that was run by itself, else the one most of them share."
        )
    return Group(pool.settings, "dense", (*chosen, *unfinished))


def _most_common(runs: Sequence[FoundRun], own: Collection[int]) -> FoundRun:
    """The network of a dense run, else the one most runs share, told by the run that has most files of it."""
    alone = [run for run in runs if id(run) in own]
    if alone:
        return alone[0]
    kinds: list[list[FoundRun]] = []
    for run in runs:
        kind = next((kind for kind in kinds if same_network(kind[0], run)), None)
        if kind is None:
            kinds.append([run])
        else:
            kind.append(run)
    largest = max(kinds, key=len)
    return max(largest, key=lambda run: len(part(run.result or {}, "artefacts")))
