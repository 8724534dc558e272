from dataclasses import dataclass

import pytest
import torch
import torch.distributed as dist

from planner.domain.grouping import Grouping, generation_place
from planner.domain.model import ModelSpec
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy, coordinates
from planner.domain.resharding import holds, is_held, reshard_volume, stage_layers
from planner.domain.weights import weight_tensors
from runtime.engines.checkpoint import ModelFolder
from runtime.engines.gather import WeightGather, all_gather_uneven
from runtime.engines.groups import weight_groups
from runtime.engines.layout import Layout
from runtime.engines.megatron import MegatronEngine
from runtime.platform import COLLECTIVE_TIMEOUT
from tests.planner.domain.layouts import layouts
from tests.runtime import tiny
from tests.runtime.worlds import run_world

GROUPINGS: list[Grouping] = ["zero-redundancy", "vanilla", "full"]
BUCKET_BYTES = 50_000


def gather_in_every_way(model, train, generates):
    """What is wrong with what is gathered, if anything, of every generation layout and grouping."""
    engine = MegatronEngine(
        model=model, head="vocabulary", layout=Layout(train), precision="fp32", seed=0, optimizer=None
    )
    engine.load(model.folder)
    return all_problems(engine, train, generates)


@dataclass(frozen=True)
class Parts:
    """Training parts of a layout that no engine holds, read from the model's folder."""

    model: ModelSpec
    train: ParallelStrategy

    def gather(self, groups, *, bucket_bytes):
        return WeightGather(
            model=self.model,
            head="vocabulary",
            strategy=self.train,
            read=self.read,
            dtype=torch.float32,
            device=torch.device("cpu"),
            groups=groups,
            bucket_bytes=bucket_bytes,
        )

    def read(self, name):
        at = coordinates(self.train, dist.get_rank())
        tensor = next(tensor for tensor in weight_tensors(self.model) if tensor.name == name)
        assert is_held(tensor, self.model, self.train, at), "only what a rank holds is read"
        return ModelFolder(self.model.folder).part(tensor, index=at.tensor, count=self.train.tensor)


def gather_parts(model, train, generates):
    return all_problems(Parts(model, train), train, generates)


def all_problems(engine, train, generates):
    return [
        problem
        for generate in generates
        for grouping in GROUPINGS
        for bucket_bytes in (1, BUCKET_BYTES, 10**9)
        for problem in problems(engine, train, generate, grouping, bucket_bytes)
    ]


def problems(engine, train, generate, grouping, bucket_bytes):
    groups = weight_groups(train, generate, grouping=grouping, timeout=COLLECTIVE_TIMEOUT)
    gather = engine.gather(groups, bucket_bytes=bucket_bytes)
    model, rank, folder = engine.model, dist.get_rank(), ModelFolder(engine.model.folder)
    stage, shard, _ = generation_place(train, generate, rank, grouping)
    is_shard = grouping == "zero-redundancy"
    names, sizes, redundant = [], 0, 0
    for tensor, part in gather:
        names.append(tensor.name)
        sizes += part.nbytes
        count, index = (generate.tensor, shard) if is_shard else (1, 0)
        if not torch.equal(part, folder.part(tensor, index=index, count=count)):
            yield f"{generate} {grouping}: {tensor.name} of rank {rank} has other values"
        redundant += left_over(model, train, tensor, folder.part(tensor, index=shard, count=generate.tensor))
    wanted = [
        tensor.name
        for tensor in weight_tensors(model)
        if not is_shard or holds(tensor, stage, generate.pipeline, model.layers)
    ]
    predicted = reshard_volume(model, train, generate, rank=rank, precision="fp32", grouping=grouping)
    if sorted(names) != sorted(wanted):
        yield f"{generate} {grouping}: rank {rank} gathered other tensors"
    if (gather.received_bytes, sizes) != (predicted.received, predicted.gathered):
        yield f"{generate} {grouping}: rank {rank} received {gather.received_bytes}, not {predicted.received}"
    if is_shard and redundant != predicted.redundant:
        yield f"{generate} {grouping}: of rank {rank} {redundant} bytes are redundant"
    if bucket_bytes == 10**9 and gather.collectives > 3:
        yield f"{generate} {grouping}: {gather.collectives} collectives"


