"""Accuracies of the evidence grid, and the differences that answer its questions, from predictions alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from edgeprune.evaluation.statistics import crossed_bootstrap, holm

LEADING = ("operator_norm", "stand_in")
"""The criteria that are compared with every control."""
CONTROLS = {
    "dense": "dense",
    "dense-continued": "dense-continued",
    "scratch": "{share}-scratch",
    "distilled_scratch": "{share}-distilled_scratch",
}


class Comparison(NamedTuple):
    """One row of a question: network `a` minus network `b`; `{share}` stands for the share of the filters."""

    label: str
    a: str
    b: str


@dataclass(frozen=True)
class Answers:
    """What the networks of one data set decided, pooled over folds: every clip is evaluated once a seed.

    Attributes:
        recordings: of each clip, `[clips]`.
        right: by network and seed whether each clip was decided rightly, `[clips]`; seeds that lack folds are left out.
        log_loss: by network, over the same seeds.
    """

    recordings: list[str]
    right: dict[str, dict[int, Any]]
    log_loss: dict[str, float]

    @classmethod
    def of(cls, table: pd.DataFrame) -> "Answers":
        """From the rows of one data set."""
        table = table.assign(right=table["label"] == table["predicted"])
        wide = table.pivot(index=["network", "seed"], columns=["fold", "clip"], values=["right", "log_probability"])
        wide = wide.dropna().sort_index()
        recordings = table.drop_duplicates(["fold", "clip"]).set_index(["fold", "clip"])["recording"]
        right: dict[str, dict[int, Any]] = {}
        for (network, seed), row in wide["right"].iterrows():
            right.setdefault(network, {})[seed] = row.to_numpy(dtype=bool)
        losses = -wide["log_probability"].astype(float).mean(axis=1).groupby("network").mean()
        return cls(recordings.loc[wide["right"].columns].tolist(), right, losses.to_dict())

    def accuracy(self, network: str) -> dict[str, Any]:
        """Accuracy over all seeds, its interval over recordings and seeds, and the accuracy of each seed."""
        rows = np.stack(list(self.right[network].values()))
        found = crossed_bootstrap(rows, np.zeros_like(rows), self.recordings)
        return {
            "seeds": list(self.right[network]),
            "accuracy": found.difference,
            "interval": [found.low, found.high],
            "by_seed": rows.mean(axis=1).tolist(),
            "log_loss": self.log_loss[network],
        }

    def difference(self, a: str, b: str) -> dict[str, Any] | None:
        """Accuracy of network `a` minus that of `b` over the seeds that both have; None where there are none."""
        own, other = self.right.get(a, {}), self.right.get(b, {})
        seeds = sorted(own.keys() & other.keys())
        if not seeds:
            return None
        rows = [np.stack([networks[seed] for seed in seeds]) for networks in (own, other)]
        found = crossed_bootstrap(*rows, self.recordings)
        by_seed = (rows[0].astype(int) - rows[1]).mean(axis=1).tolist()
        interval = [found.low, found.high]
        return {
            "seeds": seeds,
            "difference": found.difference,
            "interval": interval,
            "by_seed": by_seed,
            "p": found.p_value,
        }


def pruned_networks(networks: Iterable[str]) -> tuple[list[str], list[str]]:
    """The shares, largest first, and the criteria, the operator norm first, that networks were pruned with."""
    parts = [name.split("-") for name in networks if name.count("-") >= 2]
    shares = sorted({share for share, *_ in parts}, key=float, reverse=True)
    criteria = sorted({criterion for _, criterion, *_ in parts}, key=lambda name: (name != LEADING[0], name))
    return shares, criteria


def questions(criteria: Sequence[str]) -> dict[str, list[Comparison]]:
    """The comparisons by question; p-values are corrected for the number of comparisons within a question."""
    leading = [criterion for criterion in LEADING if criterion in criteria]

    def against(a: str, b: str, names: Sequence[str] = criteria) -> list[Comparison]:
        """Treatment `a` of each criterion minus a control, or minus another treatment of the same criterion."""
        return [
            Comparison(f"`{name}` {a} - {b}", f"{{share}}-{name}-{a}", CONTROLS.get(b, f"{{share}}-{name}-{b}"))
            for name in names
        ]

    return {
        "One shot: what does reconstruction repair?": [
            *against("reconstructed", "cut"),
            *against("reconstructed", "dense"),
            *against("reconstructed-int8", "dense", leading),
        ],
        "Fine-tuned: is anything lost, and is pruning better than training the small network?": [
            *against("finetuned", "dense"),
            *(row for control in list(CONTROLS)[1:] for row in against("finetuned", control, leading)),
            *(row for control in CONTROLS for row in against("finetuned-int8", control, leading)),
            *against("finetuned-int8", "finetuned", leading),
        ],
        "Does it matter how filters are judged?": [
            Comparison(
                f"`{LEADING[0]}` - `{name}`, {treatment}",
                f"{{share}}-{LEADING[0]}-{treatment}",
                f"{{share}}-{name}-{treatment}",
            )
            for treatment in ("cut", "reconstructed", "finetuned")
            for name in criteria
            if name != LEADING[0]
        ],
        "Does fine-tuning gain by starting from a reconstructed network?": [
            *against("finetuned", "cut_finetuned", leading),
            *against("finetuned_quarter", "cut_finetuned", leading),
            *against("finetuned_quarter", "finetuned"),
        ],
    }


def summarise(table: pd.DataFrame) -> dict[str, Any]:
    """`{sets: {SET: {clips, recordings, folds, networks}}, questions: {QUESTION: rows}}`, plain values.

    A row of a question is `{label, set, share, seeds, difference, interval, by_seed, p, p_corrected}`.
    """
    answers = {name: Answers.of(table[table["set"] == name]) for name in sorted(table["set"].unique(), reverse=True)}
    sets = {
        name: {
            "clips": len(of_set.recordings),
            "recordings": len(set(of_set.recordings)),
            "folds": int(table.loc[table["set"] == name, "fold"].nunique()),
            "networks": {network: of_set.accuracy(network) for network in of_set.right},
        }
        for name, of_set in answers.items()
    }
    shares, criteria = pruned_networks(table["network"].unique())
    found = {question: _compared(comparisons, answers, shares) for question, comparisons in questions(criteria).items()}
    return {"sets": sets, "questions": {question: rows for question, rows in found.items() if rows}}


def _compared(
    comparisons: Sequence[Comparison], answers: dict[str, Answers], shares: Sequence[str]
) -> list[dict[str, Any]]:
    rows = []
    for label, a, b in comparisons:
        for name, of_set in answers.items():
            for share in shares:
                found = of_set.difference(a.format(share=share), b.format(share=share))
                if found is not None:
                    rows.append({"label": label, "set": name, "share": share, **found})
    corrected = holm([row["p"] for row in rows])
    return [{**row, "p_corrected": float(p)} for row, p in zip(rows, corrected, strict=True)]
