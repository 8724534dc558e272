import pytest

from planner.costs.stages import stages_of
from planner.domain.catalog import read_model
from planner.domain.model import ModelSpec
from planner.domain.resharding import holds
from planner.domain.weights import weight_tensors

SMALL = ModelSpec(
    name="small", family="qwen2", layers=5, hidden=8, heads=4, kv_heads=2, head_dim=2, ffn=12, vocab=20
)


@pytest.mark.parametrize("model", [SMALL, read_model("qwen3-8b"), read_model("llama-2-7b")])
@pytest.mark.parametrize("head", ["vocabulary", "scalar"])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_stages_hold_the_weights_that_the_runtime_gives_them(model, head, count):
    tensors = list(weight_tensors(model, head))
    for index, stage in enumerate(stages_of(model, head, count)):
        held = [tensor for tensor in tensors if holds(tensor, index, count, model.layers)]
        assert stage.split == sum(tensor.elements for tensor in held if tensor.split != "whole")
        assert stage.whole == sum(tensor.elements for tensor in held if tensor.split == "whole")


def test_stages_together_hold_every_parameter():
    stages = stages_of(SMALL, "vocabulary", 3)
    assert sum(stage.split + stage.whole for stage in stages) == SMALL.parameters()


def test_a_tied_head_on_another_stage_needs_a_copy_of_the_embedding():
    tied = SMALL.model_copy(update={"tied_embeddings": True})
    assert stages_of(tied, "vocabulary", 1)[0].tied_copy == 0
    assert stages_of(tied, "vocabulary", 2)[-1].tied_copy == tied.embedding_parameters
    assert stages_of(tied, "scalar", 2)[-1].tied_copy == 0
