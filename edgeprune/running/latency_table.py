"""The latency table of the dense network that a limit on latency is held to."""

from edgeprune.data.load import RunData
from edgeprune.devices import profiling
from edgeprune.devices.latency_profile import LatencyProfile
from edgeprune.graph.cost import graph_of
from edgeprune.models.checkpoint import Checkpoint
from edgeprune.models.registry import ModelSpec
from edgeprune.recipe import Recipe
from edgeprune.results.run_folder import RunFolder
from edgeprune.running.export_files import export_network


def latency_table(recipe: Recipe, data: RunData, dense: Checkpoint, folder: RunFolder) -> LatencyProfile | None:
    """The recipe's profile, or else one measured with the dense network's int8 file and kept in the run folder.

    None where the budget does not limit latency.
    """
    limit = recipe.budget.latency()
    if limit is None:
        return None
    given = given_profile(recipe, dense.spec)
    if given is not None:
        return given
    path, device = folder.profile(limit[1]), limit[1]
    if not path.is_file():
        int8 = export_network(recipe, data, dense, ("int8",), "dense", folder)["int8"]
        profiling.profile(int8, graph_of(dense.spec), device).save(path)
    return LatencyProfile.load(path)


def given_profile(recipe: Recipe, spec: ModelSpec) -> LatencyProfile | None:
    """The recipe's profile of the device whose latency is limited; None where there is none."""
    limit, path = recipe.budget.latency(), recipe.prune.profile
    if limit is None or path is None:
        return None
    return LatencyProfile.load(path).of(limit[1], graph_of(spec), path)
