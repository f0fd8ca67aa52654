"""The label of a submission: surname, institute, task, and number of the system."""

import re
import unicodedata
from dataclasses import dataclass

from edgeprune.errors import EdgepruneError

SYSTEMS = 4
"""The most systems a participant may submit to a task."""
ABBREVIATION = 10
"""The most characters of a system's abbreviated name."""
EXAMPLE = "Surname_INST_task1_1"
# Safe in file names on every system. The validators split file names at dots and labels at underscores.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")


@dataclass(frozen=True)
class Label:
    """`[surname]_[institute]_[task]_[number]` of the corresponding author, as the challenge's instructions say."""

    surname: str
    institute: str
    task: str
    number: int

    def __str__(self) -> str:
        return f"{self.team}_{self.number}"

    @property
    def team(self) -> str:
        """The label without the number of the system."""
        return f"{self.surname}_{self.institute}_{self.task}"


def parse_label(text: str, task: str) -> Label:
    """Read a label; one that does not follow the instructions is refused."""
    parts = text.split("_") if isinstance(text, str) else []
    wrong = ""
    if len(parts) != 4:
        wrong = f"has {len(parts)} parts between underscores and not 4"
    elif not _NAME.fullmatch(parts[0]) or not _NAME.fullmatch(parts[1]):
        wrong = "has a surname or an institute with other characters than letters without accents, digits and hyphens"
    elif parts[2] != task:
        wrong = f"is for '{parts[2]}' and not for {task}"
    elif parts[3] not in {str(number) for number in range(1, SYSTEMS + 1)}:
        wrong = f"ends with '{parts[3]}' and not with the number of the system, 1 to {SYSTEMS}"
    if wrong:
        raise EdgepruneError(f"label {text!r} {wrong}; write it like {EXAMPLE.replace('task1', task)}.")
    return Label(parts[0], parts[1], parts[2], int(parts[3]))


def check_name(name: str, abbreviation: str) -> None:
    """Refuse names of a system that do not fit the tables of results."""
    for what, value in (("name", name), ("abbreviation", abbreviation)):
        if not isinstance(value, str) or any(unicodedata.category(letter)[0] == "C" for letter in value):
            raise EdgepruneError(f"submission.{what}: {value!r} is not one line of text; write a short name.")
    if len(abbreviation) > ABBREVIATION:
        raise EdgepruneError(
            f"submission.abbreviation: '{abbreviation}' has {len(abbreviation)} characters; use at most {ABBREVIATION}."
        )


def is_of(part: str, text: str) -> bool:
    """Whether a part of a label may stand for a name; accents, case, spaces and hyphens do not count."""

    def plain(value: str) -> str:
        letters = unicodedata.normalize("NFKD", value).casefold()
        return "".join(letter for letter in letters if letter.isascii() and letter.isalnum())

    return plain(part) in plain(text) or plain(text) in plain(part)
