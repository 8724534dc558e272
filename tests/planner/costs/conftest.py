import pytest

from planner.costs.setting import Setting
from planner.domain.catalog import read_device, read_generation_stack, read_model, read_training_stack
from planner.domain.cluster import NodePool
from planner.domain.stack import Stack
from planner.domain.workload import Workload


@pytest.fixture(scope="session")
def node_pool():
    """Part of HybridFlow's cluster: nodes of eight A100, 200 Gbit/s between nodes."""
    return NodePool.model_validate(
        {
            "name": "pool",
            "nodes": 16,
            "devices_per_node": 8,
            "device": read_device("a100-sxm-80gb"),
            "network": {"bandwidth": "200 Gbit/s", "latency": "10 us"},
        }
    )


@pytest.fixture(scope="session")
def workload():
    """HybridFlow's: 1024 prompts, 1024 + 1024 tokens, eight mini-batches."""
    return Workload.model_validate(
        {"prompts": 1024, "prompt_tokens": 1024, "response_tokens": 1024, "mini_batches": 8}
    )


@pytest.fixture(scope="session")
def stack():
    """Megatron-Core and vLLM."""
    return Stack(training=read_training_stack("megatron-core"), generation=read_generation_stack("vllm"))


@pytest.fixture(scope="session")
def setting(node_pool, workload, stack):
    """Llama 2 7B with a vocabulary head, in bf16."""
    return Setting(
        model=read_model("llama-2-7b"),
        head="vocabulary",
        precision="bf16",
        workload=workload,
        node_pool=node_pool,
        stack=stack,
    )
