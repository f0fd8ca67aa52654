"""The unpruned networks of runs, as controls of the variants pruned from them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import isclose
from typing import Any

from edgeprune.comparing.comparison import ComparedRun
from edgeprune.comparing.variants import RunGroup
from edgeprune.comparing.words import some

_SeedAndFold = tuple[int, int]


@dataclass
class _Pool:
    """Groups whose unpruned networks are the same, and the runs that hold these networks by seed and fold.

    Attributes:
        settings: those that all groups share.
        keys: the settings of each group's unpruned networks.
        members: positions of the groups.
    """

    settings: dict[str, Any]
    keys: list[dict[str, Any]]
    members: list[int]
    networks: dict[_SeedAndFold, list[ComparedRun]] = field(default_factory=dict)

    def matches(self, other: "_Pool") -> bool:
        """Whether both have the same settings, or the same networks wherever both have a seed and fold."""
        if other.keys[0] in self.keys:
            return True
        places = self.networks.keys() & other.networks.keys()
        return bool(places) and all(same_network(self.networks[p][0], other.networks[p][0]) for p in places)

    def take(self, other: "_Pool") -> None:
        self.settings = {name: value for name, value in self.settings.items() if other.settings.get(name) == value}
        self.keys += other.keys
        self.members += other.members
        for place, runs in other.networks.items():
            self.networks.setdefault(place, []).extend(runs)


def dense_groups(groups: Sequence[RunGroup]) -> tuple[list[RunGroup], dict[int, int], list[str]]:
    """Form the dense controls: one network a seed and fold, from dense runs and from runs that pruned it.

    Groups share a control if their settings before pruning are equal, or if their unpruned networks are. Returned are
    the controls, the position of each other group's control by the group's position, and notes.
    """
    pools: list[_Pool] = []
    for position, group in enumerate(groups):
        settings = group.dense_settings()
        pool = _Pool(settings, [settings], [position])
        for run in group.runs:
            network = run if group.role == "dense" else unpruned(run)
            if network is not None and network.result is not None:
                pool.networks.setdefault((run.seed, run.fold), []).append(network)
        for other in [other for other in pools if other.matches(pool)]:
            pools.remove(other)
            other.take(pool)
            pool = other
        pools.append(pool)
    pools = [pool for pool in pools if pool.networks]
    notes: list[str] = []
    controls = [_control(pool, [groups[member] for member in pool.members], notes) for pool in pools]
    control_of = {
        member: position
        for position, pool in enumerate(pools)
        for member in pool.members
        if groups[member].role != "dense"
    }
    return controls, control_of, notes


def unpruned(run: ComparedRun) -> ComparedRun | None:
    """The run standing for its unpruned network; None where its result has no figures of it."""
    return replace(run, network="dense") if run.result and run.result.networks["dense"] else None


def same_network(first: ComparedRun, second: ComparedRun) -> bool:
    """Whether two runs hold the same unpruned network.

    The split must be equal, and so must be the files that both have, or, where they share no file, the figures.
    """
    if first.split != second.split or first.result is None or second.result is None:
        return False
    networks = first.result.networks["dense"], second.result.networks["dense"]
    hashes, other_hashes = (
        {format: file.sha256 for format, file in network.files.items() if file.sha256} for network in networks
    )
    shared = hashes.keys() & other_hashes.keys()
    if shared:
        return all(hashes[name] == other_hashes[name] for name in shared)
    # The log loss of one network may differ in its last digits, by the order of additions.
    loss, other_loss = (network.scores.log_loss for network in networks)
    same_loss = loss == other_loss or isclose(loss or 0.0, other_loss or 0.0, rel_tol=1e-4)
    return same_loss and networks[0].cost.params == networks[1].cost.params


def _control(pool: _Pool, groups: Sequence[RunGroup], notes: list[str]) -> RunGroup:
    """One network a seed and fold: that of a dense run, else the one that most runs were pruned from."""
    dense_runs = [run for group in groups if group.role == "dense" for run in group.runs]
    chosen: list[ComparedRun] = []
    ambiguous: list[_SeedAndFold] = []
    for place, runs in sorted(pool.networks.items()):
        run = next((run for run in runs if any(run is dense for dense in dense_runs)), None) or _most_common(runs)
        chosen.append(run)
        if not all(same_network(run, other) for other in runs):
            ambiguous.append(place)
    if ambiguous:
        places = some(f"seed {seed}, fold {fold}" for seed, fold in ambiguous)
        notes.append(
            f"Runs were pruned from different dense networks of the same seed and fold ({places}); the control is the "
            "one that was run by itself, else the one most of them share."
        )
    return RunGroup(pool.settings, "dense", (*chosen, *(run for run in dense_runs if run.result is None)))


def _most_common(runs: Sequence[ComparedRun]) -> ComparedRun:
    """Of the runs that share the most common network, the one that has most files."""
    kinds: list[list[ComparedRun]] = []
    for run in runs:
        kind = next((kind for kind in kinds if same_network(kind[0], run)), None)
        if kind is None:
            kinds.append(kind := [])
        kind.append(run)
    most_common = max(kinds, key=len)
    return max(most_common, key=lambda run: len(run.result.files) if run.result else 0)
