import json

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from planner.domain.timeline import Span
from runtime.metrics import iteration_metrics, metrics_file, timing_name
from runtime.watch import SubmittedCall
from runtime.workers.call import Report


def span(call, kind, start_s, end_s):
    role = call.split(".")[0]
    return Span(pool="pool-0", role=role, call=call, kind=kind, iteration=0, start_s=start_s, end_s=end_s)


def test_each_step_is_one_line_and_one_scalar_in_tensorboard(tmp_path):
    with metrics_file(tmp_path) as metrics:
        metrics.append(1, {"critic/rewards/mean": 0.5})
        metrics.append(2, {"critic/rewards/mean": 0.75})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"step": 1, "critic/rewards/mean": 0.5},
        {"step": 2, "critic/rewards/mean": 0.75},
    ]
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in board.Scalars("critic/rewards/mean")] == [
        (1, 0.5),
        (2, 0.75),
    ]


def test_a_resumed_run_keeps_the_lines_up_to_its_checkpoint(tmp_path):
    with metrics_file(tmp_path) as metrics:
        for step in (1, 2, 3):
            metrics.append(step, {"a": step})
    with metrics_file(tmp_path, kept=2) as metrics:
        metrics.append(3, {"a": 30.0})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["a"] for line in lines] == [1, 2, 30]


@pytest.mark.parametrize(
    ("call", "kind", "name"),
    [
        ("actor.generate", "generate", "gen"),
        ("actor.generate/reshard", "reshard", "reshard"),
        ("reference.logprobs", "infer", "ref"),
        ("controller.advantages", "numeric", "adv"),
        ("critic.update", "train", "update_critic"),
        ("actor.update", "train", "update_actor"),
    ],
)
def test_times_have_verls_names(call, kind, name):
    assert timing_name(span(call, kind, 0, 1)) == name


def test_throughput_is_tokens_over_the_seconds_of_the_iteration():
    done = SubmittedCall(
        pool="controller",
        role="controller",
        name="controller.advantages",
        kind="numeric",
        ranks=1,
        of_ranks={0: Report(0, 1, {}, {"perf/total_num_tokens": 600.0})},
    )
    spans = [span("actor.generate", "generate", 1, 2), span("actor.update", "train", 2, 4)]
    metrics = iteration_metrics([done], spans)
    assert metrics["timing_s/step"] == 3
    assert metrics["perf/throughput"] == 200
    assert (metrics["timing_s/gen"], metrics["timing_s/update_actor"]) == (1, 2)


def test_seconds_shared_with_the_iteration_before_count_once():
    spans = [span("actor.generate", "generate", 3, 5), span("actor.update", "train", 5, 8)]
    assert iteration_metrics([], spans, after_s=4)["timing_s/step"] == 4
    assert iteration_metrics([], spans, after_s=2)["timing_s/step"] == 5
