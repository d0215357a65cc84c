"""The hardest pairs, and the decision of a threshold on them."""

import numpy as np

from insight.verify.folds import kfold_accuracy
from insight.verify.hardest import HardPair, hardest_pairs
from insight.verify.verification import Verification


def test_hardest_first_and_judged():
    distance = np.array([0.4, 1.5, 1.0, 0.5, 1.5, 0.8, 1.2])
    issame = np.array([True, True, False, False, True, False, True])
    result = Verification("v", kfold_accuracy(distance, issame, 1), 1.0, 7, 4, 1.0, 9, distance, issame)
    different, same = hardest_pairs(result, 0.9, 3)
    assert different == [HardPair(3, 0.75, True), HardPair(5, 0.6, True), HardPair(2, 0.5, False)]
    assert same == [HardPair(1, 0.25, False), HardPair(4, 0.25, False), HardPair(6, 0.4, False)]  # of equals, the first
    assert hardest_pairs(result, 0.9, 9)[1][-1] == HardPair(0, 0.8, True)
    assert hardest_pairs(result, 0.9, 0) == ([], [])
