"""A worker's place, and when its next worker begins."""

from __future__ import annotations

from phyletic.workers.worker_place import Place


def test_the_next_worker_starts_at_once_and_then_ever_later_up_to_a_limit() -> None:
    place = Place(0)
    pauses = []
    for _ in range(12):
        assert place.again(100.0, asked=True, early_deaths=3)
        pauses.append(round(place.due - 100.0, 3))
        assert place.vacant(place.due)
        assert pauses[-1] == 0 or not place.vacant(100.0)
    assert pauses == [0.0, 0.2, 0.4, 0.8, 1.6, 3.2, *[5.0] * 6]


def test_a_place_is_over_when_its_workers_die_too_often_in_a_row_before_they_ask() -> None:
    place = Place(0)
    deaths = [False, False, True, False, False, False]
    assert [place.again(0.0, asked=asked, early_deaths=3) for asked in deaths] == [True] * 5 + [False]
    assert place.over
    assert not place.vacant(1e9)
