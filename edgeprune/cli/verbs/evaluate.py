"""`edgeprune evaluate`: accuracy of an exported file or a run on a data set."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tyro.conf import OmitArgPrefixes, Positional

from edgeprune.cli.command import parse_command
from edgeprune.cli.file_description import FileDescription
from edgeprune.cli.output import only_results, print_json
from edgeprune.console import print_table
from edgeprune.errors import EdgepruneError
from edgeprune.recipe import Data
from edgeprune.reporting.numbers import format_decimal, format_exact, format_percent
from edgeprune.reporting.scores import score_rows


def main(args: list[str]) -> int:
    """`evaluate TARGET`: flags left out are those of the run that the target is or lies in."""
    program = "edgeprune evaluate"
    command: EvaluateCommand = parse_command(EvaluateCommand, args, program)
    data = command.default_data()
    if data is not None:
        default = replace(command, data=data, json=False)
        within: EvaluateCommand = parse_command(EvaluateCommand, args, program, default=default)
        # Another data set than the run's has another root and other folds: nothing of the run's fits it.
        command = within if within.data.name == data.name else command
    elif not any(arg.startswith("--data.") for arg in args):
        raise EdgepruneError(
            f"{command.target}: lies in no run folder, so say on which data to evaluate it, as --data.name NAME "
            "--data.root FOLDER."
        )
    return command()


@dataclass(frozen=True)
class EvaluateCommand:
    """Accuracy of an exported file, or of a run, on a data set's split."""

    target: Positional[str]
    """A .tflite file or a run folder."""
    data: Data = field(default_factory=Data)
    split: Literal["test", "train"] = "test"
    """Which part of the official split."""
    json: bool = False
    """Print JSON."""
    description: OmitArgPrefixes[FileDescription] = field(default_factory=FileDescription)
    """Of a file by others."""

    def default_data(self) -> Data | None:
        """The data of the run that the target is or lies in; None where it is in none."""
        target = Path(self.target)
        folder = target if target.is_dir() else target.parent
        if not (folder / "recipe.json").is_file():
            return None
        from edgeprune.recipe_files import load_recipe

        return load_recipe(str(folder)).data

    def __call__(self) -> int:
        from edgeprune.running.evaluate import evaluate

        with only_results():
            evaluation = evaluate(self.description.of(Path(self.target)), self.data, self.split)
        if self.json:
            print_json(evaluation.to_json())
            return 0
        scores = evaluation.scores
        rows = [*score_rows(scores), ("clips", format_exact(scores.clips))]
        print(f"{self.target} on {self.data.name}, {self.split}")
        print_table("", ("", ""), rows)
        for group, parts in scores.groups.items():
            columns: dict[str, Callable[[Any], str]] = {
                "clips": format_exact,
                "accuracy": format_percent,
                "log_loss": format_decimal,
            }
            if any(part.average_precision is not None for part in parts.values()):
                columns |= {"average_precision": format_percent, "d_prime": format_decimal}
            cells = [[show(getattr(part, name)) for name, show in columns.items()] for part in parts.values()]
            group_rows = [(name, *row) for name, row in zip(parts, cells, strict=True)]
            print_table("", (group, *(name.replace("_", " ") for name in columns)), group_rows)
        return 0
