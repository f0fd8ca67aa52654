"""What verbs print: results to standard output, as tables or JSON; everything else to standard error."""

import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from edgeprune.console import print_table
from edgeprune.errors import EdgepruneError
from edgeprune.files import to_jsonable
from edgeprune.reporting.numbers import format_exact

if TYPE_CHECKING:
    from edgeprune.submitting.rules import Verdict


def print_json(value: Any) -> None:
    """Print `value` to standard output as strict JSON."""
    print(json.dumps(value, indent=2, default=to_jsonable, allow_nan=False))


def only_results() -> redirect_stdout[TextIO]:
    """Keep what libraries print out of standard output, which is for results."""
    return redirect_stdout(sys.stderr)


def check_plot(path: Path | None) -> None:
    """Refuse a plot whose file has an ending that no plot is written in."""
    if path is not None and path.suffix not in (".svg", ".png"):
        raise EdgepruneError(f"{path}: a plot is written as .svg or .png; give it one of these endings.")


def judged(rules: str, verdicts: "Sequence[Verdict]") -> dict[str, Any]:
    """The verdicts as JSON values."""
    return {"name": rules, "verdicts": [asdict(verdict) for verdict in verdicts]}


def print_verdicts(rules: str, verdicts: "Sequence[Verdict]") -> None:
    """A row for each rule, how it was counted, and where it is from."""
    rows = [(v.rule, *map(format_exact, (v.limit, v.counted)), v.word, v.how) for v in verdicts]
    print_table(f"rules of {rules}", ("rule", "limit", "counted", "", "how"), rows)
    for source in dict.fromkeys(verdict.source for verdict in verdicts):
        print(f"Source: {source}")
