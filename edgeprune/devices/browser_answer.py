"""The answer of a page that measured: every field is checked, since anyone who knows its address can send one."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeprune.errors import EdgepruneError
from edgeprune.files import from_plain

TEXT = 300
"""Characters kept of a text that a browser sends."""


@dataclass(frozen=True)
class Browser:
    """What a browser tells of itself.

    Attributes:
        cores: that it shows; some show fewer than there are.
        simd, relaxed_simd, threads: what its WebAssembly has; threads only in a page that is cross-origin isolated.
        clock_step_ms: smallest difference of two times.
        hidden: whether the page was in the background at any time.
    """

    cores: int
    simd: bool
    relaxed_simd: bool
    threads: bool
    clock_step_ms: float
    hidden: bool


@dataclass(frozen=True, eq=False)
class FileAnswer:
    """Outputs of a file `[n, values]`, and the times of its runs, each the mean of some inferences."""

    outputs: NDArray[np.float32]
    times_ms: NDArray[np.float64]
    inferences: int


@dataclass(frozen=True, eq=False)
class PageAnswer:
    """What a page found out about each file; `user_agent` is the browser's name of itself."""

    user_agent: str
    browser: Browser
    files: tuple[FileAnswer, ...]


@dataclass(frozen=True)
class AnswerShape:
    """What an answer must hold: for each file the shape of its outputs `(n, values)`, and the number of runs."""

    outputs: tuple[tuple[int, int], ...]
    runs: int

    @property
    def limit_bytes(self) -> int:
        """Size of the longest right answer; a number takes 25 characters at most."""
        return 4096 + 32 * sum(clips * values + self.runs for clips, values in self.outputs)

    def read(self, content: bytes, user_agent: str) -> PageAnswer | str:
        """Parse an answer; a text is the reason why the page has none.

        Raises:
            ValueError, RecursionError: it is none.
        """
        answer = json.loads(content)
        if not isinstance(answer, dict):
            raise ValueError("no object")
        if answer.keys() == {"error"} and isinstance(answer["error"], str):
            return plain(answer["error"]).rstrip(".") or "no reason given"
        if answer.keys() != {"browser", "results"}:
            raise ValueError("other fields")
        return PageAnswer(plain(user_agent), _browser(answer["browser"]), self._files(answer["results"]))

    def _files(self, results: Any) -> tuple[FileAnswer, ...]:
        if not isinstance(results, list) or len(results) != len(self.outputs):
            raise ValueError("other files")
        return tuple(self._file(result, shape) for result, shape in zip(results, self.outputs, strict=True))

    def _file(self, result: Any, shape: tuple[int, int]) -> FileAnswer:
        if not isinstance(result, dict) or result.keys() != {"outputs", "times_ms", "inferences"}:
            raise ValueError("other fields of a file")
        inferences = result["inferences"]
        times_ms = _numbers(result["times_ms"], self.runs)
        if type(inferences) is not int or not 1 <= inferences <= 1_000_000 or not (times_ms > 0).all():
            raise ValueError("no times")
        outputs = _numbers(result["outputs"], shape[0] * shape[1], gaps=True)
        return FileAnswer(outputs.astype(np.float32).reshape(shape), times_ms, inferences)


def plain(text: str) -> str:
    """A text of a browser, cut to `TEXT` printable characters."""
    return "".join(character if character.isprintable() else " " for character in text[:TEXT]).strip()


def _browser(value: Any) -> Browser:
    if not isinstance(value, dict):
        raise ValueError("no browser")
    try:
        browser = from_plain(Browser, value, "browser.")
    except (TypeError, EdgepruneError) as error:
        raise ValueError("another browser") from error
    if not 0 <= browser.cores <= 4096 or not 0 < browser.clock_step_ms < 10_000:
        raise ValueError("numbers out of range")
    return browser


def _numbers(values: Any, count: int, gaps: bool = False) -> NDArray[np.float64]:
    """A list of so many finite numbers; with `gaps` also null, as JSON writes what is NaN here."""
    kinds = (int, float, type(None)) if gaps else (int, float)
    if not isinstance(values, list) or len(values) != count or any(type(value) not in kinds for value in values):
        raise ValueError("no list of numbers")
    try:
        numbers = np.array(values, dtype=np.float64)
    except OverflowError as error:
        raise ValueError("numbers too large") from error
    if np.isinf(numbers).any():
        raise ValueError("numbers too large")
    return numbers
