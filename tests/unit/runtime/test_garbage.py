"""Imports are not collected, and what they create is never collected later."""

from __future__ import annotations

import gc

import pytest

from daemon.runtime.garbage import kept_from_collection


@pytest.fixture(autouse=True)
def as_before() -> object:
    yield
    gc.unfreeze()
    gc.enable()


def test_nothing_is_collected_within_the_block() -> None:
    with kept_from_collection():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_what_the_block_created_is_left_out_of_later_collections() -> None:
    with kept_from_collection():
        created: list[object] = []
        created.append(created)
    assert not any(each is created for each in gc.get_objects())


def test_an_error_within_the_block_leaves_collection_on() -> None:
    with pytest.raises(ZeroDivisionError), kept_from_collection():
        1 / 0  # noqa: B018
    assert gc.isenabled()
