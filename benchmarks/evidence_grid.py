"""The networks of the evidence grid: their names, and the order in which they are made."""

from collections.abc import Sequence
from dataclasses import dataclass

SETS = {"tut2017": ("tut2017_dcase21", 4), "esc10": ("esc10_dcase21", 5)}
"""By data set, the recipe and how many folds there are."""
STAGES = (
    "dense",
    "oneshot",
    "finetune",
    "int8",
    "finetune_quarter",
    "scratch",
    "distilled_scratch",
    "continued",
    "finetune_cut",
)
"""What is made one after the other; `network_names` has the networks of each stage."""


@dataclass(frozen=True)
class Choices:
    """What the grid spans.

    Attributes:
        shares: of each layer's filters that are kept.
        criteria: how filters are judged.
        main: those whose networks are also fine-tuned without reconstruction, and exported as int8 files.
    """

    shares: Sequence[float]
    criteria: Sequence[str]
    main: Sequence[str]


@dataclass(frozen=True)
class Cell:
    """One network on one fold with one seed."""

    data_set: str
    seed: int
    fold: int
    network: str


def network_names(stage: str, choices: Choices) -> list[str]:
    """`dense`, `dense-continued`, `SHARE-scratch`, `SHARE-distilled_scratch`, `SHARE-CRITERION-TREATMENT`.

    Files end in `-int8`, as `dense-int8`.
    """
    if stage == "dense":
        return ["dense"]
    if stage == "continued":
        return ["dense-continued"]
    if stage in ("scratch", "distilled_scratch"):
        return [f"{share:g}-{stage}" for share in choices.shares]
    treatments = {
        "oneshot": ("cut", "reconstructed"),
        "finetune": ("finetuned",),
        "finetune_quarter": ("finetuned_quarter",),
        "finetune_cut": ("cut_finetuned",),
        "int8": ("reconstructed-int8", "finetuned-int8"),
    }[stage]
    criteria = choices.main if stage in ("finetune_cut", "int8") else choices.criteria
    pruned = [
        f"{share:g}-{criterion}-{treatment}"
        for share in choices.shares
        for criterion in criteria
        for treatment in treatments
    ]
    return ["dense-int8", *pruned] if stage == "int8" else pruned


def needed_for(network: str) -> str | None:
    """The network that must be there before this one can be made."""
    if network.endswith("-int8"):
        return network.removesuffix("-int8")
    return None if network == "dense" else "dense"


def cells(
    sets: Sequence[str], seeds: Sequence[int], folds: Sequence[int], stages: Sequence[str], choices: Choices
) -> list[Cell]:
    """All cells, by seed, then stage, then fold: what is stopped at any time has whole seeds. No folds: all of them."""
    return [
        Cell(data_set, seed, fold, network)
        for seed in seeds
        for stage in stages
        for data_set in sets
        for fold in folds or range(1, SETS[data_set][1] + 1)
        for network in network_names(stage, choices)
    ]
