from types import SimpleNamespace

import numpy as np
import pytest

from planner.costs.passes.pipeline import Passages, slots
from planner.domain.catalog import read_model
from planner.domain.resharding import stage_layers

DENSE, SPARSE, EMBEDDING, HEAD = 1.0, 2.5, 0.3, 4.0
PASSAGES = Passages(
    **{
        name: np.array([seconds])
        for name, seconds in (("dense", DENSE), ("sparse", SPARSE), ("embedding", EMBEDDING), ("head", HEAD))
    }
)


def stage_seconds(model, pipeline, virtual):
    """Of every stage, its layers dealt out one by one."""
    cuts = np.cumsum([0, *stage_layers(model.layers, pipeline * virtual)])
    one = [DENSE if layer < model.dense_layers else SPARSE for layer in range(model.layers)]
    seconds = [
        sum(sum(one[cuts[chunk] : cuts[chunk + 1]]) for chunk in range(stage, pipeline * virtual, pipeline))
        for stage in range(pipeline)
    ]
    seconds[0] += EMBEDDING
    seconds[-1] += HEAD
    return seconds


@pytest.mark.parametrize("name", ["llama-3.1-8b", "qwen3-30b-a3b", "moonlight-16b-a3b", "deepseek-v3"])
@pytest.mark.parametrize("virtual", [1, 2, 3])
def test_the_slowest_stage_is_the_slowest_of_all(name, virtual):
    job = SimpleNamespace(model=read_model(name))
    for pipeline in range(1, job.model.layers // virtual + 1):
        found = slots(job, PASSAGES, pipeline=pipeline, virtual=virtual)
        every = stage_seconds(job.model, pipeline, virtual)
        assert found.slowest.item() == pytest.approx(max(every)), pipeline
        assert found.all.item() == pytest.approx(sum(every))
