"""What no predicted call may break, whatever was fitted: data sheets, monotony, bytes that grow with work."""

from dataclasses import fields, replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from planner.costs.arrays.table import Configurations, training_table
from planner.costs.memory.memory import generation_bytes, inference_bytes
from planner.costs.passes.inference import inference_seconds
from planner.costs.serving.generation import generation_seconds
from planner.costs.sync.transition import transition
from planner.domain.catalog import read_generation_stack, read_model, read_training_stack
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.domain.plan import RoleStrategy
from tests.planner.costs.draws import (
    EXACT,
    ROWS,
    devices,
    factors,
    improved,
    improvements,
    networks,
    pool_of,
    seeds,
    some,
)

models = st.sampled_from(["llama-3.1-8b", "qwen3-30b-a3b", "moonlight-16b-a3b", "qwen2.5-1.5b", "opt-13b"])
engines = st.sampled_from(["megatron-core", "nemo", "fsdp", "composer-fsdp", "megatron-lm"])
serving = st.sampled_from(["vllm", "trtllm", "vllm-0.3.1"])


@st.composite
def settings_of(draw):
    """A function that gives the session's setting another model, device, network and engines."""
    model, device, network = read_model(draw(models)), draw(devices), draw(networks)
    training, generation = read_training_stack(draw(engines)), read_generation_stack(draw(serving))

    def change(setting):
        pool = pool_of(setting.node_pool, device, network)
        stack = setting.stack.model_copy(update={"training": training, "generation": generation})
        return replace(setting, model=model, node_pool=pool, stack=stack)

    return change


def random_configurations(generator, model):
    data, context = generator.integers(1, 40, ROWS), generator.choice([1, 2, 4], ROWS)
    experts = generator.choice([1, 2, 4, 8], ROWS) if model.moe else np.ones(ROWS, dtype=np.int64)
    return Configurations(
        pipeline=generator.choice([1, 2, 3, 4, 5, 8, 16], ROWS),
        tensor=generator.choice([1, 2, 4, 8, 16], ROWS),
        data=data,
        virtual=generator.integers(1, 5, ROWS),
        context=context,
        expert=np.gcd(experts, data * context),
        micro_batch=2 ** generator.integers(0, 6, ROWS),
        recompute=generator.integers(0, 3, ROWS),
    )


def improved_setting(setting, name, factor):
    return replace(setting, node_pool=improved(setting.node_pool, name, factor))


def forward_flops(model):
    """Of one token in the matrices that it passes, without attention between them."""
    table = 0 if model.tied_embeddings else model.embedding_parameters
    return 2 * (
        model.active_parameters() - table - model.position_parameters - model.layers * 20 * model.hidden
    )


@some
@given(settings_of(), seeds)
def test_no_training_step_beats_the_data_sheet(setting, change, generator):
    here = change(setting)
    model, pool, many = here.model, here.node_pool, random_configurations(generator, here.model)
    seconds = training_table(here, many).seconds.total
    total, ranks = np.ceil(here.mini_batch / many.data), many.data * many.context
    tokens = total * here.workload.mean_tokens / many.context
    stage_tokens = np.ceil(model.layers / many.pipeline) * tokens
    stream = 2 * model.hidden
    fastest = max(pool.device.link.bandwidth, pool.network.bandwidth)
    shared = model.attention_matrix_parameters / many.tensor * np.floor(model.layers / many.pipeline)
    reads = 3 * np.ceil(total / np.minimum(many.micro_batch, total))
    least = {
        "flops": 3 * tokens * forward_flops(model) / (many.pipeline * many.tensor) / pool.device.peak["bf16"],
        "weights": 2 * reads * shared / pool.device.memory_bandwidth,
        "tensor group": 8 * stage_tokens * stream * (many.tensor - 1) / many.tensor / fastest,
        "stages": (many.pipeline > 1) * 2 * many.virtual * tokens * stream / many.tensor / fastest,
        "gradients": 4 * shared * (ranks - 1) / ranks / fastest,
    }
    for name, floor in least.items():
        assert np.all(seconds >= floor * EXACT), name


@some
@given(settings_of(), seeds, improvements, factors)
def test_no_training_step_is_slower_on_a_faster_device(setting, change, generator, name, factor):
    here = change(setting)
    many = random_configurations(generator, here.model)
    better = training_table(improved_setting(here, name, factor), many).seconds.total
    assert np.all(better * EXACT <= training_table(here, many).seconds.total)


@some
@given(settings_of(), seeds, st.sampled_from(["micro-batch", "mini-batch", "tokens"]))
def test_training_memory_never_falls_with_the_batch(setting, change, generator, name):
    here = change(setting)
    many = random_configurations(generator, here.model)
    work, more, larger = here.workload, here, many
    if name == "micro-batch":
        larger = replace(many, micro_batch=many.micro_batch + generator.integers(1, 9, ROWS))
    elif name == "mini-batch":
        more = replace(here, workload=work.model_copy(update={"prompts": 2 * work.prompts}))
    else:
        longer = work.response_tokens.model_copy(update={"maximum": 1500})
        more = replace(here, workload=work.model_copy(update={"response_tokens": longer}))
    assert np.all(all_bytes(training_table(more, larger)) >= all_bytes(training_table(here, many)))


@some
@given(settings_of(), seeds)
def test_more_tensor_ranks_never_hold_more_states(setting, change, generator):
    here = change(setting)
    many = random_configurations(generator, here.model)
    twice = training_table(here, replace(many, tensor=2 * many.tensor))
    states = ("parameters", "gradients", "optimizer")
    assert np.all(all_bytes(twice, states) <= all_bytes(training_table(here, many), states))


