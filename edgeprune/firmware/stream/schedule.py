"""When a step may work, and how many rows its rings must hold: the emitted scheduler, run without any values.

After each row of the input, the last step that has what it needs works, until none has. So rows are read as early as
they can be, and rings stay short.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """A step as the scheduler sees it.

    Attributes:
        reads, writes: names of rings.
        needs: for each unit of its work and each ring that it reads, the first row and one past the last.
        written: how many rows of its output each unit completes.
    """

    reads: tuple[str, ...]
    writes: tuple[str, ...]
    needs: Sequence[Sequence[tuple[int, int]]]
    written: Sequence[int]


def ring_rows(tasks: Sequence[Task], entry: Sequence[str], height: int) -> dict[str, int]:
    """How many rows each ring must hold at least, for an input of `height` rows.

    A row that no later unit of work reads may be overwritten. Raises ValueError where a step never gets its rows.
    """
    present = dict.fromkeys([*entry, *(name for task in tasks for name in task.writes)], 0)
    rows = dict.fromkeys(present, 1)
    done = [0] * len(tasks)
    readers: dict[str, list[tuple[int, int]]] = {name: [] for name in present}
    for number, task in enumerate(tasks):
        for place, name in enumerate(task.reads):
            readers[name].append((number, place))

    def oldest(name: str) -> int:
        """The first row that is still to be read; a ring that nobody reads keeps all."""
        left = [
            min(need[place][0] for need in tasks[number].needs[done[number] :])
            for number, place in readers[name]
            if done[number] < len(tasks[number].needs)
        ]
        return min(left) if left else (present[name] if readers[name] else 0)

    def write(name: str, count: int) -> None:
        if count:
            rows[name] = max(rows[name], present[name] + count - min(oldest(name), present[name]))
            present[name] += count

    for _ in range(height):
        for name in entry:
            write(name, 1)
        while (ready := _ready(tasks, done, present)) is not None:
            for name in tasks[ready].writes:
                write(name, tasks[ready].written[done[ready]])
            done[ready] += 1
    if stuck := [number for number, task in enumerate(tasks) if done[number] < len(task.needs)]:
        raise ValueError(f"steps {stuck} never get the rows they need")
    return rows


def _ready(tasks: Sequence[Task], done: Sequence[int], present: dict[str, int]) -> int | None:
    """The last task that can work."""
    for number in reversed(range(len(tasks))):
        task = tasks[number]
        if done[number] == len(task.needs):
            continue
        needs = task.needs[done[number]]
        if all(present[name] >= last for name, (_, last) in zip(task.reads, needs, strict=True)):
            return number
    return None
