"""From arguments to a verb's dataclass: its fields are the flags; called, it does the work and gives the exit code."""

from collections.abc import Sequence
from typing import Any

EVERYWHERE = "Beside these flags: --quiet (only results), --debug (show tracebacks)."


def parse_command(command: type, args: Sequence[str], program: str, **options: Any) -> Any:
    """A verb's class with its flags; ends the program with 2 if one is wrong, with 0 after --help."""
    import tyro

    about = f"{command.__doc__}\n\n{EVERYWHERE}"
    config = (tyro.conf.FlagCreatePairsOff, tyro.conf.PositionalMetavarFromFieldName)
    return tyro.cli(command, args=args, prog=program, description=about, config=config, **options)