def all_bytes(table, kinds=None):
    return np.sum([table.bytes[kind] for kind in kinds or table.bytes], axis=0)


@st.composite
def strategies(draw):
    """Training and generation layouts of one role."""
    generate_pipeline, generate_tensor = draw(st.sampled_from([1, 2])), draw(st.sampled_from([1, 2, 8]))
    train = ParallelStrategy(
        pipeline=generate_pipeline * draw(st.sampled_from([1, 2])),
        tensor=generate_tensor * draw(st.sampled_from([1, 2])),
        data=draw(st.integers(1, 8)),
    )
    generate = GenerationStrategy(
        pipeline=generate_pipeline,
        tensor=generate_tensor,
        replicas=train.devices // (generate_pipeline * generate_tensor),
        max_sequences=draw(st.sampled_from([1, 7, 64, 400])),
    )
    return RoleStrategy(train=train, generate=generate, micro_batch=draw(st.sampled_from([1, 4, 16])))


@st.composite
def workloads(draw):
    """A function that gives a workload other prompts and lengths."""
    longest = draw(st.sampled_from([16, 500, 3000]))
    responses = {"mean": longest * draw(st.sampled_from([0.3, 1.0])), "maximum": longest}
    update = {"prompts": draw(st.sampled_from([8, 100, 1024])), "samples_per_prompt": draw(st.integers(1, 8))}

    def change(workload):
        tokens = workload.response_tokens.model_copy(update=responses)
        return workload.model_copy(update={**update, "response_tokens": tokens})

    return change


@some
@given(settings_of(), workloads(), strategies(), improvements, factors)
def test_forward_passes_generation_and_transition_obey_the_data_sheet(
    setting, change, load, strategy, name, factor
):
    here = change(setting)
    here = replace(here, workload=load(here.workload))
    better = improved_setting(here, name, factor)
    times, fewer = call_times(here, strategy), call_times(better, strategy)
    floors = call_floors(here, strategy)
    for call, seconds in times.items():
        assert seconds >= floors[call] * EXACT, call
        assert fewer[call] * EXACT <= seconds, call


def call_times(setting, strategy):
    train, generate = strategy.layout, strategy.generate
    return {
        "infer": inference_seconds(setting, strategy),
        "generate": generation_seconds(setting, generate),
        "hybridflow": transition(setting, train, generate).seconds,
        "hybridflow-v": transition(setting, train, generate, engine="hybridflow-v").seconds,
        "deepspeed-chat": transition(setting, train, generate, engine="deepspeed-chat").seconds,
    }


def call_floors(setting, strategy):
    """FLOPs over the peak, weights and cache over the memory's bandwidth, received bytes over the links'."""
    train, generate, model, work = strategy.layout, strategy.generate, setting.model, setting.workload
    device = setting.device
    flops = forward_flops(model) / device.peak["bf16"]
    ranks = generate.pipeline * generate.tensor
    sequences = -(-work.samples // generate.replicas)
    steps = work.response_tokens.mean * -(-sequences // min(generate.max_sequences, sequences))
    weights = model.layers * model.attention_matrix_parameters / ranks * setting.element_bytes
    heads_apart = 1 if model.mla else generate.tensor
    cached = model.kv_bytes_per_token("bf16") / generate.pipeline / heads_apart
    context = sequences * work.response_tokens.mean * work.prompt_tokens.mean
    fastest = max(device.link.bandwidth, setting.node_pool.network.bandwidth)
    samples = -(-work.samples // train.data)
    return {
        "infer": samples * work.mean_tokens * flops / train.model_parallel,
        "generate": max(
            sequences * work.response_tokens.mean * flops / ranks,
            0.9 * steps * weights / device.memory_bandwidth,
            cached * context / device.memory_bandwidth,
        ),
        **{
            engine: transition(setting, train, generate, engine=engine).bytes / fastest
            for engine in ("hybridflow", "hybridflow-v", "deepspeed-chat")
        },
    }


@some
@given(settings_of(), workloads(), strategies())
def test_memory_of_passes_and_generation_never_falls_with_the_batch(setting, change, load, strategy):
    here = change(setting)
    here = replace(here, workload=load(here.workload))
    work = here.workload
    longer = work.response_tokens.model_copy(update={"maximum": 2 * work.response_tokens.maximum})
    more = [
        (replace(here, workload=work.model_copy(update={"prompts": 2 * work.prompts})), strategy),
        (replace(here, workload=work.model_copy(update={"response_tokens": longer})), strategy),
        (here, strategy.model_copy(update={"micro_batch": 2 * strategy.micro_batch})),
    ]
    at_once = strategy.generate.model_copy(update={"max_sequences": 2 * strategy.generate.max_sequences})
    more.append((here, strategy.model_copy(update={"generate": at_once})))
    for other, larger in more:
        infer, generate = inference_bytes(other, larger), generation_bytes(other, larger.generate)
        assert sum(infer.values()) >= sum(inference_bytes(here, strategy).values())
        assert sum(generate.values()) >= sum(generation_bytes(here, strategy.generate).values())


@some
@given(settings_of(), strategies())
def test_more_tensor_ranks_never_hold_more_generation_weights(setting, change, strategy):
    here, generate = change(setting), strategy.generate
    twice = generate.model_copy(update={"tensor": 2 * generate.tensor})
    assert (
        generation_bytes(here, twice)["generation_weights"]
        <= generation_bytes(here, generate)["generation_weights"]
    )


def test_a_step_without_layers_to_share_moves_nothing_between_stages(setting):
    alone = Configurations(**{field.name: np.ones(1, dtype=np.int64) for field in fields(Configurations)})
    step = training_table(setting, alone).seconds
    assert step.bubble == step.sends == step.data == 0.0
    assert np.all(step.passes[1:4] == 0.0)
