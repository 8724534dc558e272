import pytest

from planner.costs.setting import Setting
from planner.domain.catalog import read_device, read_generation_stack, read_model, read_training_stack
from planner.domain.cluster import NodePool
from planner.domain.stack import Stack
from planner.domain.workload import Workload


@pytest.fixture(scope="session")
def setting_of():
    """Settings of a model on nodes of eight H100, with an engine and a workload."""
    pool = NodePool.model_validate(
        {
            "name": "pool",
            "nodes": 16,
            "devices_per_node": 8,
            "device": read_device("h100-sxm-80gb"),
            "network": {"bandwidth": "400 Gbit/s", "latency": "10 us"},
        }
    )

    def build(model="llama-2-7b", engine="vllm", **work):
        workload = {"prompts": 64, "prompt_tokens": 512, "response_tokens": 1024, **work}
        return Setting(
            model=read_model(model),
            head="vocabulary",
            precision="bf16",
            workload=Workload.model_validate(workload),
            node_pool=pool,
            stack=Stack(
                training=read_training_stack("megatron-core"), generation=read_generation_stack(engine)
            ),
        )

    return build
