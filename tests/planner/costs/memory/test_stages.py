import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.costs.memory.parameters import layer_tensors
from planner.costs.memory.stages import fullest_stages, layers_at, stages_of
from planner.domain.catalog import read_model
from planner.domain.model import ModelSpec, MoeSpec
from planner.domain.resharding import holds, stage_layers
from planner.domain.weights import weight_tensors

SMALL = ModelSpec(
    name="small", family="qwen2", layers=5, hidden=8, heads=4, kv_heads=2, head_dim=2, ffn=12, vocab=20
)
CATALOG = ["qwen3-8b", "llama-2-7b", "opt-13b", "gpt-3-175b", "mixtral-8x7b", "moonlight-16b-a3b"]


@pytest.mark.parametrize("model", [SMALL, *map(read_model, CATALOG)], ids=lambda model: model.name)
@pytest.mark.parametrize("head", ["vocabulary", "scalar"])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_stages_hold_the_weights_that_the_runtime_gives_them(model, head, count):
    tensors = list(weight_tensors(model, head))
    for index, stage in enumerate(stages_of(model, head, count)):
        held = [tensor for tensor in tensors if holds(tensor, index, count, model.layers)]
        rest = [tensor for tensor in held if not tensor.is_expert]
        assert stage.split == sum(tensor.elements for tensor in rest if tensor.split != "whole")
        assert stage.whole == sum(tensor.elements for tensor in rest if tensor.split == "whole")
        assert stage.experts == sum(tensor.elements for tensor in held if tensor.is_expert)


def test_stages_together_hold_every_parameter():
    stages = stages_of(SMALL, "vocabulary", 3)
    assert sum(stage.split + stage.whole for stage in stages) == SMALL.parameters()


def test_a_tied_head_on_another_stage_needs_a_copy_of_the_embedding():
    tied = SMALL.model_copy(update={"tied_embeddings": True})
    assert stages_of(tied, "vocabulary", 1)[0].tied_copy == 0
    assert stages_of(tied, "vocabulary", 2)[-1].tied_copy == tied.embedding_parameters
    assert stages_of(tied, "scalar", 2)[-1].tied_copy == 0


def test_experts_are_cut_over_both_groups():
    (stage,) = stages_of(read_model("mixtral-8x7b"), "vocabulary", 1)
    assert stage.shard(2, expert=4) - stage.shard(2, expert=8) == stage.experts // 16


@pytest.mark.parametrize("name", [*CATALOG, "deepseek-v3", "qwen3-30b-a3b", "qwen2.5-7b"])
def test_megatrons_tensors_are_the_models_parameters(name):
    model = read_model(name)
    dense = layer_tensors(model, is_sparse=False).shared.elements(1)
    count = model.dense_layers * dense
    if model.moe:
        layer = layer_tensors(model, is_sparse=True)
        count += model.expert_layers * (layer.shared.elements(1) + layer.experts * layer.expert.elements(1))
    ends = model.embedding_parameters + model.position_parameters + model.norm_size
    assert count + ends + model.head_parameters("vocabulary") == model.parameters()


@given(st.integers(1, 70), st.integers(1, 12), st.integers(1, 4), st.integers(0, 9))
def test_chunks_are_cut_like_stages(layers, pipeline, virtual, dense):
    model = with_experts(layers, dense)
    chunks = stage_layers(layers, pipeline * virtual)
    begins = [sum(chunks[:index]) for index in range(len(chunks))]
    for stage in range(pipeline):
        own = list(zip(begins, chunks, strict=True))[stage::pipeline]
        first = sum(len(range(begin, min(begin + size, model.dense_layers))) for begin, size in own)
        found = layers_at(model, pipeline=pipeline, virtual=virtual, stage=stage)
        assert (found.dense, found.sparse) == (first, sum(size for _, size in own) - first)


def with_experts(layers, dense):
    moe = MoeSpec(experts=4, experts_per_token=2, expert_ffn=4, dense_layers=min(dense, layers))
    return SMALL.model_copy(update={"layers": layers, "moe": moe})


@given(
    st.integers(4, 70),
    st.integers(1, 16),
    st.integers(0, 4),
    st.floats(0.1, 10),
    st.floats(0, 5),
    st.integers(1, 64),
)
def test_no_stage_holds_more_than_the_fullest(layers, pipeline, dense, dense_weight, end, micro_batches):
    """Whatever a layer of either kind weighs: states alone, or activations that wait on earlier stages."""
    pipeline = min(pipeline, layers)
    model = with_experts(layers, dense)
    place = {"pipeline": pipeline, "virtual": 1}

    def weight(stage):
        held = layers_at(model, stage=stage, **place)
        waiting = min(pipeline - stage, micro_batches)
        ends = end * ((stage == 0) + (stage == pipeline - 1))
        return (dense_weight * held.dense + held.sparse) * (1 + 0.2 * waiting) + ends

    fullest = max(weight(int(stage)) for stage in fullest_stages(model, **place))
    assert fullest == max(weight(stage) for stage in range(pipeline))
