"""Which file to ship: the smallest whose paired difference to the dense network is within the tolerance."""

import json
from pathlib import Path

import pytest
from calls import call, call_json
from run_folders import change, dense, pruned, write_run
from scipy import stats

from edgeprune.comparing.chance import chance_of
from edgeprune.comparing.compare import compare
from edgeprune.comparing.comparison import Answer
from edgeprune.errors import EdgepruneError

DENSE = (0.75, 0.77, 0.73, 0.76)


def write_variant(root: Path, size: int, gaps: tuple[float, ...], **more) -> None:
    """Runs of one budget, whose accuracies differ from the dense network's by these gaps, a seed each."""
    for seed, gap in enumerate(gaps):
        figures = {"accuracy": DENSE[seed] + gap, "dense_accuracy": DENSE[seed], "params": size, "file_bytes": size}
        write_run(root / f"{size} {seed}", pruned(seed, params=size), **{**figures, **more})


def answer(root: Path, tolerance: float = 0.01) -> Answer:
    found = compare([root], tolerance=tolerance).answer
    assert found is not None
    return found


def standings(found: Answer) -> dict[str, str]:
    return {one.name: one.standing for one in found.contenders}


def test_the_smallest_that_is_shown_to_be_within_ships(tmp_path: Path) -> None:
    within = (-0.004, -0.003, -0.005, -0.004)
    write_variant(tmp_path, 30_000, (0.001, 0.002, 0.0, 0.001))
    write_variant(tmp_path, 20_000, within)
    write_variant(tmp_path, 10_000, (0.02, -0.04, 0.02, -0.01))  # mean within, interval wide
    write_variant(tmp_path, 5_000, (-0.2, -0.21, -0.19, -0.2))
    found = answer(tmp_path)
    assert (found.ship, found.rule, found.dense) == ("params 20k", "interval", "dense")
    assert found.file == str(tmp_path / "20000 0" / "model_int8.tflite")
    assert standings(found) == {
        "params 30k": "within", "params 20k": "within", "params 10k": "open", "params 5k": "below",
    }  # fmt: skip
    low, high = stats.t.interval(0.95, 3, -0.004, stats.sem(within))
    chosen = next(one.difference for one in found.contenders if one.name == "params 20k")
    assert (chosen.low, chosen.high) == (pytest.approx(low), pytest.approx(high))
    assert f"{100 * low:.2f} to {100 * high:.2f} over 4 pairs".replace("-", "\N{MINUS SIGN}") in found.sentence
    assert found.sentence.startswith(
        f"Ship params 20k ({found.file}): 20.0 kB, the smallest int8 file whose accuracy is"
    )
    # Dense and 30k are better than it by more than their spread, 5k is worse; of 10k nothing is known.
    assert found.alike == ("params 10k",)
    assert found.sentence.endswith("The data cannot tell from it: params 10k.")
    assert found.warnings == ()


def test_where_nothing_is_shown_the_mean_decides_and_is_called_so(tmp_path: Path) -> None:
    write_variant(tmp_path, 20_000, (0.03, -0.04, 0.0))
    write_variant(tmp_path, 10_000, (-0.1, -0.05, -0.1))
    found = answer(tmp_path)
    assert (found.ship, found.rule) == ("params 20k", "mean")
    assert "on its mean alone" in found.sentence
    assert "No file is shown to be" in found.sentence
    assert "dense" in found.alike


def test_a_wider_tolerance_lets_a_smaller_file_ship(tmp_path: Path) -> None:
    write_variant(tmp_path, 20_000, (-0.004, -0.003, -0.005))
    write_variant(tmp_path, 10_000, (-0.051, -0.05, -0.052))
    assert answer(tmp_path).ship == "params 20k"
    assert answer(tmp_path, 0.06).ship == "params 10k"
    for tolerance in (-0.1, 2):
        with pytest.raises(EdgepruneError, match="--tolerance"):
            answer(tmp_path, tolerance)


def test_where_nothing_is_within_the_dense_file_ships(tmp_path: Path) -> None:
    write_variant(tmp_path, 20_000, (-0.1, -0.12, -0.11))
    write_variant(tmp_path, 60_000, (0.0, 0.001, -0.001))  # within, and larger than dense
    found = answer(tmp_path)
    assert (found.ship, found.rule) == ("dense", "dense")
    assert found.file == str(tmp_path / "20000 0" / "dense_int8.tflite")
    assert "no smaller int8 file is within 1.00 points of dense, not even by its mean accuracy" in found.sentence
    assert found.alike == ("params 60k",)


def test_without_a_dense_network_there_is_no_answer(tmp_path: Path) -> None:
    write_variant(tmp_path, 20_000, (0.0, 0.0, 0.0), dense_formats=())
    found = answer(tmp_path)
    assert (found.ship, found.file, found.rule, found.dense) == (None, None, "", None)
    assert "no dense network has a score of its int8 file" in found.sentence


def test_dense_networks_alone_are_no_choice(tmp_path: Path) -> None:
    write_run(tmp_path, dense())
    found = answer(tmp_path)
    assert found.ship is None
    assert "there is nothing to choose from" in found.sentence


def test_what_shares_no_clips_with_the_dense_network_is_left_out_and_named(tmp_path: Path) -> None:
    write_variant(tmp_path, 20_000, (-0.004, -0.003, -0.005))
    write_variant(tmp_path, 30_000, (-0.004, -0.003, -0.005))
    write_variant(tmp_path, 10_000, (-0.2, -0.2, -0.2), split="b" * 64)
    found = answer(tmp_path)
    assert set(standings(found)) == {"params 20k", "params 30k"}
    assert found.warnings[0].startswith("Without a run of the seed, fold and clips of dense")
    assert "params 10k" in found.warnings[0]


