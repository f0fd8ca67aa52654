"""The tables of the evidence grid, for a terminal or a document."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from evidence_summary import pruned_networks

SET_NAMES = {"tut2017": "TUT 2017", "esc10": "ESC-10"}
SHARE_NAMES = {"0.5": "half", "0.25": "a quarter"}
TREATMENTS = {
    "cut": "cut only",
    "reconstructed": "reconstructed",
    "reconstructed-int8": "reconstructed, int8",
    "cut_finetuned": "fine-tuned, not reconstructed",
    "finetuned_quarter": "fine-tuned, a quarter of the epochs",
    "finetuned": "fine-tuned",
    "finetuned-int8": "fine-tuned, int8",
}
WORDS = {
    "finetuned_quarter": "fine-tuned for a quarter",
    "cut_finetuned": "fine-tuned, not reconstructed",
    "finetuned-int8": "fine-tuned int8",
    "reconstructed-int8": "reconstructed int8",
    "finetuned": "fine-tuned",
    "dense-continued": "dense continued",
    "distilled_scratch": "scratch with teacher",
}
"""How a comparison's label calls a network."""
SIGNIFICANT = 0.05


class Table(NamedTuple):
    title: str
    columns: list[str]
    rows: list[list[str]]


def tables(summary: dict[str, Any]) -> Iterator[Table]:
    """Controls, accuracies of each set, and a table for each question."""
    yield _controls(summary["sets"])
    for name, of_set in summary["sets"].items():
        if pruned_networks(of_set["networks"])[0]:
            yield _accuracies(name, of_set)
    for question, rows in summary["questions"].items():
        yield _differences(question, rows)


def as_markdown(table: Table) -> str:
    lines = [f"**{table.title}**", "", "| " + " | ".join(table.columns) + " |"]
    lines.append("|---|" + "---:|" * (len(table.columns) - 1))
    lines += ["| " + " | ".join(row) + " |" for row in table.rows]
    return "\n".join(lines) + "\n"


def set_name(name: str) -> str:
    return SET_NAMES.get(name, name)


def share_name(share: str) -> str:
    return SHARE_NAMES.get(share, share)


def _controls(sets: dict[str, Any]) -> Table:
    names = list(dict.fromkeys(name for of_set in sets.values() for name in of_set["networks"]))
    shown = [name for name in names if name.startswith("dense") or name.endswith("scratch")]
    shown.sort(key=lambda name: (not name.startswith("dense"), -float(name.split("-")[0]) if name[0] == "0" else 0))
    columns = [column for name in sets for column in (f"{set_name(name)}, accuracy, %", "by seed", "log loss")]
    rows = []
    for name in shown:
        row = [_control_name(name)]
        for of_set in sets.values():
            found = of_set["networks"].get(name)
            by_seed = "" if found is None else ", ".join(f"{100 * value:.1f}" for value in found["by_seed"])
            row += [_accuracy(found), by_seed, "" if found is None else f"{found['log_loss']:.3f}"]
        rows.append(row)
    return Table("Dense networks, and small ones that were never pruned", ["network", *columns], rows)


def _control_name(name: str) -> str:
    share, _, kind = name.partition("-")
    if share == "dense":
        return "dense" + f", {kind}" * bool(kind)
    return f"{share_name(share)}, {'from scratch' if kind == 'scratch' else 'from scratch, same teacher'}"


def _accuracies(name: str, of_set: dict[str, Any]) -> Table:
    """A row a share and treatment, a column a criterion."""
    networks = of_set["networks"]
    shares, criteria = pruned_networks(networks)
    rows = []
    for share in shares:
        for treatment, words in TREATMENTS.items():
            cells = [_accuracy(networks.get(f"{share}-{criterion}-{treatment}"), of_set) for criterion in criteria]
            if any(cells):
                rows.append([f"{share_name(share)}, {words}", *cells])
    folds, seeds = of_set["folds"], _most_seeds(networks.values())
    title = (
        f"{set_name(name)}, {of_set['clips']} clips of {of_set['recordings']} recordings, "
        f"{folds} fold{'s' * (folds != 1)}, {seeds} seed{'s' * (seeds != 1)}: accuracy, %"
    )
    return Table(title, ["filters kept", *(f"`{criterion}`" for criterion in criteria)], rows)


def _differences(question: str, rows: Sequence[dict[str, Any]]) -> Table:
    """A row a comparison, a column a set and share; bold where the corrected p-value is below 0.05."""
    places = list(dict.fromkeys((row["set"], row["share"]) for row in rows))
    most = {name: _most_seeds([row for row in rows if row["set"] == name]) for name, _ in places}
    found = {(row["label"], row["set"], row["share"]): row for row in rows}
    body = [
        [
            " ".join(WORDS.get(word, word) for word in label.split(" ")),
            *(_difference(found.get((label, *place)), most[place[0]]) for place in places),
        ]
        for label in dict.fromkeys(row["label"] for row in rows)
    ]
    columns = [f"{set_name(name)}, {share_name(share)}" for name, share in places]
    return Table(f"{question} Points; {len(rows)} comparisons", ["difference", *columns], body)


def _accuracy(found: dict[str, Any] | None, of_set: dict[str, Any] | None = None) -> str:
    if found is None:
        return ""
    low, high = found["interval"]
    fewer = "" if of_set is None else _fewer(found, _most_seeds(of_set["networks"].values()))
    return f"{100 * found['accuracy']:.1f} ({100 * low:.0f} to {100 * high:.0f}){fewer}"


def _difference(row: dict[str, Any] | None, most: int) -> str:
    if row is None:
        return ""
    value, low, high = (100 * number for number in (row["difference"], *row["interval"]))
    bold = "**" if row["p_corrected"] < SIGNIFICANT else ""
    return f"{bold}{value:+.1f}{bold} ({low:+.1f} to {high:+.1f}){_fewer(row, most)}"


def _fewer(found: dict[str, Any], most: int) -> str:
    """The number of seeds in square brackets, where others have more."""
    return "" if len(found["seeds"]) == most else f" [{len(found['seeds'])}]"


def _most_seeds(found: Any) -> int:
    return max(len(each["seeds"]) for each in found)
