"""The figures of a measurement are what the field means by them: scikit-learn says the same."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from models.labels import SENTIMENTS
from models.measure import figures

labelled = st.lists(st.tuples(st.integers(0, 2), st.tuples(*[st.floats(0.01, 1)] * 3)), min_size=2, max_size=60)


@given(labelled)
def test_accuracy_and_f1_are_those_of_scikit_learn(found):
    truth, p = np.array([label for label, _ in found]), np.array([each for _, each in found])
    ours, guess = figures.of_classes(p, truth, SENTIMENTS), p.argmax(1)
    assert ours["accuracy"] == pytest.approx(metrics.accuracy_score(truth, guess), abs=1e-4)
    assert ours["macro_f1"] == pytest.approx(metrics.f1_score(truth, guess, average="macro", zero_division=0), abs=1e-4)
    weighted = metrics.f1_score(truth, guess, average="weighted", zero_division=0)
    assert ours["weighted_f1"] == pytest.approx(weighted, abs=1e-4)
    assert ours["confusion"] == metrics.confusion_matrix(truth, guess, labels=[0, 1, 2]).tolist()
    assert ours["interval"][0] <= ours["accuracy"] <= ours["interval"][1]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=60))
def test_auc_is_that_of_scikit_learn_ties_counted_half(found):
    truth, score = np.array([label for label, _ in found]), np.array([float(value) for _, value in found])
    ours = figures.auc(score, truth, ~truth)
    if truth.all() or not truth.any():
        assert ours is None
    else:
        assert ours == pytest.approx(metrics.roc_auc_score(truth, score), abs=1e-4)


def test_an_interval_narrows_with_more_rows():
    def width(n):
        low, high = figures.of_classes(np.eye(3)[[0, 1, 2, 2] * n], np.array([0, 1, 2, 0] * n), SENTIMENTS)["interval"]
        return high - low

    assert width(400) < width(100) / 1.5 < width(10)


def test_confidence_that_is_earned_has_no_calibration_error_and_boasting_has():
    right = np.array([True] * 80 + [False] * 20)
    assert figures.calibration_error(np.full(100, 0.8), right) == pytest.approx(0, abs=1e-9)
    assert figures.calibration_error(np.full(100, 0.99), right) == pytest.approx(0.19)


def test_recall_at_a_precision_takes_equal_scores_together():
    score, wanted = np.array([0.9, 0.8, 0.8, 0.5]), np.array([True, True, False, True])
    assert figures.recall_at_precision(score, wanted, 0.99) == pytest.approx(1 / 3, abs=1e-4)
    assert figures.recall_at_precision(score, wanted, 0.75) == 1.0
    assert figures.recall_at_precision(score, np.zeros(4, bool)) is None
