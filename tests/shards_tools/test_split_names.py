"""Spellings of splits, and names that are none."""

import pytest

from shards_tools.sources.split_names import split_of

SPELLINGS = {
    "train": "train Train TRAIN training Training trainset train_set train-data bounding_box_train image_train",
    "val": "val VAL valid validation Validation valset val_list dev imgs_val validation_images",
    "test": "test Testing TEST testset test_images bounding_box_test image_test eval evaluation",
    "query": "query Query queries probe image_query query_images",
    "gallery": "gallery Gallery galleries gallery_list",
}
OTHER = (
    "rem Trainer tested latest attest valley Valkyrie validus devil Devi querying set images data image list 0 _ 試験"
)


@pytest.mark.parametrize(("split", "name"), [(split, name) for split in SPELLINGS for name in SPELLINGS[split].split()])
def test_common_spellings_mean_a_split(split, name):
    assert split_of(name) == split


@pytest.mark.parametrize("name", OTHER.split())
def test_other_names_do_not(name):
    assert split_of(name) is None
