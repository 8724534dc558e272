from collections.abc import Iterator

import pytest

from planner.domain import resharding
from planner.domain.catalog import read_model
from planner.domain.grouping import Grouping, Kind, gather_groups, kind_of
from planner.domain.model import ModelSpec, MoeSpec
from planner.domain.parallelism import (
    GenerationStrategy,
    ParallelStrategy,
    coordinates,
    micro_replicas,
)
from planner.domain.resharding import (
    ReshardVolume,
    holds,
    pieces,
    reshard_volume,
    stage_layers,
    stage_of_layer,
)
from planner.domain.weights import WeightTensor, weight_tensors
from tests.planner.domain.layouts import layouts

KINDS: tuple[Kind, ...] = ("whole", "split", "expert")
LLAMA = ModelSpec(
    name="m", family="llama", layers=4, hidden=64, heads=8, kv_heads=8, head_dim=8, ffn=128, vocab=96
)
QWEN3 = LLAMA.model_copy(update={"family": "qwen3", "tied_embeddings": True})
QWEN2 = LLAMA.model_copy(update={"family": "qwen2", "kv_heads": 4})


EVERY_FAMILY = ["mixtral-8x7b", "qwen3-30b-a3b", "deepseek-v3", "moonlight-16b-a3b", "gpt-3-175b", "opt-13b"]


@pytest.mark.parametrize("model", [LLAMA, QWEN3, QWEN2, *map(read_model, EVERY_FAMILY)])
@pytest.mark.parametrize("head", ["vocabulary", "scalar"])
def test_the_tensors_add_up_to_the_models_parameters(model: ModelSpec, head: str) -> None:
    assert sum(tensor.elements for tensor in weight_tensors(model, head)) == model.parameters(head)  # type: ignore[arg-type]


def test_expert_tensors_are_told_apart() -> None:
    model = read_model("qwen3-30b-a3b")
    experts = sum(tensor.elements for tensor in weight_tensors(model) if tensor.is_expert)
    assert experts == 48 * 128 * model.expert_parameters


@pytest.mark.parametrize("rank", range(8))
def test_equal_layouts_receive_nothing(rank: int) -> None:
    train = ParallelStrategy(pipeline=2, tensor=2, data=2)
    same = GenerationStrategy(pipeline=2, tensor=2, replicas=2, max_sequences=1)
    assert reshard_volume(LLAMA, train, same, rank=rank, precision="bf16").received == 0