def left_over(model, train, tensor, generation_part):
    """Bytes of this rank's training part that are nowhere in its generation shard."""
    at = coordinates(train, dist.get_rank())
    if not is_held(tensor, model, train, at):
        return 0
    part = ModelFolder(model.folder).part(tensor, index=at.tensor, count=train.tensor)
    axis = 1 if tensor.split == "columns" else 0
    runs = generation_part.split(part.shape[axis], dim=axis)
    return 0 if any(torch.equal(run, part) for run in runs) else part.nbytes


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wide") / "model"
    return tiny.write_model(folder, "qwen3", layers=LAYERS, heads=HEADS, kv_heads=HEADS, ffn=128, vocab=512)


LAYERS, HEADS = 9, 8


def generates_by_layout(devices):
    """With every t_g, and every p_g whose stages are made up of whole training stages."""
    found: dict[ParallelStrategy, list] = {}
    for train, generate in layouts(devices, stages=True):
        if HEADS % train.tensor == 0 and stages_nest(train.pipeline, generate.pipeline):
            found.setdefault(train, []).append(generate)
    return list(found.items())


def stages_nest(pipeline, generation_pipeline):
    counts, share = stage_layers(LAYERS, pipeline), pipeline // generation_pipeline
    joined = [sum(counts[start : start + share]) for start in range(0, pipeline, share)]
    return joined == stage_layers(LAYERS, generation_pipeline)


@pytest.mark.parametrize(("train", "generates"), generates_by_layout(2) + generates_by_layout(4), ids=str)
def test_ranks_gather_their_shards_and_receive_the_bytes_of_the_slice_map(wide, train, generates):
    found = run_world(gather_in_every_way, train.devices, wide, train, generates)
    assert [problem for rank in found for problem in rank] == []


@pytest.mark.slow
@pytest.mark.parametrize(("train", "generates"), generates_by_layout(6) + generates_by_layout(8), ids=str)
def test_ranks_gather_their_shards_on_8_processes(wide, train, generates):
    found = run_world(gather_in_every_way, train.devices, wide, train, generates, timeout_s=400)
    assert [problem for rank in found for problem in rank] == []


@pytest.fixture(scope="module")
def experts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("experts") / "model"
    return tiny.write_model(folder, "qwen3_moe", layers=5, dense_layers=1)


@pytest.mark.parametrize("text", ["p1t1d4e4", "p1t2d2e2", "p2t1d2e2", "p1t1d2c2e4", "p2t1d1c2", "p2t1d2v2"])
def test_spread_experts_context_ranks_and_interleaved_stages_are_gathered(experts, text):
    train = ParallelStrategy.parse(text)
    generates = [
        GenerationStrategy(tensor=tensor, replicas=train.devices // tensor, max_sequences=1)
        for tensor in range(1, train.tensor + 1)
    ]
    found = run_world(gather_parts, train.devices, experts, train, generates)
    assert [problem for rank in found for problem in rank] == []


def gather_rows(sizes):
    flat = torch.full((sum(sizes),), -1.0)
    rows = flat.split(sizes)
    rows[dist.get_rank()].fill_(dist.get_rank())
    all_gather_uneven(flat, rows, dist.group.WORLD)
    return flat.tolist()


@pytest.mark.parametrize("sizes", [[3, 3, 3], [1, 4, 2], [0, 5, 0], [2, 0, 2]])
def test_rows_arrive_in_order_however_long_they_are(sizes):
    expected = [float(rank) for rank, size in enumerate(sizes) for _ in range(size)]
    assert run_world(gather_rows, 3, sizes) == [expected] * 3
