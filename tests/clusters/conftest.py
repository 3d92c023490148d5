"""Clusters of Ray for the tests that need one; a process of the tests has at most one at a time."""

import logging
import os

import pytest


@pytest.fixture(scope="module")
def clusters():
    """Give a function that returns a cluster of one or two nodes, which replaces the one before."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    running = {}

    def stop():
        os.environ.pop("RAY_ADDRESS", None)
        ray.shutdown()
        for cluster in running.values():
            if cluster is not None:
                cluster.shutdown()
        running.clear()

    def cluster(nodes):
        if nodes not in running:
            stop()
            if nodes == 1:
                running[1] = None
                ray.init(
                    address="local",
                    num_cpus=4,
                    include_dashboard=False,
                    logging_level=logging.WARNING,
                    log_to_driver=False,
                )
            else:
                # the death of a whole node is known after some of these periods, each of 3 s by default
                often = {"health_check_period_ms": 500}
                made = running[nodes] = Cluster(
                    initialize_head=True,
                    head_node_args={"num_cpus": 2, "resources": {"slot": 1}, "_system_config": often},
                )
                for _ in range(nodes - 1):
                    made.add_node(num_cpus=2, resources={"slot": 1})
                made.wait_for_nodes()
                ray.init(address=made.address, logging_level=logging.WARNING, log_to_driver=False)
            # processes that a test starts join the same cluster
            os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
        return running[nodes]

    yield cluster
    stop()


@pytest.fixture
def one_node(clusters):
    """This process drives a Ray of one node, with room for four actors."""
    clusters(1)


@pytest.fixture
def two_nodes(clusters):
    """This process drives a Ray of two nodes, each with one ``slot``; give the cluster."""
    return clusters(2)
