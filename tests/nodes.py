"""A Ray cluster of two nodes on this machine, which tests share."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any


def two_nodes(module: ModuleType) -> Iterator[Any]:
    """A head and a node beside it, of one core each; what `module` defines is sent to them by value."""
    import ray
    from ray.cluster_utils import Cluster

    small = {"num_cpus": 1, "object_store_memory": 100 << 20}
    made = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    made.add_node(**small)
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    ray.cloudpickle.register_pickle_by_value(module)
    yield made
    ray.shutdown()
    made.shutdown()
