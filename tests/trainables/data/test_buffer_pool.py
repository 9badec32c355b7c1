"""The memory of batches."""

import numpy as np
import torch

from trainables.data.batches import BufferPool

SHAPE = (2, 4, 4, 3)  # of a batch


def address(array):
    return array.__array_interface__["data"][0]


def test_memory_that_nobody_holds_is_given_out_again():
    pool = BufferPool()
    first = address(pool.take(SHAPE))
    assert address(pool.take(SHAPE)) == first


def test_memory_is_not_given_out_while_an_array_a_view_or_a_tensor_of_it_lives():
    pool = BufferPool()
    array, view, tensor = pool.take(SHAPE), pool.take(SHAPE)[1:], torch.from_numpy(pool.take(SHAPE))[0, 0]
    held = {address(array), address(view.base), tensor.untyped_storage().data_ptr()}
    assert len(held) == 3
    fresh = pool.take(SHAPE)
    assert address(fresh) not in held
    del array, view, tensor
    assert {address(array) for array in [pool.take(SHAPE) for _ in range(3)]} <= held


def test_another_shape_has_memory_of_its_own():
    pool = BufferPool()
    larger = (4, 4, 4, 3)
    kept = pool.take(SHAPE)
    assert pool.take(larger).shape == larger
    assert not np.shares_memory(kept, pool.take(SHAPE))


def test_a_tensor_of_the_pool_keeps_its_memory_while_a_view_of_it_lives():
    pool = BufferPool()
    held = pool.allocate(SHAPE)[1:]
    assert pool.allocate(SHAPE).untyped_storage().data_ptr() != held.untyped_storage().data_ptr()
