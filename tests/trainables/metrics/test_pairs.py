"""iCartoonFace's official Rank@1 against a walk down every ranked list."""

import numpy as np
import pytest

from trainables.metrics.pairs import rank1_of_pairs


def slow(probe_ND, partner_ND, distractors_MD):
    """Each probe's list of its partner and all distractors: is the partner the first?"""
    right = 0
    for probe, partner in zip(probe_ND, partner_ND, strict=True):
        gallery = [*distractors_MD, partner]

        def cosine(other, probe=probe):
            return float(probe @ other / np.linalg.norm(probe) / np.linalg.norm(other))

        right += max(range(len(gallery)), key=lambda place: cosine(gallery[place])) == len(gallery) - 1
    return right / len(probe_ND)


def test_it_is_the_slow_walk():
    draw = np.random.default_rng(0)
    probe_ND = draw.normal(size=(2100, 6)).astype(np.float32)  # more than are looked at together
    partner_ND = probe_ND + 2 * draw.normal(size=probe_ND.shape).astype(np.float32)
    distractors_MD = 3 * draw.normal(size=(40, 6)).astype(np.float32)
    found = rank1_of_pairs(probe_ND, partner_ND, distractors_MD)
    assert found == pytest.approx(slow(probe_ND, partner_ND, distractors_MD), abs=1e-3)
    assert 0.1 < found < 0.6


def test_a_distractor_as_near_as_the_partner_comes_first():
    ones = np.ones((1, 3), np.float32)
    assert rank1_of_pairs(ones, ones, ones) == 0.0
    assert rank1_of_pairs(ones, ones, -ones) == 1.0


def test_without_distractors_every_pair_is_right():
    ones = np.ones((2, 3), np.float32)
    assert rank1_of_pairs(ones, ones, ones[:0]) == 1.0
