"""`edgeprune evaluate`: accuracy of an exported file or a run on a data set."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from edgeprune.cli.command import parse_command
from edgeprune.cli.output import only_results, print_json
from edgeprune.console import print_table
from edgeprune.recipe import Data
from edgeprune.reporting.numbers import format_decimal, format_exact, format_interval, format_percent


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
            evaluation = evaluate(self.target, self.data, self.split)
        if self.json:
            print_json(evaluation.to_json())
            return 0
        scores = evaluation.scores
        rows = [
            ("accuracy", format_percent(scores.accuracy)),
            ("95 % interval", format_interval(scores.interval)),
            ("macro accuracy", format_percent(scores.macro_accuracy)),
            ("log loss", format_decimal(scores.log_loss)),
            ("clips", format_exact(scores.clips)),
        ]
        print(f"{self.target} on {self.data.name}, {self.split}")
        print_table("", ("", ""), rows)
        for group, parts in scores.groups.items():
            group_rows = [
                (name, format_exact(part.clips), format_percent(part.accuracy), format_decimal(part.log_loss))
                for name, part in parts.items()
            ]
            print_table("", (group, "clips", "accuracy", "log loss"), group_rows)
        return 0
