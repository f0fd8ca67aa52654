"""The complexity limits of DCASE Task 1, year by year, as the organisers count them.

    check_rules("dcase2022", cost(make_spec("dcase21", 10, (1, 40, 51))))

A verdict keeps to the safe side: what cannot be known is not passed, and where two readings of a rule are possible the
stricter one counts and the verdict names the other. `Rules.source` and `Rules.note` give the sources and what was
verified in them.
How the counts relate to those of NeSsi, torchinfo and Keras: docs/counting.md.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from edgeprune.errors import EdgepruneError, unknown_name

if TYPE_CHECKING:
    from edgeprune.graph.cost import Cost

BITS = (8, 16, 32)
"""Stored types of weights: int8 (with int32 biases), float16, float32."""

_CLOSE = 0.01  # Share of a MAC limit within which another counter may decide otherwise.


@dataclass(frozen=True)
class Rule:
    """One limit: at most `limit` `unit`, for the whole network or for one `per`."""

    key: str
    counts: Literal["params", "bytes", "nonzero_bytes", "macs", "bits"]
    """Which figure is limited: folded parameters, zeros included; bytes of parameters as stored, all or the non-zero
    ones; MACs of convolutions and dense layers; bits of the stored type, which must be exactly the limit."""
    limit: int
    unit: str
    per: str = "network"


@dataclass(frozen=True)
class Rules:
    """The limits of one year's task; `segment_s` is the length in seconds of what is classified."""

    name: str
    segment_s: float
    rules: tuple[Rule, ...]
    source: str
    note: str
    """What was verified in which text, and what was not."""


@dataclass(frozen=True)
class Verdict:
    """How a network stands to one rule; `passed` is None where it cannot be decided, and `how` gives the reason."""

    rule: str
    limit: int
    counted: int
    passed: bool | None
    how: str
    source: str

    @property
    def word(self) -> str:
        """passed, failed or unknown."""
        return {True: "passed", False: "failed", None: "unknown"}[self.passed]


def _second_of_audio() -> Rule:
    return Rule("macs", "macs", 30_000_000, "multiply-accumulates", per="inference of a 1-s segment")


_PAGE = "https://dcase.community/challenge"
RULES: Mapping[str, Rules] = {
    "dcase2021": Rules(
        "dcase2021",
        10.0,
        (Rule("size", "nonzero_bytes", 128_000, "bytes of non-zero parameters"),),
        f"DCASE 2021 Challenge, Task 1A, {_PAGE}2021/task-acoustic-scene-classification",
        "Limit, non-zero parameters and bytes by stored type: the baseline's README and model_size_calculation.py "
        "(github.com/marmoi/dcase2021_task1a_baseline), which counts every layer of the network, the first too, biases "
        "and, if not folded, batch norm. 128 KB: its README reckons 32,000 x 4 bytes = 128,000; its tool prints KB of "
        "1,024 bytes, so up to 131,072 may have been let pass. The task page itself was not read. No MAC limit found.",
    ),
    "dcase2022": Rules(
        "dcase2022",
        1.0,
        (
            Rule("parameters", "params", 128_000, "parameters, zeros included"),
            _second_of_audio(),
            Rule("type", "bits", 8, "bits a parameter, exactly"),
        ),
        f"DCASE 2022 Challenge, Task 1, {_PAGE}2022/task-low-complexity-acoustic-scene-classification",
        "All limits: the baseline's README (github.com/marmoi/dcase2022_task1_baseline) and the abstract of "
        "Martin-Morato et al., DCASE 2022, arXiv 2206.03835. That abstract calls the baseline's 46,512 parameters; the "
        "README shows them as NeSsi's bytes. The task page itself was not read.",
    ),
    "dcase2023": Rules(
        "dcase2023",
        1.0,
        (Rule("memory", "bytes", 128_000, "bytes of parameters"), _second_of_audio()),
        f"DCASE 2023 Challenge, Task 1, {_PAGE}2023/task-low-complexity-acoustic-scene-classification",
        "Verified on the opening of the task page: a changed memory limit, ranking by accuracy, memory and MACs. The "
        "figures themselves (128 kB, 30 million MACs, free choice of type) were not found in a text of that year; "
        "2024, which continues the task, has them.",
    ),
    "dcase2024": Rules(
        "dcase2024",
        1.0,
        (Rule("memory", "bytes", 128_000, "bytes of parameters"), _second_of_audio()),
        f"DCASE 2024 Challenge, Task 1, {_PAGE}2024/task-data-efficient-low-complexity-acoustic-scene-classification",
        "Limits: the baseline's README and helpers/nessi.py (github.com/CPJKU/dcase2024_task1_baseline), with 128,000 "
        "bytes and 61,148 parameters x 16 bits = 122,296 bytes as the example. The same for all five training subsets "
        "(5, 10, 25, 50, 100 %).",
    ),
}


def find_rules(name: str) -> Rules:
    """The rules of that name."""
    if name not in RULES:
        raise unknown_name("rules", name, RULES)
    return RULES[name]