@pytest.mark.parametrize(("tensor", "generation"), [(2, 1), (4, 2), (4, 1), (8, 2)])
def test_split_tensors_arrive_as_table_2_says(tensor: int, generation: int) -> None:
    train = ParallelStrategy(tensor=tensor)
    generate = GenerationStrategy(tensor=generation, replicas=tensor // generation, max_sequences=1)
    split = sum(item.elements for item in weight_tensors(LLAMA) if item.split != "whole") * 2
    volume = reshard_volume(LLAMA, train, generate, rank=0, precision="bf16")
    assert volume.received == split * (tensor - generation) // (generation * tensor)
    assert volume.redundant == 0


def test_a_pipeline_gathers_the_other_stages() -> None:
    train = ParallelStrategy(pipeline=2)
    generate = GenerationStrategy(replicas=2, max_sequences=1)
    received = [
        reshard_volume(LLAMA, train, generate, rank=rank, precision="fp32").received for rank in (0, 1)
    ]
    assert sum(received) == LLAMA.parameters() * 4


@pytest.mark.parametrize(("layers", "stages"), [(40, 3), (5, 2), (7, 7), (32, 4)])
def test_stages_hold_nearly_equal_runs_of_layers(layers: int, stages: int) -> None:
    counts = stage_layers(layers, stages)
    assert sum(counts) == layers
    assert max(counts) - min(counts) <= 1
    assigned = [stage_of_layer(layer, layers, stages) for layer in range(layers)]
    assert assigned == sorted(assigned)


GROUPINGS: list[Grouping] = ["zero-redundancy", "vanilla", "full"]
LAYOUTS = [pair for devices in (1, 2, 4, 8) for pair in layouts(devices, stages=True)]
EVEN = ModelSpec(
    name="m", family="llama", layers=8, hidden=64, heads=8, kv_heads=8, head_dim=8, ffn=128, vocab=128
)
MIXED = EVEN.model_copy(
    update={"family": "qwen3", "layers": 5, "moe": MoeSpec(experts=8, experts_per_token=2, expert_ffn=16)}
)


@pytest.mark.parametrize("model", [LLAMA.model_copy(update={"layers": 9}), QWEN3, MIXED], ids=str)
@pytest.mark.parametrize("grouping", GROUPINGS)
def test_what_a_rank_receives_is_what_the_others_of_its_groups_hand_out(
    model: ModelSpec, grouping: Grouping
) -> None:
    for train, generate in LAYOUTS:
        if train.pipeline > model.layers:
            continue
        for rank in range(train.devices):
            volume = reshard_volume(model, train, generate, rank=rank, precision="bf16", grouping=grouping)
            assert volume.received == 2 * handed_over(model, train, generate, rank, grouping)


def handed_over(
    model: ModelSpec,
    train: ParallelStrategy,
    generate: GenerationStrategy,
    rank: int,
    grouping: Grouping,
) -> int:
    """Elements that the other ranks of a rank's groups hand out."""
    groups = {
        kind: next(group for group in gather_groups(train, generate, grouping, kind) if rank in group)
        for kind in KINDS
    }
    members = {
        kind: {member: coordinates(train, member) for member in group} for kind, group in groups.items()
    }
    return sum(
        piece.elements
        for tensor in weight_tensors(model)
        for member, piece in pieces(tensor, model, train, members[kind_of(tensor)]).items()
        if member != rank
    )


@pytest.mark.parametrize("expert", [2, 4])
@pytest.mark.parametrize("grouping", GROUPINGS)
def test_experts_are_received_once_from_where_they_are_spread(expert: int, grouping: Grouping) -> None:
    for train, generate in layouts(8):
        if train.data % expert:
            continue
        spread = train.model_copy(update={"expert": expert})
        for rank in range(8):
            volume = reshard_volume(MIXED, spread, generate, rank=rank, precision="bf16", grouping=grouping)
            assert volume.received == 2 * handed_over(MIXED, spread, generate, rank, grouping)
            assert grouping != "zero-redundancy" or volume.redundant == 0


@pytest.mark.parametrize(("train", "generate"), LAYOUTS, ids=str)
def test_bytes_of_an_evenly_split_model_are_those_of_table_2(
    train: ParallelStrategy, generate: GenerationStrategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HybridFlow, table 2; what is not cut evenly, ends and norms, is left out."""
    monkeypatch.setattr(resharding, "weight_tensors", evenly_split)
    size = sum(tensor.elements for tensor in evenly_split(EVEN)) * 2
    micro, replica = micro_replicas(train, generate), train.model_parallel

    def volumes(grouping: Grouping) -> list[ReshardVolume]:
        return [
            reshard_volume(EVEN, train, generate, rank=rank, precision="bf16", grouping=grouping)
            for rank in range(train.devices)
        ]

    shard = size // (generate.pipeline * generate.tensor)
    for volume in volumes("zero-redundancy"):
        assert volume.received * replica == (micro - 1) * size
        assert (volume.gathered, volume.generation, volume.redundant) == (shard, shard, 0)
    vanilla = volumes("vanilla")
    for volume in vanilla:
        assert volume.received * replica == (replica - 1) * size
        assert (volume.gathered, volume.generation) == (size, shard)
    fits = micro == 1 or (generate.pipeline == 1 and generate.tensor in (1, train.tensor))
    worst = 0 if fits else size // replica
    assert max(volume.redundant for volume in vanilla) == worst
    for volume in volumes("full"):
        assert volume.received * train.devices == (train.devices - 1) * size
        assert (volume.gathered, volume.generation) == (size, shard)
        assert volume.redundant * train.devices == size


def evenly_split(model: ModelSpec) -> Iterator[WeightTensor]:
    return (
        tensor for tensor in weight_tensors(model) if tensor.split != "whole" and tensor.layer is not None
    )


def test_in_figure_8_four_of_eight_ranks_keep_a_second_copy_in_the_vanilla_grouping() -> None:
    """HybridFlow, section 5.3: the second and the third rank of each replica."""
    train = ParallelStrategy(tensor=4, data=2)
    generate = GenerationStrategy(tensor=2, replicas=4, max_sequences=1)
    redundant = [
        reshard_volume(EVEN, train, generate, rank=rank, precision="bf16", grouping="vanilla").redundant
        for rank in range(8)
    ]
    assert [size > 0 for size in redundant] == [False, True, True, False] * 2


@pytest.mark.parametrize(("train", "generate"), [pair for pair in LAYOUTS if pair[0].devices == 8], ids=str)
def test_nothing_is_redundant_with_strided_groups(
    train: ParallelStrategy, generate: GenerationStrategy
) -> None:
    for rank in range(8):
        volume = reshard_volume(EVEN, train, generate, rank=rank, precision="bf16")
        assert volume.redundant == 0
        assert volume.gathered == volume.generation


def test_interleaved_stages_hold_every_second_chunk() -> None:
    tensors = [tensor for tensor in weight_tensors(LLAMA) if "input_layernorm" in tensor.name]
    held = [[holds(tensor, stage, 2, 4, virtual=2) for tensor in tensors] for stage in (0, 1)]
    assert held == [[True, False, True, False], [False, True, False, True]]
