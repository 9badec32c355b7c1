"""Divide images into train, validation and test, and the latter two into query and gallery."""

from collections.abc import Sequence

import numpy as np

# VAL and TEST hold classes that are also in train; query and gallery hold works or identities that are not.
TRAIN, VAL_QUERY, VAL_GALLERY, TEST_QUERY, TEST_GALLERY, VAL, TEST = range(7)
SPLIT_NAMES = ("train", "val_query", "val_gallery", "test_query", "test_gallery", "val", "test")  # index = code

QUERY_FRACTION = 0.4  # of a work's roles, as in the paper's code
VAL_ROLE_FRACTION = 0.4
VAL_WORK_FRACTION = 0.2
MIN_WORKS_TO_HOLD_OUT = 20  # with fewer works in train, val is split by role: too few works would remain on both sides
MIN_ROLES_TO_DIVIDE = 3  # of one work: a query and a gallery for val, and one that stays in train
TEST_CLASS_FRACTION = 0.2  # of a class's images; with an eighth of the rest for val, 7:1:2 as in DAF:re
VAL_CLASS_FRACTION = 0.125


def num_query_roles(num_roles: int) -> int:
    """Return the number of a work's roles that are queries: 40 %, rounded down, at least one."""
    return max(int(QUERY_FRACTION * num_roles), 1)


def cut_val(roles_of_works: Sequence[np.ndarray]) -> dict[int, int]:
    """Choose the roles that move from train to validation, with a fixed seed, and return the split code of each.

    With at least 20 works, a fifth of those with two roles moves; otherwise 40 % of each work's roles, but at least two
    and never all, so none of a work with two. The roles of each work that move are split 4:6 into query and gallery, at
    least one each.

    Args:
        roles_of_works: the role ids of each work in train; works and roles are ordered by name.
    """
    generator = np.random.default_rng(0)
    if len(roles_of_works) >= MIN_WORKS_TO_HOLD_OUT:
        eligible = [roles for roles in roles_of_works if len(roles) > 1]
        held_out = generator.permutation(len(eligible))[: round(VAL_WORK_FRACTION * len(eligible))]
        leaving = [generator.permutation(eligible[place]) for place in sorted(held_out)]
    else:
        leaving = [generator.permutation(roles)[: _num_val_roles(len(roles))] for roles in roles_of_works]
    return {int(role): code for roles in leaving for role, code in _query_then_gallery(roles)}


def _num_val_roles(num_roles: int) -> int:
    if num_roles < MIN_ROLES_TO_DIVIDE:
        return 0
    return min(max(round(VAL_ROLE_FRACTION * num_roles), 2), num_roles - 1)


def _query_then_gallery(roles: np.ndarray) -> list[tuple[int, int]]:
    queries = num_query_roles(len(roles))
    return [(role, VAL_QUERY if place < queries else VAL_GALLERY) for place, role in enumerate(roles)]


def query_roles_of_fold(role_names: Sequence[str], roles_in_fold: np.ndarray) -> np.ndarray:
    """Return the ids of the fold's query roles: the first 40 % of each work's roles by number.

    Args:
        role_names: all "WORK/ROLE" names, index = role id.
        roles_in_fold: the distinct role ids in the fold.
    """
    of_work: dict[str, list[int]] = {}
    for role in roles_in_fold.tolist():
        of_work.setdefault(role_names[role].split("/")[0], []).append(role)
    queries = []
    for roles in of_work.values():
        roles.sort(key=lambda role: (int(role_names[role].split("/")[1]), role))
        queries += roles[: num_query_roles(len(roles))]
    return np.array(sorted(queries), dtype=np.int64)


def cut_classes(classes: np.ndarray, cut: Sequence[int]) -> np.ndarray:
    """Return the split code of each image of train, int8, after taking val or test from every class.

    A fifth of each class goes to test and an eighth of the rest to val: at least one image each, but at least one stays
    in train. The images are drawn with a fixed seed.

    Args:
        classes: the class id of each image.
        cut: the splits to take: VAL, or VAL and TEST.
    """
    generator = np.random.default_rng(0)
    codes = np.full(len(classes), TRAIN, dtype=np.int8)
    for members in positions_of_each(classes):
        left = generator.permutation(members)
        for code, fraction in ((TEST, TEST_CLASS_FRACTION), (VAL, VAL_CLASS_FRACTION)):
            if code in cut:
                num = min(max(round(fraction * len(left)), 1), len(left) - 1)
                codes[left[:num]] = code
                left = left[num:]
    return codes


def cut_identities(identities: np.ndarray) -> np.ndarray:
    """Return the split code of each image of train, int8, after moving a fifth of the identities to val.

    The identities are drawn with a fixed seed from those with at least two images. The images of each are split 4:6
    into query and gallery, at least one each.

    Args:
        identities: the identity id of each image.
    """
    generator = np.random.default_rng(0)
    codes = np.full(len(identities), TRAIN, dtype=np.int8)
    eligible = [members for members in positions_of_each(identities) if len(members) > 1]
    num_held_out = round(VAL_WORK_FRACTION * len(eligible))
    for place in sorted(generator.permutation(len(eligible))[:num_held_out]):
        members = generator.permutation(eligible[place])
        codes[members] = VAL_GALLERY
        codes[members[: num_query_roles(len(members))]] = VAL_QUERY
    return codes


def split_in_file_order(num_images: int) -> tuple[int, int, int]:
    """Return how many of a class's images are train, val and test in DAF:re, in file order.

    It reproduces the authors' code with its rounding: 0.7 + 0.1 is 0.7999999999999999, so 20 images give 14, 1 and 5.
    """
    num_seen = int(num_images * (0.7 + 0.1))
    num_train = int(num_images * 0.7)
    return num_train, num_seen - num_train, num_images - num_seen


def draw_folds(num_works: int, num_folds: int, seed: int) -> np.ndarray:
    """Return a random fold for each work; folds differ by at most one work (38 works each for LSASRD's 190)."""
    return np.random.default_rng(seed).permutation(np.arange(num_works) % num_folds)


def positions_of_each(labels: np.ndarray) -> list[np.ndarray]:
    """Return the positions of each distinct label, in ascending order of the labels."""
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1) if len(order) else []
