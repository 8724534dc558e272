import pytest

from planner.calibration.rl import evaluate, places, predicted_phases
from planner.calibration.rl_fit import FILE, fit, predicted, with_speed
from planner.calibration.rl_rows import COLUMNS, TRAINER, iteration_of, sizes_of
from planner.calibration.rows import Row, RowError


def row(line=2, **fields):
    content = dict.fromkeys(COLUMNS, "") | {
        "source": "someone",
        "algo": "DAPO",
        "model": "qwen2.5 7b math",
        "gpu": "H100",
        "n_gpus": "8.0",
        "backend": "megatron+vllm",
        "train_parallel": "tp4",
        "gen_parallel": "tp1",
        "max_prompt_len": "2k",
        "max_response_len": "8k",
        "mean_response_len": "1000",
        "prompts_per_step": "512.0",
        "samples_per_prompt": "16.0",
        "mini_bs": "32.0",
        "max_tok_actor": "20k",
        "max_tok_logp": "60k",
        "step_s": "450",
        "generation_s": "144",
        "update_actor_s": "203",
        "old_logp_s": "84",
        "reshard_s": "3.2",
    }
    return Row(line=line, fields=content | {name: str(value) for name, value in fields.items()})


def ignore(done):
    assert done == 1


def iteration(**fields):
    return iteration_of(row(**fields), None)


def phases(**fields):
    return predicted_phases(iteration(**fields))


def mean_response(**fields):
    return iteration(**fields).setting.workload.response_tokens.mean


def test_each_phase_that_is_given_is_judged_by_itself():
    found = evaluate([row(), row(3, generation_s="", ref_s="40")], None, ignore)
    measures = [(judged.line, judged.measure) for judged in found.judged]
    of_first = ["generation", "update", "logprobs", "reshard", "step"]
    assert measures == [(2, name) for name in of_first] + [
        (3, name) for name in ["update", "logprobs", "reshard", "ref", "step"]
    ]
    assert all(judged.low < judged.predicted < judged.high for judged in found.judged)


def test_the_step_is_the_sum_of_its_phases_and_asks_a_reference_model_where_the_algorithm_does():
    without, with_one = phases(algo="DAPO"), phases(algo="GRPO")
    assert with_one["step"] - without["step"] == pytest.approx(with_one["ref"])
    assert with_one["step"] == pytest.approx(sum(with_one.values()) - with_one["step"])


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("tp4pp2", (4, 2, 1, 1, 1)),
        ("Tp4pp1cp1", (4, 1, 1, 1, 1)),
        ("tp2 pp4 ep8 vpp2 etp1", (2, 4, 1, 8, 2)),
        ("[TP,CP,EP,PP,VPP]=[1,1,1,1,1,2,n/a]", (1, 2, 1, 1, 1)),
        ("[TP,PP]=[2,1]", (2, 1, 1, 1, 1)),
    ],
)
def test_layouts_are_read_as_rows_write_them(text, sizes):
    found = sizes_of(text)
    assert tuple(found[name] for name in ("tp", "pp", "cp", "ep", "vpp")) == sizes


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"gpu": "abacus"}, "no device"),
        ({"model": "unheard of"}, "no model"),
        ({"backend": "megatron+pencil"}, "no serving engine"),
        ({"prompts_per_step": ""}, "neither prompts"),
        ({"train_parallel": "as usual"}, "cannot be read"),
        ({"gen_parallel": ""}, "cannot be read"),
        ({"gen_parallel": "[TP,PP]=[1]"}, "cannot be read"),
        ({"placement": "8 + 8 async"}, "devices of their own"),
        ({"gen_parallel": "tp16"}, "more devices"),
        (
            dict.fromkeys(("step_s", "generation_s", "update_actor_s", "old_logp_s", "reshard_s"), ""),
            "no phase",
        ),
    ],
)
def test_what_cannot_be_predicted_is_skipped_with_its_reason(fields, reason):
    found = evaluate([row(**fields)], None, ignore)
    assert not found.judged
    assert reason in found.skipped[0].reason


def test_fully_sharded_trainers_need_no_sizes():
    assert str(iteration(backend="fsdp+vllm", train_parallel="").update.layout) == "p1t1d8"


def test_a_count_may_be_in_thousands_and_nothing_else():
    assert iteration(max_tok_actor="20k").update.micro_batch_tokens == 20 * 1024
    assert iteration(max_tok_actor="4").update.micro_batch == 4
    with pytest.raises(RowError, match="line 2: max_tok_actor"):
        evaluate([row(max_tok_actor="a few")], None, ignore)


def test_the_mean_length_comes_from_the_best_that_the_row_has():
    assert mean_response() == 1000
    by_rate = {"mean_response_len": "", "tokens_s_gpu": 8192 * 660 / 450 / 8}
    assert mean_response(**by_rate) == pytest.approx(500)
    by_utilization = {"mean_response_len": "", "actor_mfu": "0.36"}
    assert 1000 < mean_response(**by_utilization) < 2000
    assert mean_response(mean_response_len="") == 1024


def test_what_is_known_less_of_has_a_wider_band():
    def width(**fields):
        found = evaluate([row(**fields)], None, ignore).judged[0]
        return found.high / found.low

    assert width() < width(mean_response_len="", tokens_s_gpu="2000") < width(mean_response_len="")


def test_samples_of_a_step_stand_in_for_prompts():
    alone = iteration(prompts_per_step="", samples_per_prompt="", samples_per_step="2048", mini_bs="512")
    assert (alone.setting.workload.samples, alone.setting.workload.mini_batches) == (2048, 4)
    assert iteration().setting.workload.mini_batches == 16


def test_batches_that_are_not_packed_take_longer():
    assert phases(note="dynamic_batch=FALSE")["update"] > phases()["update"]


def test_the_cache_limits_what_runs_at_once():
    assert places(iteration(mean_response_len="4000")) < places(iteration()) <= 1024


def test_a_generation_layout_wider_than_the_training_layout_can_be_synced():
    wide = phases(n_gpus=32, train_parallel="tp2pp4", gen_parallel="tp8")
    assert 0 < wide["reshard"] < wide["step"]


def test_twice_the_devices_are_not_slower():
    assert phases(n_gpus="16")["step"] < phases()["step"]


def test_a_fit_finds_the_speed_that_made_the_rows(tmp_path):
    rows = [row(index, n_gpus=devices) for index, devices in ((2, 8), (3, 16), (4, 32))]
    lines = [",".join(rows[0].fields)]
    for each in rows:
        update, logprobs = predicted(with_speed(0.6), iteration_of(each, None))
        fields = each.fields | {"update_actor_s": str(update), "old_logp_s": str(logprobs)}
        lines.append(",".join(fields.values()))
    (tmp_path / FILE).write_text("\n".join(lines) + "\n")
    stack = fit(tmp_path)[TRAINER]
    assert stack.speeds["any"].products == pytest.approx(0.6, abs=0.01)
    assert stack.record.rows == 3
    assert stack.record.held_out.mape < 0.02
