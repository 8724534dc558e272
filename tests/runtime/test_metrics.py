import pytest

from planner.domain.timeline import Span
from runtime.metrics import iteration_metrics, timing_name
from runtime.watch import SubmittedCall
from runtime.workers.call import Mean, Report


def span(call, kind, start_s, end_s):
    role = call.split(".")[0]
    return Span(pool="pool-0", role=role, call=call, kind=kind, iteration=0, start_s=start_s, end_s=end_s)


def generation(reported):
    return SubmittedCall(
        pool="pool-0",
        role="actor",
        name="actor.generate",
        kind="generate",
        ranks=len(reported),
        of_ranks={rank: Report(0, 1, {}, metrics) for rank, metrics in enumerate(reported)},
    )


@pytest.mark.parametrize(
    ("call", "kind", "name"),
    [
        ("actor.generate", "generate", "gen"),
        ("actor.generate/reshard", "reshard", "reshard"),
        ("reference.logprobs", "infer", "ref"),
        ("controller.advantages", "numeric", "adv"),
        ("critic.update", "train", "update_critic"),
        ("actor.update", "train", "update_actor"),
        ("actor.proximal_logprobs", "infer", "old_log_prob"),
        ("reward.baselines", "infer", "reward_baseline"),
        ("cost.costs", "infer", "cost"),
        ("actor.send", "send", "update_weights"),
        ("generator.receive", "receive", "update_weights"),
        ("actor.generate#2", "generate", "gen"),
        ("judge.debate", "infer", "debate"),
    ],
)
def test_times_have_verls_names(call, kind, name):
    assert timing_name(span(call, kind, 0, 1)) == name


def test_throughput_is_tokens_over_the_seconds_of_the_iteration_and_the_devices():
    done = SubmittedCall(
        pool="controller",
        role="controller",
        name="controller.advantages",
        kind="numeric",
        ranks=1,
        of_ranks={0: Report(0, 1, {}, {"perf/total_num_tokens": 600.0})},
    )
    spans = [span("actor.generate", "generate", 1, 2), span("actor.update", "train", 2, 4)]
    metrics = iteration_metrics([done], spans, devices=4)
    assert metrics["timing_s/step"] == 3
    assert metrics["perf/throughput"] == 50
    assert (metrics["timing_s/gen"], metrics["timing_s/update_actor"]) == (1, 2)


def test_seconds_shared_with_the_iteration_before_count_once():
    spans = [span("actor.generate", "generate", 3, 5), span("actor.update", "train", 5, 8)]
    assert iteration_metrics([], spans, devices=1, after_s=4)["timing_s/step"] == 4
    assert iteration_metrics([], spans, devices=1, after_s=2)["timing_s/step"] == 5


def test_numbers_that_differ_over_ranks_become_one_by_what_they_are():
    reported = (
        {"a/max": 1.0, "a/min": 1.0, "a": 0.1},
        {"a/max": 3.0, "a/min": 3.0, "a": 0.1, "b": 5.0},
        {"a": 0.1},
    )
    done = generation(reported)
    metrics = iteration_metrics([done], [span("actor.generate", "generate", 0, 1)], devices=1)
    assert {name: metrics[name] for name in ("a/max", "a/min", "a", "b")} == {
        "a/max": 3.0,
        "a/min": 1.0,
        "a": 0.1,
        "b": 5.0,
    }
    means = ({"c": 1.0}, {"c": 2.0}, {"c": 6.0})
    done = generation(means)
    assert iteration_metrics([done], [span("actor.generate", "generate", 0, 1)], devices=1)["c"] == 3.0


def test_means_over_samples_count_every_sample_of_every_rank_once():
    """Two of three samples are right: one of the two on a rank, and the one on the other."""
    reported = (
        {"reward/right": Mean(1.0, 2), "reward/length_max": Mean(2.0, 2)},
        {"reward/right": Mean(1.0, 1), "reward/length_max": Mean(4.0, 1)},
        {},
    )
    metrics = iteration_metrics([generation(reported)], [span("actor.generate", "generate", 0, 1)], devices=1)
    assert (metrics["reward/right"], metrics["reward/length_max"]) == (2 / 3, 2.0)
