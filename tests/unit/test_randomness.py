"""Random streams, named by integers."""

from __future__ import annotations

import pytest

from phyletic.randomness import RandomStream


def first(*key: int) -> float:
    return RandomStream(*key).random()


def test_streams_give_their_recorded_numbers() -> None:
    # a study that an earlier version began must continue with the same decisions
    assert [round(first(*key), 12) for key in [(0,), (0, 1), (7, 3), (2**40, 5)]] == [
        0.636961687321,
        0.889738791278,
        0.97503355372,
        0.871210233151,
    ]


@pytest.mark.parametrize("seed", [0, 7, 2**32, 2**63 - 1])
def test_every_decision_of_a_study_has_its_own_stream(seed: int) -> None:
    assert len({first(seed, number) for number in range(1000)}) == 1000


def test_which_keys_name_the_same_stream() -> None:
    assert first(7) == first(7, 0) == first(7, 0, 0)
    assert first(5 + 7 * 2**32) == first(5, 7) != first(7, 5)
    assert first(7, 0, 1) != first(7, 1)
