import pytest

from planner.domain.catalog import read_model
from planner.domain.model import ModelSpec
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.domain.resharding import reshard_volume, stage_layers, stage_of_layer
from planner.domain.weights import weight_tensors

LLAMA = ModelSpec(
    name="m", family="llama", layers=4, hidden=64, heads=8, kv_heads=8, head_dim=8, ffn=128, vocab=96
)
QWEN3 = LLAMA.model_copy(update={"family": "qwen3", "tied_embeddings": True})
QWEN2 = LLAMA.model_copy(update={"family": "qwen2", "kv_heads": 4})


EVERY_FAMILY = ["mixtral-8x7b", "qwen3-30b-a3b", "deepseek-v3", "moonlight-16b-a3b", "gpt-3-175b", "opt-13b"]


@pytest.mark.parametrize("model", [LLAMA, QWEN3, QWEN2, *map(read_model, EVERY_FAMILY)])
@pytest.mark.parametrize("head", ["vocabulary", "scalar"])
def test_the_tensors_add_up_to_the_models_parameters(model: ModelSpec, head: str) -> None:
    assert sum(tensor.elements for tensor in weight_tensors(model, head)) == model.parameters(head)  # type: ignore[arg-type]


def test_expert_tensors_are_told_apart() -> None:
    model = read_model("qwen3-30b-a3b")
    experts = sum(tensor.elements for tensor in weight_tensors(model) if tensor.is_expert)
    assert experts == 48 * 128 * model.expert_parameters


@pytest.mark.parametrize("rank", range(8))
def test_equal_layouts_receive_nothing(rank: int) -> None:
    train = ParallelStrategy(pipeline=2, tensor=2, data=2)
    same = GenerationStrategy(pipeline=2, tensor=2, replicas=2, max_sequences=1)
    assert reshard_volume(LLAMA, train, same, rank=rank, precision="bf16").received == 0


@pytest.mark.parametrize(("tensor", "generation"), [(2, 1), (4, 2), (4, 1), (8, 2)])
def test_split_tensors_arrive_as_table_2_says(tensor: int, generation: int) -> None:
    train = ParallelStrategy(tensor=tensor)
    generate = GenerationStrategy(tensor=generation, replicas=tensor // generation, max_sequences=1)
    split = sum(item.elements for item in weight_tensors(LLAMA) if item.split != "whole") * 2
    volume = reshard_volume(LLAMA, train, generate, rank=0, precision="bf16")
    assert volume.received == split * (tensor - generation) // (generation * tensor)
    assert volume.redundant == 0


def test_a_pipeline_gathers_the_other_stages() -> None:
    train = ParallelStrategy(pipeline=2)
    generate = GenerationStrategy(replicas=2, max_sequences=1)
    received = [
        reshard_volume(LLAMA, train, generate, rank=rank, precision="fp32").received for rank in (0, 1)
    ]
    assert sum(received) == LLAMA.parameters() * 4


@pytest.mark.parametrize(("layers", "stages"), [(40, 3), (5, 2), (7, 7), (32, 4)])
def test_stages_hold_nearly_equal_runs_of_layers(layers: int, stages: int) -> None:
    counts = stage_layers(layers, stages)
    assert sum(counts) == layers
    assert max(counts) - min(counts) <= 1
    assigned = [stage_of_layer(layer, layers, stages) for layer in range(layers)]
    assert assigned == sorted(assigned)
