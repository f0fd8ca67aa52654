"""With how many threads a run computes: other numbers add up in another order and give other weights."""

from edgeprune import console
from edgeprune.files import read_json, write_json
from edgeprune.recipe import Recipe
from edgeprune.results.figures import Threads
from edgeprune.results.json_fields import objects
from edgeprune.results.run_folder import RunFolder
from edgeprune.training.threads import thread_count


def note_threads(recipe: Recipe, folder: RunFolder) -> None:
    """Keep in the run folder with how many threads the run goes on; say so where it was begun with others."""
    now = Threads(thread_count(recipe.train.threads), thread_count(recipe.finetune.threads))
    begun = any(folder.path.rglob("*.ckpt"))
    before = threads_of(folder) if begun else []
    if before and before[-1] != now:
        console.say(
            f"warning: this run was computed with {before[-1]} so far and goes on with {now}; other numbers of threads "
            "give other weights"
        )
    if before[-1:] != [now]:
        write_json(folder.threads_file, [*before, now])


def threads_of(folder: RunFolder) -> list[Threads]:
    """With how many threads a run was computed, in their order; empty in folders of earlier versions."""
    path = folder.threads_file
    content = {"threads": read_json(path)} if path.is_file() else {}
    return [Threads.from_json(value) for value in objects(content, "threads")]
