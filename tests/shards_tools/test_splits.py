"""Taking val from train, and the folds of the five-fold layout."""

import numpy as np
import pytest

from shards_tools.errors import Error
from shards_tools.splits import (
    TEST,
    TRAIN,
    VAL,
    VAL_GALLERY,
    VAL_QUERY,
    cut_classes,
    cut_val,
    num_query_roles,
    query_roles_of_fold,
)


def roles_of(*counts: int) -> list[np.ndarray]:
    return np.split(np.arange(sum(counts)), np.cumsum(counts)[:-1])


def test_with_twenty_works_a_fifth_of_them_leaves_whole():
    for num_works, held_out in ((20, 4), (24, 5), (100, 20)):
        val = cut_val(roles_of(*[10] * num_works))
        works = [role // 10 for role in val]
        assert len(set(works)) == held_out
        assert all(works.count(work) == 10 for work in works)
        queries = [role // 10 for role, code in val.items() if code == VAL_QUERY]
        assert all(queries.count(work) == 4 for work in works)


def test_a_work_with_one_role_never_leaves_whole():
    val = cut_val(roles_of(*[1, 10] * 15))
    starts = np.cumsum([0, *[1, 10] * 15])
    works = np.searchsorted(starts, sorted(val), side="right") - 1
    assert len(set(works)) == 3, "a fifth of the fifteen works with roles for query and gallery"
    assert all(work % 2 for work in works)


@pytest.mark.parametrize("num_works", [3, 12, 19, 20, 40])
@pytest.mark.parametrize("num_roles", [1, 2, 3, 4, 7])
def test_every_work_of_val_has_a_query_and_a_gallery(num_works, num_roles):
    roles = roles_of(*[num_roles] * num_works)
    val = cut_val(roles)
    for work in roles:
        codes = {val.get(role) for role in work.tolist()} - {None}
        assert codes in (set(), {VAL_QUERY, VAL_GALLERY})
    assert bool(val) == (num_roles >= 3 or (num_roles == 2 and num_works >= 20))


def test_with_fewer_works_forty_percent_of_each_works_roles_leave():
    roles = roles_of(*[40] * 8)
    val = cut_val(roles)
    for work in roles:
        codes = [val[role] for role in work.tolist() if role in val]
        assert (codes.count(VAL_QUERY), codes.count(VAL_GALLERY)) == (6, 10)


@pytest.mark.parametrize(("num_roles", "num_val"), [(1, 0), (2, 0), (3, 2), (4, 2), (5, 2)])
def test_no_work_loses_its_last_role_or_gives_a_query_without_a_gallery(num_roles, num_val):
    assert len(cut_val(roles_of(num_roles, 10)).keys() & set(range(num_roles))) == num_val


def test_the_cut_is_the_same_every_time():
    assert cut_val(roles_of(*[7] * 30)) == cut_val(roles_of(*[7] * 30))


def test_queries_are_forty_percent_rounded_down_but_at_least_one():
    assert [num_query_roles(n) for n in (1, 2, 3, 4, 5, 9, 26)] == [1, 1, 1, 1, 2, 3, 10]


@pytest.mark.parametrize("cut", [(VAL,), (VAL, TEST)])
def test_a_cut_of_classes_takes_its_share_of_each_and_never_the_last_image(cut):
    sizes = [1, 2, 3, 8, 20, 100, 1000]
    classes = np.random.default_rng(1).permutation(np.repeat(np.arange(len(sizes)), sizes))
    codes = cut_classes(classes, cut)
    for number, size in enumerate(sizes):
        found = {code: int((codes[classes == number] == code).sum()) for code in (TRAIN, VAL, TEST)}
        assert sum(found.values()) == size
        assert found[TRAIN] >= 1
        assert (found[TEST] > 0) == (TEST in cut and size > 1)
        assert (found[VAL] > 0) == (size > len(cut))
        if size >= 20:
            shares = (0.7, 0.1, 0.2) if TEST in cut else (0.875, 0.125, 0)
            assert [found[code] for code in (TRAIN, VAL, TEST)] == pytest.approx(
                [share * size for share in shares], abs=1
            )
    np.testing.assert_array_equal(codes, cut_classes(classes, cut))


def test_a_cut_of_classes_is_drawn_and_not_the_first_images():
    places = np.flatnonzero(cut_classes(np.zeros(1000, int), (VAL,)) == VAL)
    assert places.min() < 100 < 900 < places.max()


def test_a_plain_split_is_a_partition_and_keeps_roles_whole(plain):
    split = vars(plain.split())
    together = np.concatenate(list(split.values()))
    assert sorted(together.tolist()) == list(range(plain.num_images))
    roles = [set(plain.role[indices].tolist()) for indices in split.values()]
    assert sum(map(len, roles)) == len(set.union(*roles)) == len(plain.roles)
    assert {plain.works[work] for work in plain.work[split["test_query"]]} == {"US0003"}
    assert {plain.works[work] for work in plain.work[split["val_query"]]} == {"CN0002", "JP0001"}
    assert (len(split["test_query"]), len(split["test_gallery"])) == (6, 9)


def test_a_fold_asks_with_the_first_roles_of_its_works(five_fold):
    for fold in range(5):
        split = five_fold.split(fold)
        queries = {five_fold.roles[role] for role in five_fold.role[split.val_query]}
        gallery = {five_fold.roles[role] for role in five_fold.role[split.val_gallery]}
        assert queries == {f"JP000{fold}/0001", f"JP000{fold}/0002", f"KR000{fold}/0007"}
        assert gallery == {f"JP000{fold}/{role:04d}" for role in (3, 4, 5)} | {f"KR000{fold}/0012"}
        assert not set(five_fold.work[split.train]) & set(five_fold.work[split.val_query])
        assert len(split.train) + len(split.val_query) + len(split.val_gallery) == five_fold.num_images
        assert len(split.test_query) == len(split.test_gallery) == 0


def test_the_first_roles_are_the_first_by_number_not_by_letter():
    names = ["JP0001/10", "JP0001/11", "JP0001/12", "JP0001/8", "JP0001/9", "JP0002/3"]
    assert query_roles_of_fold(names, np.arange(6)).tolist() == [3, 4, 5]


def test_a_fold_that_does_not_exist_is_named(plain, five_fold):
    assert (plain.num_folds, five_fold.num_folds) == (1, 5)
    for manifest, fold, known in (
        (plain, 1, "Use fold 0\\."),
        (five_fold, 5, "Use a fold from 0 to 4"),
        (five_fold, -1, "0 to 4"),
    ):
        with pytest.raises(Error, match=f"Fold {fold} does not exist.*{known}"):
            manifest.split(fold)
