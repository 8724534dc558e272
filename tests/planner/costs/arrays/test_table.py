from dataclasses import fields, replace

import numpy as np
import pytest

from planner.costs.arrays.forward_table import forward_table
from planner.costs.arrays.grouping import groups_of, joined
from planner.costs.arrays.table import Configurations, training_table
from planner.costs.memory.memory import inference_bytes, persistent_bytes, training_bytes
from planner.costs.passes.inference import inference_seconds
from planner.costs.passes.layer import KINDS
from planner.costs.passes.training import RECOMPUTE, optimizer_step_seconds
from planner.domain.catalog import read_model
from planner.domain.lengths import TokenLengths
from planner.domain.parallelism import ParallelStrategy
from planner.domain.plan import RoleStrategy
from planner.errors import SpecError

MODES = list(RECOMPUTE)


def at(setting, model, sharding):
    """The setting with another model and sharding, and batches that few layouts divide."""
    training = setting.stack.training.model_copy(update={"sharding": sharding, "gradient_overlap": 0.5})
    return replace(
        setting,
        model=read_model(model),
        stack=setting.stack.model_copy(update={"training": training}),
        workload=setting.workload.model_copy(
            update={"prompts": 1000, "response_tokens": TokenLengths(mean=700.5, maximum=1024)}
        ),
    )


def random_configurations(count, *, seed=0):
    """Layouts that divide layers, batches and experts or not, the smallest and the largest among them."""
    generator = np.random.default_rng(seed)
    data, context = generator.integers(1, 40, count), generator.choice([1, 2, 4], count)
    return Configurations(
        pipeline=generator.choice([1, 2, 3, 4, 5, 7, 8, 16], count),
        tensor=generator.choice([1, 2, 4, 8], count),
        data=data,
        virtual=generator.integers(1, 6, count),
        context=context,
        expert=np.gcd(generator.choice([1, 2, 4, 8, 16, 32], count), data * context),
        micro_batch=generator.integers(1, 33, count),
        recompute=generator.integers(0, 3, count),
        micro_batch_tokens=generator.choice([0, 3000, 4096, 70_000], count),
    )


def strategies(configurations):
    rows = zip(
        *(getattr(configurations, field.name).tolist() for field in fields(configurations)), strict=True
    )
    for *sizes, micro_batch, recompute, tokens in rows:
        names = ("pipeline", "tensor", "data", "virtual", "context", "expert")
        layout = ParallelStrategy(**dict(zip(names, sizes, strict=True)))
        yield RoleStrategy(
            train=layout,
            micro_batch=micro_batch,
            recompute=MODES[recompute],
            micro_batch_tokens=tokens or None,
        )


@pytest.mark.parametrize(
    ("model", "sharding"),
    [
        ("llama-3.1-70b", "optimizer"),
        ("qwen3-30b-a3b", "optimizer"),
        ("deepseek-v3", "optimizer"),
        ("qwen2.5-1.5b", "none"),
        ("moonlight-16b-a3b", "gradients"),
        ("mixtral-8x7b", "full"),
    ],
)
def test_each_configuration_costs_what_it_does_alone(setting, model, sharding):
    here, many = at(setting, model, sharding), random_configurations(60)
    table = training_table(here, many)
    for row, strategy in enumerate(strategies(many)):
        alone = optimizer_step_seconds(here, strategy)
        assert table.seconds.total[row] == pytest.approx(alone, rel=1e-12)
        found = {kind: int(counts[row]) for kind, counts in table.bytes.items() if counts[row]}
        held = persistent_bytes(here, strategy.layout, is_trained=True) | training_bytes(here, strategy)
        assert found == {kind: count for kind, count in held.items() if count}


@pytest.mark.parametrize(
    ("model", "sharding"),
    [("llama-3.1-70b", "optimizer"), ("qwen3-30b-a3b", "gradients"), ("moonlight-16b-a3b", "full")],
)
def test_each_forward_pass_costs_what_it_does_alone(setting, model, sharding):
    here, many = at(setting, model, sharding), random_configurations(60)
    table = forward_table(here, many)
    for row, strategy in enumerate(strategies(many)):
        assert table.seconds[row] == pytest.approx(inference_seconds(here, strategy), rel=1e-12)
        found = {kind: int(counts[row]) for kind, counts in table.bytes.items() if counts[row]}
        assert found == inference_bytes(here, strategy)
        held = persistent_bytes(here, strategy.layout, is_trained=False)
        assert {"parameters": table.parameters[row]} == held


def test_configurations_cost_the_same_in_any_company(setting):
    """More rows than one chunk has, whose neighbours and repetitions differ."""
    here, many = at(setting, "qwen3-30b-a3b", "optimizer"), random_configurations(40_000)
    shuffled = np.random.default_rng(1).integers(0, len(many), len(many))
    mixed = Configurations(**{field.name: getattr(many, field.name)[shuffled] for field in fields(many)})
    one, other = training_table(here, many), training_table(here, mixed)
    for field in fields(one.seconds):
        seconds = np.asarray(getattr(one.seconds, field.name))
        assert np.array_equal(seconds[..., shuffled], getattr(other.seconds, field.name))
    for kind, counts in one.bytes.items():
        assert np.array_equal(counts[shuffled], other.bytes[kind])


def test_every_kind_has_one_number_per_configuration(setting):
    table = training_table(setting, random_configurations(7))
    assert table.seconds.passes.shape == (len(KINDS), 7)
    alone = [getattr(table.seconds, field.name) for field in fields(table.seconds) if field.name != "passes"]
    assert {np.shape(column) for column in [*alone, *table.bytes.values()]} == {(7,)}


def test_columns_of_different_lengths_are_refused():
    columns = {field.name: np.ones(3, dtype=int) for field in fields(Configurations)}
    with pytest.raises(SpecError, match=r"data \(2,\)"):
        Configurations(**{**columns, "data": np.ones(2, dtype=int)})
    with pytest.raises(SpecError, match=r"data \(0,\)"):
        Configurations(**{name: column[:0] for name, column in columns.items()})


@pytest.mark.parametrize("greatest", [3, 10**6, 10**12])
def test_rows_are_grouped_alike_by_tables_and_by_sorting(greatest):
    generator = np.random.default_rng(0)
    columns = generator.integers(0, greatest, (3, 50_000)) // np.array([[1], [2], [greatest]]) * 7 - 5
    groups = joined(*map(groups_of, columns))
    expected, inverse = np.unique(columns, axis=1, return_inverse=True)
    assert len(groups) == expected.shape[1]
    assert np.array_equal(columns[:, groups.rows][:, groups.of], columns)
    assert len({*zip(groups.of.tolist(), inverse.tolist(), strict=True)}) == len(groups)
