"""Figures 9 to 11 and 14, and what is said of them."""

from dataclasses import dataclass

import pytest

from planner.studies.paper import throughput
from planner.studies.paper.published import SPEEDUPS
from planner.studies.paper.system_facts import flat_fact, speedup_facts, transition_facts
from planner.studies.paper.system_tables import throughput_tables, transition_table
from planner.studies.paper.throughput import comparing, comparison, points
from planner.studies.paper.transitions import Transitions, caption_strategies, transitions


@pytest.fixture(scope="module")
def compared():
    return [comparison("ppo", "7b", 8), comparison("ppo", "7b", 128)]


def test_every_point_of_the_axes_is_compared():
    found = list(points())
    assert len(found) == len(set(found)) == 57
    assert ("ppo", "70b", 32) not in found
    assert ("remax", "70b", 32) in found


def test_throughput_is_all_tokens_over_the_stage_cost(compared):
    for each in compared:
        assert each.ours.tokens_per_second == pytest.approx(1024 * 2048 / each.ours.seconds)
        for system, ratio in each.speedups("shipped").items():
            other = each.others[system, "shipped"]
            assert ratio == pytest.approx(other.seconds / each.ours.seconds)


def test_openrlhf_at_its_best_is_as_far_behind_on_128_devices_as_published(compared):
    assert compared[1].speedup("openrlhf", "best") == pytest.approx(1.68, rel=0.25)


def test_weights_cross_to_openrlhfs_generator(compared):
    run = compared[1].others["openrlhf", "best"]
    calls = run.plan.prediction.calls
    wanted = calls["actor.send"].seconds + calls["generator.receive"].seconds
    assert run.transition_seconds == pytest.approx(wanted)
    assert compared[1].ours.transition_seconds == calls_of(compared[1].ours)["actor.generate"].reshard_seconds


def calls_of(run):
    return run.plan.prediction.calls


def test_transitions_are_flat_in_the_devices_for_hybridflow_alone(compared):
    found = list(transitions(compared))
    assert [(each.size, each.devices) for each in found] == [("7b", 8), ("7b", 128)]
    assert flat_fact(found).holds
    few, many = found
    assert many.hybridflow == pytest.approx(few.hybridflow, rel=0.01)
    assert many.others["openrlhf", "best"] > 2 * few.others["openrlhf", "best"]
    assert few.hybridflow < few.vanilla


def test_layouts_of_the_captions_need_whole_replicas():
    assert caption_strategies("34b", 48) is None
    train, generate = caption_strategies("34b", 64)
    assert (str(train), str(generate)) == ("p4t8d2", "p1t8x8")


SYSTEMS = ("openrlhf", "deepspeed-chat", "nemo-aligner")


@dataclass
class Stub:
    """A comparison of which only speed-ups are asked for."""

    algorithm: str
    size: str
    devices: int
    ratios: dict

    def speedup(self, system, setup):
        return self.ratios.get(system)

    def speedups(self, setup):
        return self.ratios


def test_facts_hold_where_ours_are_near_the_published_ones():
    stubs = [
        Stub("ppo", size, devices, dict(zip(SYSTEMS, ratios, strict=True)))
        for size, devices, ratios in [
            ("7b", 8, (2.1, 3.0, 8.6)), ("7b", 128, (1.7, 1.9, 4.0)),
            ("13b", 16, (2.7, 3.6, 19.0)), ("34b", 32, (2.4, 4.0, 20.6)),
            ("70b", 64, (5.9, 5.2, 18.0)), ("70b", 128, (5.3, 7.8, 18.0)),
        ]
    ]  # fmt: skip
    stubs.append(Stub("remax", "13b", 8, {"openrlhf": 2.5, "deepspeed-chat": 3.66}))
    facts = {fact.source.split(" (")[0]: fact for fact in speedup_facts(stubs, "best")}
    assert len(facts) == len(SPEEDUPS) + 3 + 4
    wrong = {source for source, fact in facts.items() if not fact.holds}
    assert wrong <= {
        "section 8.2: PPO over OpenRLHF, mean and greatest",
        "section 8.2: PPO over NeMo-Aligner, mean and greatest",
    }
    assert facts["figure 9: greatest speed-up of each size"].holds


def test_a_fact_far_from_the_published_one_does_not_hold():
    stubs = [
        Stub("ppo", size, devices, {"openrlhf": 1.0, "deepspeed-chat": 1.0, "nemo-aligner": 1.0})
        for size, devices in [("7b", 8), ("7b", 128), ("13b", 16), ("34b", 32), ("70b", 64)]
    ]
    stubs.append(Stub("remax", "13b", 8, {"openrlhf": 1.0}))
    held = [fact.source for fact in speedup_facts(stubs, "shipped") if fact.holds]
    assert held == []


def made(devices, hybridflow, other):
    return Transitions(
        size="70b",
        devices=devices,
        hybridflow=hybridflow,
        vanilla=2 * hybridflow,
        others={("deepspeed-chat", "best"): other},
    )


def test_reductions_are_told_with_their_sign():
    mean, most = transition_facts([made(64, 2.0, 4.0), made(128, 2.0, 8.0)], "best")
    assert (mean.ours, most.ours) == ("62.5 % shorter", "75.0 % shorter")
    assert (mean.holds, most.holds) == (True, True)
    mean, _ = transition_facts([made(64, 6.0, 4.0)], "best")
    assert (mean.ours, mean.holds) == ("50.0 % longer", False)
    assert not flat_fact([made(64, 2.0, 4.0), made(128, 3.0, 4.0)]).holds


def test_tables_say_where_a_system_does_not_run(compared):
    (table,) = throughput_tables(compared)
    assert len(table.rows) == 2
    assert all(len(row) == len(table.columns) == 9 for row in table.rows)
    assert all(cell.endswith("x") for cell in table.rows[1][3:])
    assert len(transition_table(list(transitions(compared))).rows) == 2


@pytest.mark.parametrize("workers", [0, 1])
def test_workers_change_nothing_but_who_computes(monkeypatch, workers):
    wanted = [("remax", "7b", 8)]
    monkeypatch.setattr(throughput, "points", lambda: iter(wanted))
    said = []
    with comparing(said.append, workers=workers) as compared:
        found = compared()
    assert [(each.algorithm, each.size, each.devices) for each in found] == wanted
    assert said == ["figure 10: remax of 7b on 8"]
    assert found[0].speedup("openrlhf", "best") == pytest.approx(2.81, rel=0.05)
