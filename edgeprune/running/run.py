"""A run from its recipe to its result, stage by stage.

Every stage leaves whole files in the run folder and is skipped where they are there. A run that was killed goes on
where it stopped and ends with the same result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeprune import console
from edgeprune.models.checkpoint import Checkpoint
from edgeprune.recipe import Recipe
from edgeprune.results.result import NetworkName, Result
from edgeprune.results.run_folder import RunFolder
from edgeprune.running.check import check

if TYPE_CHECKING:
    from edgeprune.data.run_data import FoundData


def run(recipe: Recipe) -> Result:
    """Do or resume everything a recipe says, and return what the run folder's `result.json` holds.

        result = run(Recipe(name="mine", budget=Budget(macs=10_000_000)))
        result.networks["pruned"].files["int8"].scores.accuracy

    Raises:
        EdgepruneError: the recipe or its data cannot be used, or another process works in the folder.
        OtherRecipeError: the folder holds another recipe's run.
        InfeasibleBudgetError: no allocation meets the budget.
        CheckFailedError: an exported file does not compute what its network does, or exceeds the budget.
    """
    check(recipe)
    begun = RunFolder(recipe.folder())
    found = None
    if not begun.is_done:
        from edgeprune.running.check_start import check_start  # imports PyTorch, which a finished run needs not

        found = check_start(recipe, begun)
    with RunFolder.open(recipe) as folder:
        if found is None or folder.is_done:
            console.say(f"{folder.path}: this run is done; its result is read, nothing is computed again")
            return folder.result()
        return run_stages(recipe, found, folder)


def run_stages(recipe: Recipe, found: FoundData, folder: RunFolder) -> Result:
    """The stages of a run in a folder that is open; they import PyTorch and LiteRT, which a finished run needs not."""
    from edgeprune.running.data import check_same_data
    from edgeprune.running.evaluate import evaluate_files
    from edgeprune.running.export_files import export_files
    from edgeprune.running.finish import finish
    from edgeprune.running.measure import frontend_figures, measure_files
    from edgeprune.running.program import program_figures
    from edgeprune.running.prune_to_budget import prune_to_budget
    from edgeprune.running.threads import note_threads
    from edgeprune.running.train_dense import train_dense

    console.say(f"run {recipe.name}: folder {folder.path}, seed {recipe.seed}")
    note_threads(recipe, folder)
    data = found.load(recipe.data)
    check_same_data(data, folder)
    for warning in data.warnings:
        console.say(f"warning: {warning}")
    if recipe.finetune.epochs == 0 and not (recipe.prune.reconstruct or recipe.prune.restart):
        console.say("warning: the pruned network stays as the cut leaves it; --prune.reconstruct repairs it")
    dense = train_dense(recipe, data, folder)
    data = data.with_normalisation(dense.normalisation)
    pruned = prune_to_budget(recipe, data, dense, folder)
    networks: dict[NetworkName, Checkpoint] = {"dense": dense, "pruned": pruned}
    export_files(recipe, data, networks, folder)
    program_figures(recipe, pruned, folder)  # a program that exceeds the budget is refused before it is evaluated
    artefacts = evaluate_files(recipe, data, folder)
    latency = measure_files(recipe, data, artefacts, folder)
    frontend = frontend_figures(recipe, folder)
    return finish(recipe, data, networks, artefacts, latency, frontend, folder)
