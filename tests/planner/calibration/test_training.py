import numpy as np
import pytest

from planner.calibration.rows import Row, RowError
from planner.calibration.training import evaluate
from planner.calibration.training_batches import batches_of, predicted_seconds
from planner.calibration.training_fit import (
    carried,
    fit_stack,
    fitted,
    model_weights,
    own_engine,
    products_by_architecture,
    softened,
)
from planner.calibration.training_rows import COLUMNS, measured_of
from planner.calibration.training_words import precision_of, recompute_of, servers_of, sharding_of
from planner.domain.catalog import read_device, read_training_stack
from planner.domain.stack import Speeds

GIVEN = {
    "source": "someone",
    "gpu": "H100-SXM-80GB",
    "n_gpus": "16.0",
    "framework": "NeMo/Megatron-Core",
    "model": "small",
    "layers": "8",
    "hidden": "2048",
    "heads": "16",
    "kv_heads": "4",
    "ffn": "8192",
    "vocab": "32000",
    "gated": "1.0",
    "seq": "4096",
    "gbs": "64",
    "mbs": "2",
    "tp": "2",
    "pp": "2",
    "precision": "bf16",
    "recompute": "unknown",
    "sharding": "dist-opt",
    "step_time_s": "1.5",
    "tokens_s_gpu": "",
    "note": "",
}


def row(line=2, **fields):
    return Row(line=line, fields=GIVEN | {name: str(value) for name, value in fields.items()})


def measured(**fields):
    found = measured_of(row(**fields), None)
    assert not isinstance(found, str), found
    return found


def ignore(done):
    assert done >= 0


def test_the_columns_of_a_row_are_its_job_and_layout():
    step = measured()
    assert set(COLUMNS) <= set(GIVEN)
    assert (step.devices, step.sizes.data, step.sequences, step.micro_batches) == (16, 4, 2, 8)
    assert (step.job.device.name, step.job.stack.name) == ("h100-sxm-80gb", "nemo")
    assert step.job.model.kv_heads == 4
    assert step.seconds == 1.5


def test_seconds_follow_from_tokens_where_they_are_not_stated():
    assert measured(step_time_s="", tokens_s_gpu="8192").seconds == pytest.approx(64 * 4096 / 8192 / 16)


def test_the_row_says_what_is_sharded_and_recomputed():
    step = measured(framework="Composer/FSDP", sharding="fsdp-grad", recompute="full", tp=1, pp=1)
    assert (step.job.stack.name, step.job.stack.sharding, step.recompute) == (
        "composer-fsdp",
        "gradients",
        "full",
    )


@pytest.mark.parametrize(
    ("sharding", "name"), [("fsdp-full", "composer-fsdp"), ("dist-opt", "nemo"), ("", "nemo")]
)
def test_an_unknown_framework_is_taken_by_its_sharding(sharding, name):
    assert measured(framework="Newcomer 1.0", sharding=sharding, tp=1).job.stack.name == name


def test_adapters_leave_weights_frozen():
    assert measured(task="lora").job.is_frozen
    assert not measured(task="sft").job.is_frozen


def test_a_note_states_the_network():
    step = measured(note="intra-node 150GB/s, inter-node 800Gbps (4x HDR) per config")
    pool = step.job.node_pool
    assert (pool.network.bandwidth, pool.rails, pool.nodes) == (100e9, 4, 2)
    assert measured().job.node_pool.network.bandwidth == 400e9


def test_every_row_is_judged_or_skipped_with_a_reason():
    rows = [
        row(2),
        row(3, gpu="abacus"),
        row(4, precision="int4"),
        row(5, n_gpus=6),
        row(6, step_time_s=""),
        row(7, ep=4),
        row(8, layers=""),
        row(9, gbs=""),
    ]
    found = evaluate(rows, None, ignore)
    assert [judged.line for judged in found.judged] == [2]
    assert {skipped.line: skipped.reason for skipped in found.skipped} == {
        3: "the device is not in the catalog",
        4: "the device's file states no peak for the precision",
        5: "the parallel sizes do not divide the devices",
        6: "neither the step's seconds nor tokens per second are stated",
        7: "the model's experts are not stated, nor is it in the catalog",
        8: "the model's dimensions are not stated, nor is it in the catalog",
        9: "the batch or the length of its sequences is not stated",
    }


def test_all_broken_rows_are_named():
    with pytest.raises(RowError) as raised:
        evaluate([row(2, tp="two"), row(3), row(4, gated="maybe"), row(5, kv_heads=3)], None, ignore)
    assert [mistake[:14] for mistake in raised.value.mistakes] == [
        "line 2: tp: ex",
        "line 4: gated:",
        "line 5: kv_hea",
    ]


def test_experts_come_from_the_catalog():
    step = measured(model="mixtral-8x7b", layers=32, hidden=4096, heads=32, kv_heads=8, ffn=14336, ep=4)
    assert step.job.model.moe is not None
    assert step.sizes.expert == 4


def test_predictions_lie_inside_their_band_and_name_their_source():
    (judged,) = evaluate([row()], None, ignore).judged
    assert judged.low < judged.predicted < judged.high
    assert (judged.source, judged.measured) == ("someone", 1.5)


def test_rows_of_one_choice_differ_in_parallel_sizes_only():
    first, other, larger = measured(), measured(tp=4, pp=1, mbs=1), measured(gbs=128)
    assert first.choice == other.choice != larger.choice


