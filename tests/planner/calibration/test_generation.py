from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from planner.calibration.generation import COLUMNS, cache_tokens, evaluate, predicted
from planner.calibration.generation_fit import FILE, fit_stack, latencies, points_of, with_constants
from planner.calibration.rows import Row, RowError
from planner.calibration.serving import Load, closed_loop
from planner.calibration.serving_rows import engine_of, point_of
from planner.costs.serving.step_table import step_table
from planner.domain.parallelism import GenerationStrategy


def row(line=2, **fields):
    content = {
        "backend": "vllm",
        "model_path": "meta-llama/Llama-3.1-8B-Instruct",
        "system": "h100_sxm",
        "isl": "1024",
        "osl": "128",
        "concurrency": "8.0",
        "tp_size": "1.0",
        "gemm_quant_mode": "",
        "silicon_ttft_ms": "100",
        "silicon_tpot_ms": "8",
    }
    return Row(line=line, fields=content | {name: str(value) for name, value in fields.items()})


def ignore(done):
    assert done == 1


def point(**fields):
    return point_of(row(**fields), None)


def latency(**fields):
    one = point(**fields)
    return predicted(engine_of(one), one)


def test_both_latencies_of_a_row_are_judged_and_in_seconds():
    found = evaluate([row()], None, ignore)
    measures = {judged.measure: judged for judged in found.judged}
    assert {name: judged.measured for name, judged in measures.items()} == {"tpot": 0.008, "ttft": 0.1}
    assert all(judged.low < judged.predicted < judged.high for judged in found.judged)
    assert measures["tpot"].predicted == pytest.approx(0.008, rel=0.3)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"mode": "disagg"}, "different devices"),
        ({"system": "abacus"}, "no device"),
        ({"model_path": "acme/unheard-of"}, "no model"),
        ({"backend": "pencil"}, "no serving engine"),
        ({"gemm_quant_mode": "int4_wo"}, "quantization"),
        ({"gemm_quant_mode": "fp8", "system": "a100_sxm"}, "has no fp8"),
        ({"model_path": "Qwen/Qwen3-32B-FP8", "system": "a100_sxm"}, "has no fp8"),
        ({"model_path": "deepseek-ai/DeepSeek-V3"}, "no room"),
        ({"concurrency": "", "batch_size": "16"}, "no concurrency"),
        ({"silicon_ttft_ms": "", "silicon_tpot_ms": ""}, "neither latency"),
    ],
)
def test_what_cannot_be_predicted_is_skipped_with_its_reason(fields, reason):
    found = evaluate([row(**fields)], None, ignore)
    assert not found.judged
    assert reason in found.skipped[0].reason


def test_mistakes_of_all_rows_are_told_together():
    with pytest.raises(RowError, match=r"(?s)line 2: isl.*line 3: silicon_tpot_ms"):
        evaluate([row(2, isl="long"), row(3, silicon_tpot_ms="-1")], None, ignore)


def load(clients=1, prompt=1024, response=128, cache=10**7, step=2048, rounds=1):
    return Load(
        concurrency=clients,
        prompt_tokens=prompt,
        response_tokens=response,
        slots=clients,
        cache_tokens=cache,
        step_tokens=step,
        rounds=rounds,
    )


@pytest.fixture(scope="module")
def table():
    return step_table(engine_of(point()), GenerationStrategy(max_sequences=1))


def test_one_client_alone_waits_for_nobody(table):
    found = closed_loop(table, load())
    steps = [table.seconds(1, 1025 + done) for done in range(127)]
    assert found.first_token == pytest.approx(table.seconds(0, 0, prompts=1, prompt_tokens=1024))
    assert found.output_token == pytest.approx(np.mean(steps), rel=1e-3)


def test_a_request_takes_the_engine_as_long_as_all_clients_requests_do(table):
    """Little's law: a request's time over all clients is the engine's time per request."""
    found = closed_loop(table, load(clients=8, rounds=50))
    cycle = found.first_token + 127 * found.output_token
    busy = 127 * table.seconds(8, 1088) + 8 * table.seconds(0, 0, prompts=1, prompt_tokens=1024)
    assert cycle == pytest.approx(busy, rel=0.1)


def test_a_prompt_beyond_the_budget_takes_several_steps(table):
    whole = table.seconds(0, 0, prompts=1, prompt_tokens=4096)
    assert closed_loop(table, load(prompt=4096, step=1024)).first_token > whole


@pytest.mark.parametrize("cache", [1200, 2500, 5000])
def test_a_cache_that_is_too_small_for_all_makes_them_wait_and_loses_none(table, cache):
    ample, scarce = (closed_loop(table, load(clients=6, rounds=4, cache=size)) for size in (10**6, cache))
    assert scarce.first_token > ample.first_token


def test_sequences_that_outgrow_the_cache_are_computed_again(table):
    """Both prompts fit, both responses do not: the younger goes back and its tokens take longer."""
    fits = closed_loop(table, load(clients=2, response=512, cache=10**6))
    outgrows = closed_loop(table, load(clients=2, response=512, cache=2 * 1024 + 300))
    assert outgrows.output_token > 1.2 * fits.output_token


def test_more_clients_slow_each_other_down():
    few, many = latency(concurrency=8), latency(concurrency=64)
    assert few.first_token < many.first_token
    assert few.output_token < many.output_token


def test_more_devices_per_replica_are_faster_per_token():
    assert latency(tp_size=2).output_token < latency(tp_size=1).output_token


def test_the_cache_holds_what_the_weights_leave():
    """Qwen3 32B on two H100: 40 GB of 128 KiB per token each."""
    full = {"model_path": "Qwen/Qwen3-32B", "isl": 4096, "concurrency": 128, "tp_size": 2}
    assert (
        280_000
        < cache_tokens(engine_of(point(**full)), GenerationStrategy(tensor=2, max_sequences=1))
        < 320_000
    )
    assert latency(**full).first_token > 5


def made_up(tmp_path: Path, constants) -> Path:
    """A file of latencies that an engine with these constants has."""
    rows = [row(tp_size=tensor, concurrency=clients, osl=64) for tensor in (1, 2) for clients in (4, 16, 64)]
    points = [point_of(each, None) for each in rows]
    found = latencies(with_constants(points[0].stack, np.array(constants)), points) * 1e3
    lines = [",".join(COLUMNS)]
    for each, (first, output) in zip(rows, found, strict=True):
        fields = each.fields | {"silicon_ttft_ms": str(first), "silicon_tpot_ms": str(output)}
        lines.append(",".join(fields[name] for name in COLUMNS))
    path = tmp_path / FILE
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_fit_finds_the_constants_that_made_the_rows(tmp_path):
    stack = fit_stack(points_of(made_up(tmp_path, [1e-3, 5e-5, 1.1])))
    assert (stack.step, stack.sequence, 1 / stack.sustained) == pytest.approx((1e-3, 5e-5, 1.1), rel=0.1)
    assert stack.record.rows == 6
    assert stack.record.held_out.mape < 0.02


def test_a_slower_stack_computes_slower_and_reads_as_fast():
    one = point(concurrency=1, osl=1024)
    slower = one.stack.model_copy(update={"sustained": one.stack.sustained / 2})
    fast, slow = (predicted(replace(engine_of(one), stack=stack), one) for stack in (one.stack, slower))
    assert slow.first_token > 1.5 * fast.first_token
    assert slow.output_token < 1.1 * fast.output_token
