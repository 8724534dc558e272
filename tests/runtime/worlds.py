"""Worlds of several processes, forked from one that has imported everything; and what runs in them."""

import multiprocessing
import os
import pickle
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing import connection, forkserver
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch.distributed as dist

from runtime.platform import process_environment

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 120.0


class WorldError(Exception):
    """A rank failed or none answered in time; carries the rank's traceback."""


def run_world(function: Callable[..., Any], size: int, *args: Any, timeout_s: float = TIMEOUT_S) -> list[Any]:
    """What ``function(*args)`` returns in each of ``size`` ranks that share a gloo group.

    Raises
    ------
    WorldError
        As soon as one rank raises, or after ``timeout_s``; the others are killed.
    """
    context = _context()
    work = pickle.dumps((function, args))  # plain pickle: torch's own would share memory
    with tempfile.TemporaryDirectory() as folder:
        pipes = [context.Pipe(duplex=False) for _ in range(size)]
        ranks = [
            context.Process(target=_rank, args=(rank, size, folder, sender, work, timeout_s))
            for rank, (_, sender) in enumerate(pipes)
        ]
        try:
            for process, (_, sender) in zip(ranks, pipes, strict=True):
                process.start()
                sender.close()
            return _collect([receiver for receiver, _ in pipes], timeout_s)
        finally:
            _stop(ranks)


def _context() -> Any:
    """The forkserver context; starts the server with the environment of a worker process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.runtime.preload"])
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    changed = {**process_environment(), "PYTHONPATH": paths, "GLOO_SOCKET_IFNAME": "lo"}
    with patch.dict(os.environ, changed):
        forkserver.ensure_running()
    return context


def _rank(rank: int, size: int, folder: str, sender: Any, work: bytes, timeout_s: float) -> None:
    try:
        store = dist.FileStore(f"{folder}/store", size)
        dist.init_process_group(
            "gloo", store=store, rank=rank, world_size=size, timeout=timedelta(seconds=timeout_s)
        )
        function, args = pickle.loads(work)
        sender.send_bytes(pickle.dumps((True, function(*args))))
        if dist.is_initialized():
            dist.barrier()  # a rank that leaves early breaks the others' connections
    except BaseException:  # whatever it was, the parent shall see it
        sender.send_bytes(pickle.dumps((False, f"rank {rank}:\n{traceback.format_exc()}")))
    finally:
        sender.close()
        sys.stdout.flush()
        os._exit(0)


def _collect(receivers: list[Any], timeout_s: float) -> list[Any]:
    deadline = time.monotonic() + timeout_s
    answers: dict[int, Any] = {}
    while len(answers) < len(receivers):
        waiting = [receiver for rank, receiver in enumerate(receivers) if rank not in answers]
        ready = connection.wait(waiting, timeout=max(0.0, deadline - time.monotonic()))
        if not ready:
            raise WorldError(f"no answer from {len(waiting)} of {len(receivers)} ranks in {timeout_s:g} s")
        for receiver in ready:
            answers[receivers.index(receiver)] = _answer(receiver)
    return [answers[rank] for rank in range(len(receivers))]


def _answer(receiver: Any) -> Any:
    try:
        succeeded, answer = pickle.loads(receiver.recv_bytes())
    except EOFError:
        raise WorldError("a rank died without a word") from None
    if not succeeded:
        raise WorldError(answer)
    return answer


def _stop(ranks: list[Any]) -> None:
    for process in ranks:
        if process.pid is not None:
            process.join(timeout=2)
            process.kill()
            process.join()


def shared_memory() -> set[str]:
    """Names in shared memory, but for those that come and go beside a test.

    Ray's are other runs'; semaphores are those of the fork server and of process pools in other tests.
    """
    return {name for name in os.listdir("/dev/shm") if not name.startswith(("plasma", "ray", "sem."))}
