"""Which residuals a call has, and what marks it as outside of what was calibrated."""

from typing import Any

import pytest

from planner.algorithms import ALGORITHMS, trace
from planner.costs.uncertainty import (
    BEYOND_HALF_WIDTH,
    FLAT_HALF_WIDTH,
    FP8_HALF_WIDTH,
    RELATIVE_HALF_WIDTH,
    REPEATED,
    UNCALIBRATED,
    banded_call,
    banded_memory,
    call_uncertainty,
    kernel_uncertainty,
    term_of,
)
from planner.domain.catalog import read_device
from planner.domain.cluster import KernelFits, NodePool
from planner.domain.fits import ElementwiseFit, FitRecord, FlatFit, Residuals
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.domain.plan import CallPrediction, RoleMemory, RoleStrategy
from planner.domain.reading import parse_scenario
from planner.domain.stack import Speeds

PPO = trace(ALGORITHMS["ppo"], name="ppo")
UPDATE, GENERATE = PPO.call("actor.update"), PPO.call("actor.generate")
STRATEGY = RoleStrategy(
    train=ParallelStrategy(tensor=8), generate=GenerationStrategy(tensor=8, max_sequences=4)
)
HELD_OUT = Residuals(rows=30, mape=0.04, p90=0.08, low=-0.06, high=0.08, shared=0.03, own=0.04)
RECORD = FitRecord(source="rows", date="2026-11-20", rows=90, held_out=HELD_OUT)
MODELLED = CallPrediction(seconds=10.0, origin="modelled")


@pytest.fixture(scope="module")
def scenario(tmp_path_factory):
    words = {
        "name": "bands",
        "algorithm": "ppo",
        "models": dict.fromkeys(PPO.roles, "llama-2-7b"),
        "cluster": "1x8xh100-sxm-80gb",
        "workload": {"prompts": 64, "prompt_tokens": 1024, "response_tokens": 1024},
    }
    return parse_scenario(words, where="test", relative_to=tmp_path_factory.getbasetemp())


def measured(scenario: Any, record: FitRecord | None) -> Any:
    """The scenario with a training stack of that record."""
    training = scenario.stack.training.model_copy(update={"record": record, "speeds": {}})
    return scenario.model_copy(update={"stack": scenario.stack.model_copy(update={"training": training})})


def pool(scenario: Any, **kernels: Any) -> NodePool:
    """Eight devices whose kernels were measured, unless ``kernels`` says otherwise."""
    (node_pool,) = scenario.cluster.node_pools
    streams = ElementwiseFit(share=0.8, launch="0 s", record=RECORD)
    fits = KernelFits.model_construct(
        **{
            "gemm": streams,
            "attention": streams,
            "elementwise": streams,
            "collective": streams,
            "relative": None,
        }
        | kernels
    )
    return node_pool.model_copy(update={"device": node_pool.device.model_copy(update={"kernels": fits})})


def test_a_calibrated_call_has_the_residuals_of_its_stack(scenario: Any) -> None:
    found = call_uncertainty(UPDATE, "modelled", STRATEGY, pool(scenario), measured(scenario, RECORD))
    assert (found.residuals, found.outside) == (HELD_OUT, ())
    call = banded_call(UPDATE, MODELLED, STRATEGY, pool(scenario), measured(scenario, RECORD))
    assert call.seconds_low == pytest.approx(9.4176, rel=1e-4)
    assert call.seconds_high == pytest.approx(10.8329, rel=1e-4)
    assert call.is_calibrated


def test_a_stack_without_record_has_the_stated_wide_band(scenario: Any) -> None:
    found = call_uncertainty(UPDATE, "modelled", STRATEGY, pool(scenario), measured(scenario, None))
    assert found.residuals == UNCALIBRATED
    assert found.outside == ("nothing measured of megatron-core",)


@pytest.mark.parametrize(
    ("kernels", "half_width", "words"),
    [
        ({"relative": "a100-sxm-80gb"}, RELATIVE_HALF_WIDTH, "by its relative a100-sxm-80gb"),
        ({"gemm": FlatFit(share=0.5)}, FLAT_HALF_WIDTH, "by its data sheet alone"),
    ],
)
def test_a_device_that_was_not_measured_widens_the_band(
    scenario: Any, kernels: dict[str, Any], half_width: float, words: str
) -> None:
    home = (STRATEGY, pool(scenario, **kernels), measured(scenario, RECORD))
    found = call_uncertainty(UPDATE, "modelled", *home)
    assert found.residuals.high == pytest.approx((0.08**2 + half_width**2) ** 0.5)
    assert [words in reason for reason in found.outside] == [True]


