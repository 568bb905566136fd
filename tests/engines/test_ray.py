"""A Ray cluster of two nodes on this machine, one of which is killed while it trains."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster
from tests.engines.small_study import QUIET, assert_as_here, assert_resumed, interrupt, load

from saltus import api


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[Cluster, None, None]:
    """Two nodes of one core each."""
    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    soon = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 2}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False, "_system_config": soon})
    cluster.add_node(**node)
    ray.init(address=cluster.address, configure_logging=False, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def test_a_node_that_is_killed_costs_nothing_but_time(cluster: Cluster, tmp_path: Path, in_this_process: None) -> None:
    study = load(tmp_path)
    [node] = cluster.worker_nodes
    with api.open_engine("ray") as engine:
        assert (engine.device, engine.processes, engine.slots) == ("cpu", 1, 2)
        written = interrupt(tmp_path, study, lambda: cluster.remove_node(node, allow_graceful=False))
        folders = api.run_study(study, out=tmp_path / "out", engine=engine, console=QUIET)
    assert all(folder.finished for folder in folders)
    assert_resumed(written)
    assert_as_here(study, tmp_path)
