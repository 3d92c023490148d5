"""Ray actors are a source of trials like any other: on one node, and on two."""

import pytest

from phyletic.testing.trial_sources import TrialSourceConformance
from phyletic.workers.ray_workers import RayWorkers

pytest.importorskip("ray")


@pytest.mark.usefixtures("one_node")
@pytest.mark.xdist_group("one node")
class TestRayActors(TrialSourceConformance):
    concurrent = 2

    def run(self, study, train, reload="changed"):
        study.run(train, workers=RayWorkers(2), reload=reload, verbose=0)


@pytest.mark.usefixtures("two_nodes")
@pytest.mark.xdist_group("two nodes")
class TestRayActorsOnTwoNodes(TrialSourceConformance):
    """Each node has room for one of the two actors."""

    concurrent = 2

    def run(self, study, train, reload="changed"):
        study.run(train, workers=RayWorkers(2, resources={"slot": 1}), reload=reload, verbose=0)
