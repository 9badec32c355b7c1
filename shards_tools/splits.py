"""Which images train, and which ask and answer in validation and test."""

from collections.abc import Sequence

import numpy as np

# VAL and TEST are of classes that are trained on; query and gallery of works or identities that are not.
TRAIN, VAL_QUERY, VAL_GALLERY, TEST_QUERY, TEST_GALLERY, VAL, TEST = range(7)
SPLIT_NAMES = ("train", "val_query", "val_gallery", "test_query", "test_gallery", "val", "test")  # index = code

QUERY_FRACTION = 0.4  # of a work's roles, as in the paper's code
VAL_ROLE_FRACTION = 0.4
VAL_WORK_FRACTION = 0.2
MIN_WORKS_TO_HOLD_OUT = 20  # with fewer works in train, val is cut by role: too few works would be left on both sides
TEST_CLASS_FRACTION = 0.2  # of a class's images; with an eighth of the rest for val, 7:1:2 as in DAF:re
VAL_CLASS_FRACTION = 0.125


def num_query_roles(num_roles: int) -> int:
    """How many of a work's roles are queries: 40 %, rounded down, at least one."""
    return max(int(QUERY_FRACTION * num_roles), 1)


def cut_val(roles_of_works: Sequence[np.ndarray]) -> dict[int, int]:
    """The roles that leave train for validation, each with its split code; which ones is drawn from a fixed seed.

    `roles_of_works` holds one list of role ids per work of train, both in the order of their names. With at least 20
    works a fifth of the works leaves whole, else 40 % of each work's roles, but never its last one. Of the roles that
    leave, each work's share is cut 4:6 into query and gallery.
    """
    generator = np.random.default_rng(0)
    num_works = len(roles_of_works)
    if num_works >= MIN_WORKS_TO_HOLD_OUT:
        held_out = generator.permutation(num_works)[: round(VAL_WORK_FRACTION * num_works)]
        leaving = [generator.permutation(roles_of_works[work]) for work in sorted(held_out)]
    else:
        leaving = [generator.permutation(roles)[: _num_val_roles(len(roles))] for roles in roles_of_works]
    return {int(role): code for roles in leaving for role, code in _query_then_gallery(roles)}


def _num_val_roles(num_roles: int) -> int:
    return min(max(round(VAL_ROLE_FRACTION * num_roles), 1), num_roles - 1)


def _query_then_gallery(roles: np.ndarray) -> list[tuple[int, int]]:
    queries = num_query_roles(len(roles))
    return [(role, VAL_QUERY if place < queries else VAL_GALLERY) for place, role in enumerate(roles)]


def query_roles_of_fold(role_names: Sequence[str], roles_in_fold: np.ndarray) -> np.ndarray:
    """The ids of the fold's query roles: the first 40 % of each work's roles by number.

    `role_names` are all "WORK/ROLE" names, index = role id; `roles_in_fold` the distinct ids that stand in the fold.
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
    """The split code of each image of train, int8, where VAL, or VAL and TEST, are `cut` from every class.

    `classes` are the class ids of these images. Of a class a fifth leaves for test and an eighth of the rest for val,
    at least one each as long as one stays in train; which ones is drawn from a fixed seed.
    """
    generator = np.random.default_rng(0)
    codes = np.full(len(classes), TRAIN, dtype=np.int8)
    for members in _members_of(classes):
        left = generator.permutation(members)
        for code, fraction in ((TEST, TEST_CLASS_FRACTION), (VAL, VAL_CLASS_FRACTION)):
            if code in cut:
                num = min(max(round(fraction * len(left)), 1), len(left) - 1)
                codes[left[:num]] = code
                left = left[num:]
    return codes


def cut_identities(identities: np.ndarray) -> np.ndarray:
    """The split code of each image of train, int8: a fifth of the identities leaves whole for val.

    `identities` are the ids of these images. Which identities leave is drawn from a fixed seed, of those with at least
    two images; the images of each are cut 4:6 into query and gallery, at least one of either.
    """
    generator = np.random.default_rng(0)
    codes = np.full(len(identities), TRAIN, dtype=np.int8)
    eligible = [members for members in _members_of(identities) if len(members) > 1]
    num_held_out = round(VAL_WORK_FRACTION * len(eligible))
    for place in sorted(generator.permutation(len(eligible))[:num_held_out]):
        members = generator.permutation(eligible[place])
        codes[members] = VAL_GALLERY
        codes[members[: num_query_roles(len(members))]] = VAL_QUERY
    return codes


def split_in_file_order(num_images: int) -> tuple[int, int, int]:
    """How many of a class's images are train, val and test in DAF:re: its first, its middle and its last.

    Its authors' code as it runs: 0.7 + 0.1 is 0.7999999999999999, so that of 20 images 14, 1 and 5 are taken.
    """
    num_seen = int(num_images * (0.7 + 0.1))
    num_train = int(num_images * 0.7)
    return num_train, num_seen - num_train, num_images - num_seen


def draw_folds(num_works: int, num_folds: int, seed: int) -> np.ndarray:
    """The fold of each work, as equal in number as can be; 38 each of LSASRD's 190."""
    return np.random.default_rng(seed).permutation(np.arange(num_works) % num_folds)


def _members_of(groups: np.ndarray) -> list[np.ndarray]:
    """The places of each value, ascending."""
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(groups[order])) + 1) if len(order) else []
