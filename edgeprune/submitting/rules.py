"""The complexity limits of DCASE Task 1 by year, and how a network stands to them; rules.toml holds the limits.

    check_rules("dcase2022", cost(make_spec("dcase21", 10, (1, 40, 51))))

A verdict keeps to the safe side: what cannot be known is not passed, and where two readings of a rule are possible the
stricter one counts and the verdict names the other. docs/counting.md compares the counts with those of NeSsi, torchinfo
and Keras.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeprune.errors import EdgepruneError, unknown_name
from edgeprune.files import read_toml
from edgeprune.graph.cost import Cost

BITS = (8, 16, 32)
"""Stored types of weights: int8 (with int32 biases), float16, float32."""


@dataclass(frozen=True)
class Rule:
    """One limit: at most `limit` `unit`, for the whole network or for one `per`; rules.toml explains `counts`."""

    key: str
    counts: Literal["params", "bytes", "nonzero_bytes", "macs", "bits"]
    limit: int
    unit: str
    per: str = "network"


@dataclass(frozen=True)
class Rules:
    """The limits of one year's task. What is classified is `segment_s` seconds long."""

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


RULES: Mapping[str, Rules] = {
    name: Rules(name, **year | {"rules": tuple(Rule(**rule) for rule in year["rules"])})
    for name, year in read_toml(Path(__file__).with_name("rules.toml")).items()
}


def find_rules(name: str) -> Rules:
    """The rules of that name."""
    if name not in RULES:
        raise unknown_name("rules", name, RULES)
    return RULES[name]


def check_rules(
    name: str, cost: Cost, bits: int = 8, nonzero_params: int | None = None, input_s: float | None = None
) -> list[Verdict]:
    """Judge a network by the rules of a year: one verdict a rule, in their order.

    Args:
        name: a key of `RULES`.
        bits: of a stored weight; one of `BITS`.
        nonzero_params: how many parameters are not zero; None: not known, and all are taken for non-zero.
        input_s: seconds of audio the network sees at once; None: one segment as the task classifies it.
    """
    rules = find_rules(name)
    _check(bits, input_s)
    if nonzero_params is not None and not 0 <= nonzero_params <= cost.params:
        raise EdgepruneError(f"nonzero_params must lie between 0 and the {cost.params:,} parameters.")
    verdicts = []
    for rule in rules.rules:
        if rule.counts == "bits":
            how = f"{bits} bits, as the file will be stored; the type is fixed"
            verdicts.append(Verdict(rule.key, rule.limit, bits, bits == rule.limit, how, rules.source))
            continue
        if rule.counts == "macs":
            counted, how = _macs(rule, cost, rules.segment_s, input_s)
        elif rule.counts == "params":
            counted, how = cost.params, "parameters that ship: batch norm folded, biases and zeros included"
            if cost.flash_bytes > rule.limit >= cost.params:
                how += f"; the organisers' NeSsi reports bytes of the int8 file, {cost.flash_bytes:,}, which is above"
        else:
            counted, how = _bytes(rule, cost, bits, nonzero_params)
        passed: bool | None = counted <= rule.limit
        if cost.unknown:
            # What is known may already be too much; otherwise nothing can be promised.
            passed = None if passed else False
            how += f"; without the cost of operators that is not known: {', '.join(cost.unknown)}"
        verdicts.append(Verdict(rule.key, rule.limit, counted, passed, how, rules.source))
    return verdicts


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
                raise EdgepruneError(f"{name} allows {rule.limit}-bit parameters only; use bits={rule.limit}.")
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
    """Network inputs that cover one segment; at least one, since an inference cannot be cut."""
    return 1 if input_s is None else max(1, math.ceil(segment_s / input_s - 1e-9))


def _bytes(rule: Rule, cost: Cost, bits: int, nonzero: int | None) -> tuple[int, str]:
    """Bytes of the parameters as stored, and how they were counted; biases of int8 files are int32."""
    sparse = rule.counts == "nonzero_bytes"
    kept = nonzero if sparse and nonzero is not None else cost.params
    plain = kept * bits // 8
    # Three more bytes a bias; where few parameters are left, all of them may be biases.
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


def _macs(rule: Rule, cost: Cost, segment_s: float, input_s: float | None) -> tuple[int, str]:
    """MACs that one segment takes, and how they were counted."""
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
    if abs(counted - rule.limit) <= 0.01 * rule.limit:
        how += "; so close to the limit another counter may differ (NeSsi adds pooling, torchinfo biases)"
    return counted, how
