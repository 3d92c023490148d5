"""Join a cluster of Ray, and check that it has room."""

from __future__ import annotations

import logging
import os

import ray

from phyletic.errors import StudyFailed
from phyletic.workers.ray_workers import RayWorkers


def join_cluster(workers: RayWorkers) -> None:
    """Join a cluster of Ray unless this program has done so, and check that it has room for the workers.

    Args:
        workers: The workers.

    Raises:
        InvalidArgument: The cluster can never hold them.
        StudyFailed: No cluster could be joined or started, or this process is only a client of one.
    """
    if ray.util.client.ray.is_connected():
        raise StudyFailed(
            "this program is a client of a Ray cluster (ray://), and the study must stay on one of its nodes: "
            "start the program by `ray job submit`, or on the head node"
        )
    if not ray.is_initialized():
        try:
            ray.init(logging_level=logging.WARNING, log_to_driver=False)
        except (ConnectionError, RuntimeError, TimeoutError, ValueError) as error:
            address = os.environ.get("RAY_ADDRESS")
            where = f"the Ray cluster at RAY_ADDRESS={address} could not be joined" if address else "Ray did not start"
            raise StudyFailed(f"{where}: {error}") from error
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    workers.check_room(nodes, ray._private.state.state.get_max_resources_from_cluster_config())
