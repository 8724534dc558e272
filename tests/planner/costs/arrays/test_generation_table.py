"""Generation strategies in arrays against one by one."""

from dataclasses import replace

import numpy as np
import pytest

from planner.costs.arrays.generation_table import Generations, generation_table
from planner.costs.serving.generation import generation_seconds
from planner.costs.setting import Setting
from planner.domain.lengths import TokenLengths
from planner.domain.workload import Turns


@pytest.mark.parametrize(
    "lengths",
    [
        TokenLengths(mean=512, maximum=512),
        TokenLengths(mean=300, maximum=1024),
        TokenLengths(mean=300, maximum=1024, sigma=1.0),
    ],
)
@pytest.mark.parametrize(
    "prompts", [TokenLengths(mean=600, maximum=600), TokenLengths(mean=6000, maximum=20_000)]
)
@pytest.mark.parametrize("turns", [None, Turns(count=4, wait="20 s", tokens=30)], ids=["one turn", "turns"])
def test_replicas_of_as_many_sequences_take_what_each_takes_by_itself(
    setting: Setting, lengths: TokenLengths, turns: Turns | None, prompts: TokenLengths
) -> None:
    """Costs of alike rows are computed once: 96 samples on 33 to 47 replicas are 3 for the fullest."""
    work = setting.workload.model_copy(
        update={"prompts": 96, "prompt_tokens": prompts, "response_tokens": lengths, "turns": turns}
    )
    own = replace(setting, workload=work)
    replicas = np.arange(8, 97)
    ones = np.ones_like(replicas)
    rows = Generations(
        pipeline=ones, tensor=2 * ones, replicas=replicas, max_sequences=4 * ones, cache_tokens=0 * ones
    )
    alone = [generation_seconds(own, rows.one(row)) for row in range(len(rows))]
    assert generation_table(own, rows).seconds == pytest.approx(alone, rel=1e-12)
