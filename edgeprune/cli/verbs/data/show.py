"""`edgeprune data show`: log-mels of a few clips of each class, so that a wrong front-end is seen."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from tyro.conf import Positional

from edgeprune.cli.command import parse_command
from edgeprune.cli.output import check_plot
from edgeprune.console import say
from edgeprune.errors import EdgepruneError
from edgeprune.flags import Names
from edgeprune.recipe import Data, LogMel


def main(args: list[str]) -> int:
    """`data show NAME`: the front-end that flags change is a recipe's."""
    program = "edgeprune data show"
    command: ShowCommand = parse_command(ShowCommand, args, program)
    data, frontend, whose = _settings_of(command.name)
    default = replace(command, root=data.root, fold=data.fold, frontend=frontend)
    command = parse_command(ShowCommand, args, program, default=default)
    command.check()
    say(f"front-end: {'that of ' + whose if command.frontend == frontend else 'as the flags say'}")
    return command.show(replace(data, root=command.root, fold=command.fold))


@dataclass(frozen=True)
class ShowCommand:
    """Draw the log-mel of a few training clips of each class, as the network hears them."""

    name: Positional[str]
    """A name from `edgeprune data list`, the path of a card of your own, or a recipe (NAME, PATH.py or a run folder),
    whose data and front-end are taken."""
    root: Path | None = None
    """Folder of the data set; the synthetic scenes need none."""
    out: Path = Path("clips.png")
    """The .png or .svg file to write."""
    fold: int = 1
    """Fold whose training clips are shown."""
    per_class: int = 2
    """Clips of each class."""
    classes: Names = ()
    """Only these classes (default: all, up to 12)."""
    frontend: LogMel = field(default_factory=LogMel)
    """Front-end: that of the recipe, or of a recipe for this data set."""

    def check(self) -> None:
        check_plot(self.out)
        self.frontend.check()

    def show(self, data: Data) -> int:
        """Draw the clips of this data set."""
        from edgeprune.data.shown_clips import shown_clips
        from edgeprune.reporting.drawing import write_figure
        from edgeprune.reporting.logmel_figure import logmel_figure

        clips = shown_clips(data, self.frontend, self.per_class, self.classes)
        write_figure(logmel_figure(clips, self.frontend), self.out)
        say(f"{self.out}: {len(clips)} clips of {len({clip.label for clip in clips})} classes")
        return 0


def _settings_of(name: str) -> tuple[Data, LogMel, str]:
    """Data and front-end of a card or a recipe, and whose front-end it is.

    A card's front-end is that of a recipe for it, else the default one at the card's sample rate.
    """
    from edgeprune.data.cards import card_names, load_card
    from edgeprune.recipe_files import load_recipe, shipped_recipes

    if name in card_names() or name.endswith(".toml"):
        data = Data(name=name)
        recipes = [each.recipe for each in shipped_recipes() if each.recipe.data.name == name]
        if recipes:
            plainest = min(recipes, key=lambda recipe: (recipe.model.name != "dcase21", recipe.name))
            return data, plainest.frontend, f"the recipe {plainest.name}"
        rate = load_card(name).sample_rate
        return data, replace(LogMel(), sample_rate=rate or LogMel.sample_rate), "no recipe: the default one"
    try:
        recipe = load_recipe(name)
    except EdgepruneError as error:
        raise EdgepruneError(
            f"'{name}': is no data set (`edgeprune data list`) and no recipe (`edgeprune recipes`); check the name."
        ) from error
    return recipe.data, recipe.frontend, f"the recipe {recipe.name}"
