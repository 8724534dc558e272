"""What both sides of the comparison are told, and what is said of a contender."""

from pathlib import Path

from benchmarks.trl import COMMON, figures, our_scenario


def test_both_sides_are_told_the_same():
    scenario = our_scenario(COMMON)
    assert scenario.workload.samples == COMMON.samples
    assert scenario.workload.response_tokens.maximum == COMMON.response_tokens
    assert scenario.algorithm.kl_loss_coefficient == COMMON.kl_coefficient
    assert scenario.algorithm.aggregation == "seq-mean-token-mean"  # TRL's loss_type "grpo"
    assert scenario.run.actor_learning_rate == COMMON.learning_rate
    assert Path(scenario.run.reward_function.path) == Path(COMMON.rule).resolve()


def test_a_contenders_rate_is_of_its_median_step():
    found = figures([2.0, 1.0, 4.0], {"reward": 0.5, "loss": 9.0})
    assert found["samples_per_second"] == COMMON.samples / 2.0
    assert found["reward"] == 0.5
    assert "loss" not in found