def test_fp8_and_sizes_beyond_the_rows_widen_the_band(scenario: Any) -> None:
    covers = {"devices": (16.0, 64.0), "tokens": (1024.0, 4096.0)}
    known = measured(scenario, RECORD.model_copy(update={"covers": covers}))
    known = known.model_copy(update={"precision": "fp8"})
    found = call_uncertainty(UPDATE, "modelled", STRATEGY, pool(scenario), known)
    assert found.outside == ("fp8 is best effort", "8 devices, measured 16 to 64")
    assert found.residuals.low == pytest.approx(
        -((0.06**2 + FP8_HALF_WIDTH**2 + BEYOND_HALF_WIDTH**2) ** 0.5)
    )


def test_an_engine_measured_on_an_architecture_tells_of_its_kernels(scenario: Any) -> None:
    home = pool(scenario, relative="a100-sxm-80gb")
    known = measured(scenario, RECORD)
    speeds = {"speeds": {"hopper": Speeds()}}
    training = known.stack.training.model_copy(update=speeds)
    known = known.model_copy(update={"stack": known.stack.model_copy(update={"training": training})})
    assert call_uncertainty(UPDATE, "modelled", STRATEGY, home, known).outside == ()
    fp8 = call_uncertainty(UPDATE, "modelled", STRATEGY, home, known.model_copy(update={"precision": "fp8"}))
    assert fp8.outside == ("fp8 is best effort",)
    outside = call_uncertainty(GENERATE, "modelled", STRATEGY, home, known).outside
    assert "h100-sxm-80gb by its relative a100-sxm-80gb" in outside


def test_a_forward_pass_by_itself_is_less_sure_than_a_step(scenario: Any) -> None:
    home = (STRATEGY, pool(scenario), measured(scenario, RECORD))
    step = call_uncertainty(UPDATE, "modelled", *home)
    forward = call_uncertainty(PPO.call("reference.logprobs"), "modelled", *home)
    assert forward.outside == ("forward passes measured as parts of steps only",)
    assert forward.residuals.high > step.residuals.high


def test_large_sizes_are_told_in_billions(scenario: Any) -> None:
    covers = {"parameters": (30e9, 40e9)}
    known = measured(scenario, RECORD.model_copy(update={"covers": covers}))
    found = call_uncertainty(UPDATE, "modelled", STRATEGY, pool(scenario), known)
    assert found.outside == ("6.74 billion parameters, measured 30 billion to 40 billion",)


def test_what_a_profile_measured_scatters_as_its_repeats(scenario: Any) -> None:
    home = (STRATEGY, pool(scenario), measured(scenario, None))
    assert call_uncertainty(UPDATE, "measured", *home).residuals == REPEATED


def test_what_a_profile_corrects_keeps_its_own_part_only(scenario: Any) -> None:
    home = (STRATEGY, pool(scenario), measured(scenario, RECORD))
    found = call_uncertainty(UPDATE, "scaled", *home).residuals
    assert (found.shared, found.own) == (0.0, 0.04)
    assert found.high == pytest.approx(0.08 * 0.8)


def test_calls_share_a_kind_where_they_share_engine_and_device(scenario: Any) -> None:
    home = (STRATEGY, pool(scenario), scenario)
    values = term_of(PPO.call("critic.values"), MODELLED, *home)
    update, generate = (term_of(call, MODELLED, *home) for call in (UPDATE, GENERATE))
    assert update.kind == values.kind != generate.kind
    assert len({update.identity, values.identity, generate.identity}) == 3


def test_only_bytes_that_depend_on_buffers_are_uncertain() -> None:
    memory = RoleMemory(
        persistent={"parameters": 100}, transient={"a": {"kv_cache": 50}, "b": {"activations": 1000}}
    )
    bands = banded_memory(memory).bands
    assert bands["a"] == (150, 150)
    low, high = bands["b"]
    assert low < 1100 < high
    assert (low - 100) / 1000 == pytest.approx(1000 / (high - 100), rel=0.01)


def test_a_kernel_of_a_device_known_by_data_sheet_is_marked() -> None:
    flat = read_device("h100-sxm-80gb").model_copy(update={"kernels": KernelFits()})
    unknown = kernel_uncertainty(flat, None, kernel="gemm", precision="fp8")
    assert len(unknown.outside) == 3
    assert unknown.residuals.high > kernel_uncertainty(flat, RECORD, kernel="gemm").residuals.high