def test_peak_memory_is_judged_beside_the_seconds():
    found = evaluate([row(peak_mem_gib=40)], None, ignore).judged
    assert [judged.measure for judged in found] == ["seconds", "memory"]
    assert found[1].measured == 40 * 2**30


def test_devices_of_a_file_without_a_column_are_given():
    (judged,) = evaluate([row(gpu="")], read_device("a100-sxm-80gb"), ignore).judged
    on_hopper = evaluate([row()], None, ignore).judged[0].predicted
    assert judged.predicted > on_hopper


def test_rows_in_batches_are_predicted_as_alone():
    steps = [measured(), measured(gbs=128), measured(seq=8192), measured(tp=4), measured(recompute="full")]
    together = predicted_seconds(batches_of(steps))
    alone = [predicted_seconds(batches_of([step]))[0] for step in steps]
    assert together == pytest.approx(alone, rel=1e-12)


def made_up(stack):
    """Rows of two models as long as a stack with these constants takes them."""
    steps = [
        measured(model=f"h{hidden}", hidden=hidden, ffn=4 * hidden, gbs=gbs, tp=tp, seq=seq)
        for hidden in (2048, 4096)
        for gbs in (64, 128)
        for tp in (1, 2, 4)
        for seq in (2048, 8192)
    ]
    seconds = predicted_seconds(batches_of(steps), stack)
    return [
        measured(
            model=step.job.model.name,
            hidden=step.job.model.hidden,
            ffn=step.job.model.ffn,
            gbs=step.batch,
            tp=step.sizes.tensor,
            seq=int(step.job.tokens),
            step_time_s=taken,
        )
        for step, taken in zip(steps, seconds, strict=True)
    ]


def test_a_fit_finds_the_speed_that_rows_were_made_with():
    speeds = {"any": Speeds(products=0.6, attention=0.6, streams=0.5, ends=0.6)}
    slow = read_training_stack("nemo").model_copy(update={"speeds": speeds})
    rows = made_up(slow)
    found = predicted_seconds(batches_of(rows), fitted(rows))
    assert found == pytest.approx([each.seconds for each in rows], rel=0.03)


def test_the_record_judges_each_model_by_a_fit_to_the_others():
    record = fit_stack(made_up(read_training_stack("nemo"))).record
    assert record.rows == 24
    assert record.held_out.mape < 0.05
    assert record.covers["tokens"] == (2048, 8192)


def test_outliers_pull_with_a_bounded_force():
    pulls = np.diff(softened(np.array([0.0, 1e-3, 100.0, 101.0])) ** 2 / 2)
    assert pulls[0] == pytest.approx(5e-7, rel=1e-3)
    assert pulls[2] == pytest.approx(1.0, rel=1e-2)


def test_many_rows_of_one_model_count_as_their_root():
    weights = model_weights([measured(), *[measured(model="other")] * 16])
    assert weights[0] == 1.0
    assert (weights[1:] ** 2).sum() == pytest.approx(4.0)


def test_architectures_without_rows_take_the_products_of_other_stacks():
    hopper = read_training_stack("nemo").model_copy(update={"speeds": {"hopper": Speeds(products=0.8)}})
    ampere = hopper.model_copy(update={"speeds": {"ampere": Speeds(products=1.0, attention=0.5)}})
    speeds = carried(hopper, products_by_architecture([hopper, ampere]))
    assert speeds["ampere"] == speeds["hopper"].model_copy(update={"products": 1.0})
    assert speeds["any"].products == pytest.approx(0.8**0.5, rel=1e-4)


def test_the_runtimes_engine_keeps_its_own_facts():
    measured_engine = read_training_stack("nemo").model_copy(update={"layer_launch": 0.123})
    own = own_engine(measured_engine)
    assert (own.name, own.layer_launch, own.order) == ("megatron-core", 0.123, "pipeline-data")


@pytest.mark.parametrize(
    ("word", "expected"),
    [("BF16", "bf16"), ("amp_bf16", "bf16"), ("fp8-cs", "fp8"), ("half", "fp16"), ("int4", None)],
)
def test_words_of_precisions(word, expected):
    assert precision_of(word) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("fsdp-full", "full"),
        ("fsdp-grad", "gradients"),
        ("dist-opt", "optimizer"),
        ("none", "none"),
        ("", None),
    ],
)
def test_words_of_sharding(word, expected):
    assert sharding_of(word) == expected


def test_recomputation_counts_as_none_unless_stated():
    words = ("unknown(none by default)", "full", "selective", "")
    assert [recompute_of(word) for word in words] == ["none", "full", "selective", "none"]


def test_servers_of_one_switch_are_one_node():
    device = read_device("h100-sxm-80gb").model_copy(update={"name": "gb200-nvl"})
    assert servers_of(device, 144).nodes == 2


def test_a_source_that_packs_short_samples_is_taken_at_its_word():
    packed = measured(source="nemo-docs", task="sft", pp=2, tp=2)
    assert (packed.job.tokens, packed.sequences, packed.sizes.virtual) == (256, 2 * 16, 4)
    plain = measured(source="nemo-docs", task="pretrain", pp=2, tp=2)
    assert (plain.job.tokens, plain.sequences, plain.sizes.virtual) == (4096, 2, 1)
