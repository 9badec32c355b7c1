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
