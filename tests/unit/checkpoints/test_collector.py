"""The collector deletes each condemned checkpoint once, and confirms it once the deletion is durable."""

import hypothesis.strategies as st
from hypothesis import given, settings

from phyletic.checkpoints import Collector
from phyletic.errors import CheckpointError, StoreUnreachable


class Disk:
    """Records deletions and makes them durable on sync; fails as the test asks."""

    def __init__(self, undeletable=(), failing_syncs=()):
        self.undeletable, self.failing_syncs = undeletable, failing_syncs
        self.deleted, self.gone, self.syncs = [], set(), 0

    def delete(self, id):
        if id in self.undeletable:
            raise CheckpointError(id)
        self.deleted.append(id)

    def sync(self):
        self.syncs += 1
        if self.syncs in self.failing_syncs:
            raise CheckpointError("sync")
        self.gone.update(self.deleted)


@given(
    batches=st.lists(st.integers(0, 40), max_size=20),
    undeletable=st.sets(st.integers(0, 200)),
    failing_syncs=st.sets(st.integers(1, 8)),
)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_each_id_is_deleted_once_and_confirmed_only_after_a_sync(batches, undeletable, failing_syncs):
    disk = Disk({str(number) for number in undeletable}, failing_syncs)
    collector = Collector(disk.delete, disk.sync)
    added, confirmed = [], []
    for count in batches:
        ids = [str(number) for number in range(len(added), len(added) + count)]
        added += ids
        confirmed += collector.add(ids)
        assert disk.deleted == [id for id in added if id not in disk.undeletable], "at once"
        assert set(confirmed) <= disk.gone
    confirmed += collector.flush()
    assert set(confirmed) <= disk.gone
    assert len(confirmed) == len(set(confirmed))
    if not failing_syncs:
        assert confirmed == disk.deleted
        assert disk.syncs <= len(disk.deleted) // 32 + 1
    assert collector.flush() == []


def test_a_batch_syncs_once_and_an_empty_one_never():
    disk = Disk()
    collector = Collector(disk.delete, disk.sync)
    assert collector.add(map(str, range(31))) == []
    assert disk.syncs == 0
    assert len(collector.add(["last"])) == 32
    assert collector.add([]) == collector.flush() == []
    assert disk.syncs == 1


def test_a_deletion_that_could_not_be_synced_stays_condemned():
    disk = Disk(failing_syncs={1})
    collector = Collector(disk.delete, disk.sync)
    collector.add(["a"])
    assert collector.flush() == []
    collector.add(["b"])
    assert collector.flush() == ["b"]


def test_a_store_that_does_not_answer_is_asked_once_and_not_for_each_checkpoint():
    asked = []

    def delete(id):
        asked.append(id)
        raise StoreUnreachable("no answer")

    collector = Collector(delete, lambda: None)
    assert collector.add(["a", "b", "c"]) == []
    assert asked == ["a"]
    assert collector.flush() == []