def check_rules(
    name: str, cost: "Cost", bits: int = 8, nonzero_params: int | None = None, input_s: float | None = None
) -> list[Verdict]:
    """Judge a network by the rules of a year.

    Args:
        name: a key of `RULES`.
        bits: of the type that weights are stored as: 8 (with int32 biases), 16 or 32.
        nonzero_params: how many parameters are not zero, where known; all are taken for non-zero otherwise.
        input_s: seconds of audio the network sees at once; None: one segment as the task classifies it.

    Returns:
        one verdict a rule, in the order of the rules.
    """
    rules = find_rules(name)
    _check(bits, input_s)
    if nonzero_params is not None and not 0 <= nonzero_params <= cost.params:
        raise EdgepruneError(f"nonzero_params must lie between 0 and the {cost.params:,} parameters.")
    return [_verdict(rule, rules, cost, bits, nonzero_params, input_s) for rule in rules.rules]


def limits(name: str, bits: int = 8, input_s: float | None = None) -> dict[str, int]:
    """Rules as limits of a `Budget` (`params`, `macs`, `flash`): a network within them passes `check_rules`.

    A limit of bytes becomes `flash` at 8 bits, which is those bytes exactly (biases take four each), and `params` at
    16 and 32 bits, where every parameter takes the same.
    """
    rules = find_rules(name)
    _check(bits, input_s)
    budget: dict[str, int] = {}
    for rule in rules.rules:
        if rule.counts == "bits":
            if bits != rule.limit:
                raise EdgepruneError(
                    f"{name} allows {rule.limit}-bit parameters only, not {bits}; use bits={rule.limit}."
                )
        elif rule.counts == "macs":
            budget["macs"] = rule.limit // _inferences(rules.segment_s, input_s)
        elif rule.counts == "params":
            budget["params"] = rule.limit
        elif bits == 8:
            budget["flash"] = rule.limit
        else:
            budget["params"] = rule.limit * 8 // bits
    return budget


def _check(bits: int, input_s: float | None) -> None:
    if bits not in BITS:
        raise EdgepruneError(f"bits must be one of {', '.join(map(str, BITS))}, not {bits}.")
    if input_s is not None and not 0 < input_s < math.inf:
        raise EdgepruneError(f"input_s is a length in seconds above 0, not {input_s}.")


def _inferences(segment_s: float, input_s: float | None) -> int:
    """Network inputs it takes to cover one segment; at least one, since an inference cannot be cut."""
    return 1 if input_s is None else max(1, math.ceil(segment_s / input_s - 1e-9))


def _verdict(rule: Rule, rules: Rules, cost: "Cost", bits: int, nonzero: int | None, input_s: float | None) -> Verdict:
    if rule.counts == "bits":
        how = f"{bits} bits, as the file will be stored; the type is fixed"
        return Verdict(rule.key, rule.limit, bits, bits == rule.limit, how, rules.source)
    if rule.counts == "macs":
        counted, how = _macs(rule, cost, rules.segment_s, input_s)
    elif rule.counts == "params":
        counted, how = _params(rule, cost)
    else:
        counted, how = _bytes(rule, cost, bits, nonzero)
    passed: bool | None = counted <= rule.limit
    if cost.unknown:
        # What is known may already be too much; otherwise nothing can be promised.
        passed = None if passed else False
        how += f"; without the cost of operators that is not known: {', '.join(cost.unknown)}"
    return Verdict(rule.key, rule.limit, counted, passed, how, rules.source)


def _params(rule: Rule, cost: "Cost") -> tuple[int, str]:
    how = "parameters that ship: batch norm folded, biases and zeros included"
    if cost.flash_bytes > rule.limit >= cost.params:
        how += f"; the organisers' NeSsi reports bytes of the int8 file, {cost.flash_bytes:,}, which is above"
    return cost.params, how


def _bytes(rule: Rule, cost: "Cost", bits: int, nonzero: int | None) -> tuple[int, str]:
    """Bytes of the parameters as stored; in int8 files biases are int32."""
    sparse = rule.counts == "nonzero_bytes"
    kept = nonzero if sparse and nonzero is not None else cost.params
    plain = kept * bits // 8
    # Three more bytes a bias; where few are left, all of them may be biases.
    biases = min(max(0, cost.flash_bytes - cost.params), 3 * kept) if bits == 8 else 0
    if not sparse:
        which = "all parameters"
    elif nonzero is None:
        which = "all parameters, taken for non-zero"
    else:
        which = f"{nonzero:,} non-zero parameters of {cost.params:,}"
    how = f"{which}, {bits // 8} B each" + (", int32 biases 4 B" if biases else "") + "; batch norm folded"
    counted = plain + biases
    if plain <= rule.limit < counted:
        how += f"; with one byte a bias it would be {plain:,}, within the limit"
    if sparse and rule.limit < counted <= 128 * 1024:
        how += "; within 128 KB of 1,024 bytes"
    return counted, how


def _macs(rule: Rule, cost: "Cost", segment_s: float, input_s: float | None) -> tuple[int, str]:
    """MACs it takes to classify one segment."""
    times = _inferences(segment_s, input_s)
    counted = cost.macs * times
    how = f"convolutions and dense layers, a {segment_s:g}-s segment"
    if input_s is not None and times > 1:
        how += f" covered by {times} inputs of {input_s:g} s"
    elif input_s is not None and input_s > 1.05 * segment_s:
        share = round(cost.macs * segment_s / input_s)
        how += (
            f" padded to the {input_s:g} s of the input takes a whole inference (built for {segment_s:g} s the network "
            f"would need about {share:,})"
        )
    if abs(counted - rule.limit) <= _CLOSE * rule.limit:
        how += "; so close to the limit another counter may differ (NeSsi adds pooling, torchinfo biases)"
    return counted, how
