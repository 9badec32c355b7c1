"""Classification metrics against scikit-learn and slow loops.

Q images, N classes.
"""

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score

from trainables.evaluation.evaluate import places_of_classes
from trainables.metrics.classification import chance_of_classes, classification_metrics

CLASSES_Q = np.array([0, 1, 2, 3, 4, 5, 6, 7] * 25)
IMAGES_OF_CLASS_N = np.array([3, 19, 20, 21, 100, 101, 500, 14])


@pytest.fixture
def logits_QN():
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 8, generator=draw)
    logits[torch.arange(200), torch.from_numpy(CLASSES_Q)] += 1
    return logits


def test_top1_top5_and_the_mean_over_classes_are_scikit_learns(logits_QN):
    places_Q = places_of_classes(logits_QN, torch.from_numpy(CLASSES_Q)).numpy()
    metrics = classification_metrics(places_Q, CLASSES_Q, IMAGES_OF_CLASS_N)
    for k, name in ((1, "top1"), (5, "top5")):
        assert metrics[name] == pytest.approx(top_k_accuracy_score(CLASSES_Q, logits_QN.numpy(), k=k))
    assert metrics["top1_mean_class"] == pytest.approx(balanced_accuracy_score(CLASSES_Q, logits_QN.argmax(1).numpy()))


def test_accuracy_by_class_size_is_that_of_the_images_of_such_classes(logits_QN):
    places_Q = places_of_classes(logits_QN, torch.from_numpy(CLASSES_Q)).numpy()
    metrics = classification_metrics(places_Q, CLASSES_Q, IMAGES_OF_CLASS_N)
    right = logits_QN.argmax(1).numpy() == CLASSES_Q
    for name, classes in {"few": [0, 1, 7], "medium": [2, 3, 4], "many": [5, 6]}.items():
        assert metrics[f"top1_{name}"] == pytest.approx(right[np.isin(CLASSES_Q, classes)].mean())


def test_a_group_without_images_is_left_out():
    metrics = classification_metrics(np.array([1, 2]), np.array([0, 0]), np.array([5, 200]))
    assert set(metrics) == {"top1", "top5", "top1_mean_class", "top1_few"}


def test_of_equal_logits_the_first_class_stands_first():
    assert places_of_classes(torch.zeros(3, 4), torch.tensor([0, 2, 3])).tolist() == [1, 3, 4]
    assert places_of_classes(torch.tensor([[1.0, 2.0, 2.0]]), torch.tensor([2])).tolist() == [2]


def test_chance_is_what_random_logits_give(logits_QN):
    draw = torch.Generator().manual_seed(1)
    found = []
    for _ in range(300):
        places_Q = places_of_classes(torch.randn(200, 8, generator=draw), torch.from_numpy(CLASSES_Q)).numpy()
        found.append(classification_metrics(places_Q, CLASSES_Q, IMAGES_OF_CLASS_N))
    chance = chance_of_classes(8, CLASSES_Q, IMAGES_OF_CLASS_N)
    assert chance["top1"] == 1 / 8
    assert chance["top5"] == 5 / 8
    for name, value in chance.items():
        assert np.mean([metrics[name] for metrics in found]) == pytest.approx(value, abs=0.01)
    assert chance_of_classes(3, np.array([0]), np.array([9, 9, 9]))["top5"] == 1.0
