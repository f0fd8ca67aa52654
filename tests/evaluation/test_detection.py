import numpy as np
import pandas as pd
import pytest
from scipy.stats import poisson
from sklearn import metrics

from edgeprune.errors import EdgepruneError
from edgeprune.evaluation import detection
from edgeprune.evaluation.clips import evaluate_clips

HOLDS = [True] * 4 + [False] * 5
SCORES = [0.9, 0.8, 0.6, 0.3, 0.7, 0.6, 0.2, 0.1, 0.05]


def test_rates_by_hand() -> None:
    """At 0.6 three of four sounds are found, and two of five clips of 12 minutes raise the alarm without one."""
    result = detection.evaluate(HOLDS, SCORES, [720.0] * 9, 0.6)
    assert (result["hits"], result["misses"], result["false_alarms"]) == (3, 1, 2)
    assert (result["recall"], result["precision"]) == (0.75, 0.6)
    assert result["hours_without"] == pytest.approx(1.0)
    assert result["false_alarms_per_hour"] == pytest.approx(2.0)
    low, high = result["interval"]
    assert poisson.sf(1, low) == pytest.approx(0.025)  # so few would make two or more as unlikely as that
    assert poisson.cdf(2, high) == pytest.approx(0.025)
    assert detection.evaluate(HOLDS, SCORES, [720.0] * 9, 0.95)["precision"] is None


def test_no_false_alarm_in_few_hours_leaves_many_possible() -> None:
    """The rule of three, exact: 3.69 events are the upper end of the two-sided interval of none."""
    assert detection.poisson_interval(0) == (0.0, pytest.approx(3.689, abs=1e-3))


@pytest.mark.parametrize(("recall", "found"), [(1.0, 4), (0.76, 4), (0.75, 3), (0.5, 2), (0.01, 1)])
def test_the_threshold_finds_what_is_asked_and_no_more(recall: float, found: int) -> None:
    threshold = detection.choose_threshold(HOLDS, SCORES, recall)
    assert detection.evaluate(HOLDS, SCORES, [1.0] * 9, threshold)["hits"] == found
    assert detection.evaluate(HOLDS, SCORES, [1.0] * 9, threshold + 1 / 256)["hits"] < found
    assert threshold * 256 == round(threshold * 256)


def test_the_threshold_equals_that_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        holds = generator.random(60) < 0.4
        holds[0] = True
        scores = np.clip(generator.integers(1, 257, 60) / 256 * 0.6 + 0.4 * holds, 0, 1)
        scores = np.round(scores * 256) / 256
        recall = generator.uniform(0.05, 1.0)
        _, recalls, thresholds = metrics.precision_recall_curve(holds, scores)
        expected = thresholds[recalls[:-1] >= recall - 1e-12].max()
        assert detection.choose_threshold(holds, scores, recall) == expected


def test_a_sound_just_below_a_step_is_still_found() -> None:
    just_below = float(np.nextafter(0.5, 0))
    threshold = detection.choose_threshold([True, False], [just_below, 0.1], 1.0)
    assert threshold == 127 / 256
    assert detection.evaluate([True, False], [just_below, 0.1], [1.0, 1.0], threshold)["recall"] == 1.0


def test_a_quantised_file_can_reach_every_threshold() -> None:
    """255/256 is the highest probability of an int8 sigmoid."""
    assert detection.choose_threshold([True], [0.99999], 0.9) == 255 / 256
    assert detection.choose_threshold([True], [1.0], 0.9) == 255 / 256
    assert detection.choose_threshold([True], [0.0], 0.9) == 1 / 256


def test_refused() -> None:
    with pytest.raises(EdgepruneError, match="no validation clip holds the sound"):
        detection.choose_threshold([False], [0.5], 0.9)
    with pytest.raises(EdgepruneError, match="seconds above 0"):
        detection.evaluate(HOLDS, SCORES, [1.0], 0.5)
    with pytest.raises(EdgepruneError, match="finite"):
        detection.choose_threshold([True], [np.nan], 0.9)


def test_a_table_of_clips() -> None:
    """A column of seconds makes it detection."""
    clips = pd.DataFrame({"label": ["alarm", "none", "none"], "device": "", "city": "", "seconds": 1800.0})
    rows = np.array([[0.75], [0.5], [0.25]])
    result = evaluate_clips(clips, rows, ["alarm"], 0.5)
    assert result["detection"]["false_alarms_per_hour"] == 1.0
    assert result["mean_average_precision"] == 1.0
    assert result["accuracy"] == pytest.approx(2 / 3)
    assert "detection" not in evaluate_clips(clips.drop(columns="seconds"), rows, ["alarm"], 0.5)
