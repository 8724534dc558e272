"""What random tests of physics draw from: devices, networks, and one entry of a data sheet made better."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from planner.domain.catalog import read_device

ROWS = 100
"""Random shapes or layouts of one example."""
EXACT = 1 - 1e-9

some = settings(max_examples=12)
seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)
factors = st.floats(1.0, 4.0)
devices = st.sampled_from(
    ["a100-sxm-80gb", "h100-sxm-80gb", "l40s-48gb", "b200-sxm-180gb", "a40-48gb", "h20-sxm-96gb"]
).map(read_device)
improvements = st.sampled_from(["peak", "memory", "link", "link latency", "network", "network latency"])
networks = st.sampled_from([1e9, 25e9, 400e9])


def improved(pool, name, factor):
    """The node pool with one entry of a data sheet ``factor`` times better."""
    device, link, network = pool.device, pool.device.link, pool.network
    of_device = {
        "peak": {"peak": {precision: factor * peak for precision, peak in device.peak.items()}},
        "memory": {"memory_bandwidth": factor * device.memory_bandwidth},
        "link": {"link": link.model_copy(update={"bandwidth": factor * link.bandwidth})},
        "link latency": {"link": link.model_copy(update={"latency": link.latency / factor})},
    }
    of_network = {
        "network": {"bandwidth": factor * network.bandwidth},
        "network latency": {"latency": network.latency / factor},
    }
    return pool.model_copy(
        update={
            "device": device.model_copy(update=of_device.get(name, {})),
            "network": network.model_copy(update=of_network.get(name, {})),
        }
    )


def pool_of(node_pool, device, network):
    """16 nodes of that device, with that many bytes per second between them."""
    between = node_pool.network.model_copy(update={"bandwidth": network})
    return node_pool.model_copy(update={"device": device, "network": between})
