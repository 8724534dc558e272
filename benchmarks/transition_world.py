"""The world that `transition` measures in: one process per device, forked from one that has imported all.

``python -m benchmarks.transition_world p2t2d2 2``, in the environment of a worker process, prints its figures
as one line of JSON.
"""

import ctypes
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import save_file

from planner.domain.grouping import Grouping
from planner.domain.model import ModelSpec
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.domain.weights import weight_tensors
from runtime.engines.groups import WeightGroups, weight_groups
from runtime.engines.hybrid import probe, reshard
from runtime.engines.layout import Layout
from runtime.engines.megatron import MegatronEngine
from runtime.engines.vllm import GenerationEngine

_LIBC = ctypes.CDLL(None)
ROUNDS = 7
GROUPINGS: tuple[Grouping, ...] = ("zero-redundancy", "vanilla", "full")
BUCKET_BYTES = 16 * 2**20
TIMEOUT = timedelta(minutes=8)
SHAPE = {
    "layers": 8,
    "hidden": 512,
    "heads": 8,
    "kv_heads": 8,
    "head_dim": 64,
    "ffn": 1536,
    "vocab": 4096,
}
"""Of a Llama of 31.5 million parameters, 126 MB in fp32."""
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "num_hidden_layers": SHAPE["layers"],
    "hidden_size": SHAPE["hidden"],
    "num_attention_heads": SHAPE["heads"],
    "num_key_value_heads": SHAPE["kv_heads"],
    "head_dim": SHAPE["head_dim"],
    "intermediate_size": SHAPE["ffn"],
    "vocab_size": SHAPE["vocab"],
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
}


def main(train: ParallelStrategy, tensor: int) -> None:
    """Measure and print."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder:
        _write_model(Path(folder))
        ranks = [
            context.Process(target=_rank, args=(rank, train, tensor, folder, sender))
            for rank in range(train.devices)
        ]
        for process in ranks:
            process.start()
        try:
            ready = wait([receiver, ranks[0].sentinel], timeout=TIMEOUT.total_seconds())
            if receiver not in ready:
                raise RuntimeError("rank 0 ended without figures, or has none in time")
            print(json.dumps(receiver.recv()))
        finally:
            for process in ranks:
                process.join(timeout=5)
                process.kill()


def _write_model(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(CONFIG))
    draw = torch.Generator().manual_seed(0)
    weights = {
        tensor.name: torch.randn(tensor.shape, generator=draw) * 0.02
        for tensor in weight_tensors(_model(folder))
    }
    save_file(weights, folder / "model.safetensors")


def _model(folder: Path) -> ModelSpec:
    return ModelSpec(name="benchmark", family="llama", max_positions=256, folder=str(folder), **SHAPE)


def _rank(rank: int, train: ParallelStrategy, tensor: int, folder: str, sender: Any) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", train.devices)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=train.devices, timeout=TIMEOUT)
    figures = transitions(train, tensor, folder)
    if rank == 0:
        sender.send(figures)
    os._exit(0)


def transitions(train: ParallelStrategy, tensor: int, folder: str) -> dict[str, Any]:
    """Figures of every grouping, measured in turns.

    One engine serves all: those that gather all weights hand them to it whole, and it reads its own shard.
    """
    model = _model(Path(folder))
    generate = GenerationStrategy(tensor=tensor, replicas=train.devices // tensor, max_sequences=2)
    engine = MegatronEngine(
        model=model, head="vocabulary", layout=Layout(train), precision="fp32", seed=0, optimizer=None
    )
    engine.load(folder)
    generator = GenerationEngine(
        model=model,
        train=train,
        generate=generate,
        rank=dist.get_rank(),
        precision="fp32",
        maximum_tokens=64,
        kv_cache_bytes=None,
    )
    groups = {
        grouping: weight_groups(train, generate, grouping=grouping, timeout=TIMEOUT) for grouping in GROUPINGS
    }
    turns: dict[str, list[dict[str, float]]] = {grouping: [] for grouping in GROUPINGS}
    for number in range(ROUNDS + 1):
        for grouping in GROUPINGS:
            figures = _measured(engine, generator, groups[grouping])
            if number:  # the first warms up
                turns[grouping].append(figures)
    difference = probe(engine, generator)
    assert difference < 1e-4, f"the engines differ by {difference}"
    generator.close()
    return {
        "weight_bytes": 4 * model.parameters(),
        "layouts": f"{train} to {generate}",
        **{grouping: _summary(rounds) for grouping, rounds in turns.items()},
    }


def _measured(engine: MegatronEngine, generator: GenerationEngine, groups: WeightGroups) -> dict[str, float]:
    """One transition, its gather alone, and a plain all-gather of as many bytes: of the slowest rank."""
    _LIBC.malloc_trim(0)
    before = _resident("VmRSS")
    _reset_peak()
    report = reshard(engine, generator, groups=groups, bucket_bytes=BUCKET_BYTES)
    peak = _resident("VmHWM") - before
    gathering = _seconds(lambda: _exhaust(engine.gather(groups, bucket_bytes=BUCKET_BYTES)))
    most = max(_of_ranks(report.received_bytes))
    plain = _seconds(_plain_all_gather(groups.split, most))
    own = {
        "seconds": report.seconds,
        "gather_seconds": gathering,
        "plain_all_gather_seconds": plain,
        "received_bytes": report.received_bytes,
        "gathered_bytes": report.gathered_bytes,
        "peak_additional_bytes": peak,
    }
    of_ranks = _of_ranks(own)
    return {name: max(figures[name] for figures in of_ranks) for name in own}


def _of_ranks(own: Any) -> list[Any]:
    """What every rank has, on every rank."""
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, own)
    return found


def _summary(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Medians; and how near the gather comes to a plain all-gather."""
    medians = {name: statistics.median(figures[name] for figures in rounds) for name in rounds[0]}
    share = medians["plain_all_gather_seconds"] / medians["gather_seconds"]
    return {
        name: round(value, 4) if name.endswith("seconds") else int(value) for name, value in medians.items()
    } | {"share_of_link": round(share, 3)}


def _plain_all_gather(group: dist.ProcessGroup, received_bytes: int) -> Callable[[], None]:
    """An all-gather of equal rows in which each rank receives so many bytes, in buckets of the same size."""
    if group.size() == 1:
        return lambda: None
    total = received_bytes // 4 * group.size() // (group.size() - 1)
    count = -(-4 * total // BUCKET_BYTES)
    row = torch.zeros(total // group.size() // count)
    gathered = torch.empty(row.numel() * group.size())

    def gather() -> None:
        for _ in range(count):
            dist.all_gather_single(gathered, row, group=group)

    return gather


def _seconds(action: Callable[[], None]) -> float:
    dist.barrier()
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _exhaust(items: Iterable[Any]) -> None:
    for _ in items:
        pass


def _resident(field: str) -> int:
    """Bytes of this process's memory, now (``VmRSS``) or at most since the last reset (``VmHWM``)."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): sets the peak to what is resident now


if __name__ == "__main__":
    main(ParallelStrategy.parse(sys.argv[1]), int(sys.argv[2]))