def test_one_seed_shows_nothing_and_that_is_warned_of(tmp_path: Path) -> None:
    write_variant(tmp_path, 20_000, (-0.004,))
    write_variant(tmp_path, 10_000, (-0.1,))
    found = answer(tmp_path)
    assert (found.ship, found.rule) == ("params 20k", "mean")
    assert "one pair of runs and so no interval" in found.sentence
    assert "The data cannot tell any of the others from it: dense; params 10k." in found.sentence
    (warning,) = found.warnings
    assert warning.startswith("Too few pairs of runs to show anything: params 10k (1); params 20k (1).")


def test_controls_do_not_ship(tmp_path: Path) -> None:
    write_variant(tmp_path, 20_000, (-0.004, -0.003, -0.005))
    for seed in range(3):
        figures = {"accuracy": DENSE[seed], "dense_accuracy": DENSE[seed], "file_bytes": 5_000}
        write_run(tmp_path / f"random {seed}", pruned(seed, criterion="random"), **figures)
        write_run(tmp_path / f"scratch {seed}", pruned(seed, restart=True), **figures)
    assert standings(answer(tmp_path)) == {"operator_norm": "within"}


def test_every_network_is_held_to_the_best_dense_one(tmp_path: Path) -> None:
    """A small network that keeps up with its own poor dense network does not ship for that."""
    write_variant(tmp_path, 20_000, (-0.004, -0.003, -0.005))
    for seed in range(3):
        folder = tmp_path / f"vggish {seed}"
        write_run(folder, pruned(seed, params=9_000), accuracy=0.4, dense_accuracy=0.4, file_bytes=9_000)
        for name in ("recipe.json", "result.json"):
            change(folder / name, **{"model__name" if name == "recipe.json" else "recipe__model__name": "vggish"})
        change(folder / "result.json", artefacts__dense_int8__sha256=f"other {seed}")
    found = answer(tmp_path)
    assert found.rule == "interval"
    assert "20k" in str(found.ship)
    assert sorted(standings(found).values()) == ["below", "below", "within"]  # the poor dense network, its variant


def groups(folder: Path, clips: tuple[int, ...], **scores) -> None:
    """Clips of the classes, and scores, of both files."""
    by_class = {f"class {place}": {"clips": number} for place, number in enumerate(clips)}
    for name in ("int8", "dense_int8"):
        fields = {"per_class": by_class, **scores}
        change(folder / "result.json", **{f"artefacts__{name}__accuracy__{field}": it for field, it in fields.items()})


def test_networks_near_chance_are_warned_of(tmp_path: Path) -> None:
    write_variant(tmp_path, 20_000, (0.0, 0.0, 0.0))
    assert not any("Near chance" in text for text in answer(tmp_path).warnings)
    for folder in tmp_path.iterdir():
        groups(folder, (40, 30, 30))
        change(folder / "result.json", artefacts__int8__accuracy__accuracy=0.44)
    (warning,) = answer(tmp_path).warnings
    assert warning.startswith("Near chance (accuracy 40.0 %): operator_norm, params 20k.")


@pytest.mark.parametrize(("accuracy", "near"), [(0.49, True), (0.51, False)])
def test_an_accuracy_that_guessing_gives_is_near_chance(tmp_path: Path, accuracy: float, near: bool) -> None:
    """49 of 100 clips right, where guessing gives 40, has p 0.04; 51 has p 0.017."""
    write_variant(tmp_path, 20_000, (0.0, 0.0, 0.0))
    for folder in tmp_path.iterdir():
        groups(folder, (40, 30, 30))
        change(folder / "result.json", artefacts__int8__accuracy__accuracy=accuracy)
    assert (stats.binomtest(round(100 * accuracy), 100, 0.4, "greater").pvalue > 0.025) == near
    assert any("Near chance" in text for text in answer(tmp_path).warnings) == near


def test_independent_classes_have_their_own_score_and_chance(tmp_path: Path) -> None:
    write_variant(tmp_path, 20_000, (0.0, 0.0, 0.0))
    for seed, folder in enumerate(sorted(tmp_path.iterdir())):
        groups(folder, (10, 20), mean_average_precision=0.6 + seed / 100)
        change(folder / "result.json", task="tags", artefacts__int8__accuracy__mean_average_precision=0.2)
    comparison = compare([tmp_path])
    found = comparison.answer
    assert found is not None
    assert (found.ship, found.rule) == ("dense", "dense")
    assert "mean average precision" in found.sentence
    assert found.contenders[0].difference.mean == pytest.approx(0.2 - 0.61)
    assert chance_of(comparison.variants[1].runs[0], "int8") == pytest.approx(0.15)
    assert any(text.startswith("Near chance (mean average precision 15.0 %): operator_norm") for text in found.warnings)


def test_the_command_opens_with_it_and_json_holds_it(tmp_path: Path, capsys) -> None:
    write_variant(tmp_path, 20_000, (-0.004, -0.003, -0.005))
    write_variant(tmp_path, 10_000, (-0.05, -0.055, -0.045))
    code, out, _ = call(capsys, "compare", tmp_path)
    assert code == 0
    assert out.startswith("Ship params 20k (")
    found = call_json(capsys, "compare", tmp_path, "--tolerance", "0.07")["answer"]
    assert (found["ship"], found["rule"], found["tolerance"]) == ("params 10k", "interval", 0.07)
    assert {one["name"]: one["standing"] for one in found["contenders"]} == {
        "params 20k": "within", "params 10k": "within",
    }  # fmt: skip
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    code, _, err = call(capsys, "compare", tmp_path, "--tolerance", "5")
    assert code == 2
    assert "--tolerance 5" in err
