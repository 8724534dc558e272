import math

import pytest

from planner.domain.scenario import LOGPROB_TOLERANCES, LogprobDifference
from runtime.workers.actor import refuse_difference
from tests.runtime.plans import tiny_model, tiny_scenario


def tolerance(precision="fp32", given=None):
    scenario = tiny_scenario(model=tiny_model(), nodes=1, per_node=1)
    run = scenario.run.model_copy(update={"logprob_tolerance": given})
    return scenario.model_copy(update={"precision": precision, "run": run}).logprob_tolerance


def test_bf16_engines_may_differ_by_some_ulps_of_a_logit_but_not_on_average():
    """The first are those of logits up to 27 from hidden states with a noise of 0.5 %."""
    refuse_difference(LogprobDifference(mean=0.02, maximum=0.16), tolerance("bf16"), "tiny")
    with pytest.raises(
        RuntimeError, match=r"differ by 0\.1 on average and 0\.3 at most, tolerated are 0\.05 and"
    ):
        refuse_difference(LogprobDifference(mean=0.1, maximum=0.3), tolerance("bf16"), "tiny")
    with pytest.raises(RuntimeError, match=r"2 at most, tolerated are 0\.05 and 1 .*tiny is not resharded"):
        refuse_difference(LogprobDifference(mean=0.04, maximum=2.0), tolerance("bf16"), "tiny")


@pytest.mark.parametrize("difference", [2e-4, math.inf, math.nan])
def test_fp32_engines_agree_on_every_token(difference):
    refuse_difference(LogprobDifference(mean=1e-6, maximum=9e-5), tolerance(), "tiny")
    with pytest.raises(RuntimeError, match="not resharded correctly"):
        refuse_difference(LogprobDifference(mean=1e-6, maximum=difference), tolerance(), "tiny")


def test_a_tolerance_in_the_scenario_bounds_every_token():
    assert tolerance("bf16", given=0.3) == LogprobDifference(mean=0.3, maximum=0.3)
    assert tolerance("bf16") == LOGPROB_TOLERANCES["bf16"]
