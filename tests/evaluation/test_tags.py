import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn import metrics

from edgeprune.errors import EdgepruneError
from edgeprune.evaluation import tags

CLASSES = ["rain", "dog"]
LABELS = ["rain;dog", "rain", "none", "dog"]
PROBABILITIES = np.array([[0.9, 0.4], [0.6, 0.7], [0.8, 0.1], [0.2, 0.6]])


def test_metrics_of_four_clips_by_hand() -> None:
    result = tags.evaluate(LABELS, PROBABILITIES, CLASSES, devices=["a", "a", "b", "b"])
    # rain is in the clips ranked 1 and 3 of 4: precisions 1 and 2/3; dog in those ranked 2 and 3: 1/2 and 2/3
    rain, dog = result["per_class"]["rain"], result["per_class"]["dog"]
    assert rain["average_precision"] == pytest.approx((1 + 2 / 3) / 2, abs=1e-12)
    assert dog["average_precision"] == pytest.approx((1 / 2 + 2 / 3) / 2, abs=1e-12)
    assert result["mean_average_precision"] == pytest.approx(17 / 24, abs=1e-12)
    # of the 4 pairs with and without rain 3 are in order, of those with and without dog 2
    assert result["auc"] == pytest.approx((3 / 4 + 2 / 4) / 2, abs=1e-12)
    assert rain["d_prime"] == pytest.approx(np.sqrt(2) * 0.6744897501960817, abs=1e-9)  # upper quartile of the normal
    assert dog["d_prime"] == pytest.approx(0.0, abs=1e-12)
    assert result["accuracy"] == 0.25  # only the last clip has both classes right at 0.5
    assert (rain["accuracy"], dog["accuracy"]) == (1.0, 0.5)
    assert result["macro_accuracy"] == 0.75
    likelihoods = [0.9, 0.4, 0.6, 0.3, 0.2, 0.9, 0.8, 0.6]
    assert result["log_loss"] == pytest.approx(-np.log(likelihoods).mean(), abs=1e-12)
    assert result["per_device"]["b"] == {
        "accuracy": 0.5,
        "log_loss": pytest.approx(-np.log([0.2, 0.9, 0.8, 0.6]).mean(), abs=1e-12),
        "clips": 2,
    }
    assert (rain["clips"], dog["clips"], result["clips"]) == (2, 2, 4)
    assert json.loads(json.dumps(result, allow_nan=False)) == result


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(2, 6))
def test_metrics_equal_scikit_learn(seed: int, clips: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    classes = [f"class {number}" for number in range(count)]
    truth = generator.random((clips, count)) < 0.4
    truth[0], truth[1] = True, False  # every class has clips with and without it
    rows = generator.integers(0, 12, (clips, count)) / 11  # with ties
    labels = [";".join(name for name, held in zip(classes, row, strict=True) if held) or "none" for row in truth]
    result = tags.evaluate(labels, rows, classes)
    auc = metrics.roc_auc_score(truth, rows, average="macro")
    assert result["mean_average_precision"] == pytest.approx(
        metrics.average_precision_score(truth, rows, average="macro"), abs=1e-12
    )
    assert result["auc"] == pytest.approx(auc, abs=1e-12)
    if 0 < auc < 1:
        assert norm.cdf(result["d_prime"] / np.sqrt(2)) == pytest.approx(auc, abs=1e-9)
    assert result["accuracy"] == pytest.approx(metrics.accuracy_score(truth, rows >= 0.5), abs=1e-12)
    assert result["macro_accuracy"] == pytest.approx(
        metrics.recall_score(truth, rows >= 0.5, average="macro"), abs=1e-12
    )
    losses = [metrics.log_loss(truth[:, n], np.clip(rows[:, n], 1e-15, 1 - 1e-15)) for n in range(count)]
    assert result["log_loss"] == pytest.approx(np.mean(losses), abs=1e-9)


def test_d_prime_of_audio_set() -> None:
    """Gemmeke et al. 2017 report an AUC of 0.959 and a d-prime of 2.452."""
    assert tags.d_prime(0.959) == pytest.approx(2.452, abs=0.011)  # the area is given to three digits
    assert tags.d_prime(0.5) == 0
    assert tags.d_prime(1.0) is tags.d_prime(0.0) is tags.d_prime(None) is None


def test_a_class_that_no_or_every_clip_holds() -> None:
    result = tags.evaluate(["rain", "rain;dog"], [[0.5, 0.2, 0.9], [0.7, 0.1, 0.3]], ["rain", "dog", "cat"])
    assert result["per_class"]["cat"]["average_precision"] is result["per_class"]["cat"]["accuracy"] is None
    assert result["per_class"]["rain"]["average_precision"] == 1.0
    assert result["mean_average_precision"] == pytest.approx(0.75)  # cat does not count
    assert result["auc"] == 0.0  # of dog alone
    assert result["d_prime"] is None
    nothing = tags.evaluate(["none"], [[0.5]], ["rain"])
    assert nothing["mean_average_precision"] is nothing["auc"] is nothing["macro_accuracy"] is None


@pytest.mark.parametrize(
    ("labels", "rows", "message"),
    [
        (["rain", ""], [[0.1, 0.2]] * 2, "clip 1 has none"),
        (["rain"], [[3.0, -2.0]], "apply sigmoid"),
        (["rain"], [[0.1]], "shape"),
        ([], np.zeros((0, 2)), "at least one clip"),
        (["rain"], [[0.1, np.nan]], "NaN"),
    ],
)
def test_refused(labels, rows, message) -> None:
    with pytest.raises(EdgepruneError, match=message):
        tags.evaluate(labels, rows, CLASSES)
