"""Samples per second of GRPO against TRL's GRPOTrainer: the same model, prompts, batch, reward and cores.

All contenders are started first; then they take turns, a block of steps each, and only one is at work at a
time. TRL runs in every way that this machine allows, and its fastest one counts.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from importlib.util import find_spec
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.trl_process import GrpoSettings

PROMPTS, SAMPLES_PER_PROMPT = 32, 4
ROUNDS = 4
"""Blocks of each contender; the first one warms up."""
STEPS = 6
"""Of a block; the first one does not count."""
COMMON = GrpoSettings(
    policy="scenarios/quickstart/policy",
    prompts="scenarios/quickstart/prompts.jsonl",
    samples=PROMPTS * SAMPLES_PER_PROMPT,
    samples_per_prompt=SAMPLES_PER_PROMPT,
    response_tokens=32,
    learning_rate=1e-5,
    kl_coefficient=0.001,
    gradient_clip=1.0,
    seed=0,
    threads=1,
    processes=1,
)
VARIANTS: Mapping[str, GrpoSettings] = {
    "one process, two threads": replace(COMMON, threads=2),
    "two processes": replace(COMMON, processes=2),
    "one process, two threads, torch.compile": replace(COMMON, threads=2, options={"torch_compile": True}),
    "vLLM in the process": replace(
        COMMON, threads=2, options={"use_vllm": True, "vllm_mode": "colocate", "vllm_max_model_length": 64}
    ),
}
START_SECONDS = 90.0


class ContenderError(Exception):
    """A way of running TRL that fails here; says how."""


def measure() -> dict[str, Any]:
    """Samples per second of each way, medians, and how many times TRL's fastest ours is."""
    check_installed()
    with ExitStack() as stack:
        contenders: dict[str, Contender] = {}
        refused: dict[str, str] = {}
        for name, settings in VARIANTS.items():
            try:
                contenders[name] = stack.enter_context(trl_processes(settings))
            except ContenderError as error:
                refused[name] = str(error)
            print(name, refused.get(name, "started"), flush=True)
        blocks = taken_in_turns(contenders)
    return {"batch": asdict(COMMON), "contenders": blocks, "refused": refused}


def check_installed() -> None:
    """Say how to install TRL where it is not."""
    if find_spec("trl") is None:
        sys.exit("benchmarks: trl is not installed; `make bench-trl` installs it and runs this benchmark")


def taken_in_turns(contenders: Mapping[str, "Contender"]) -> dict[str, Any]:
    """Medians of seconds over the blocks of each contender but the first."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    metrics: dict[str, Mapping[str, float]] = {}
    for turn in range(ROUNDS):
        for name, contender in contenders.items():
            block, metrics[name] = contender.steps(STEPS)
            seconds[name] += block[1:] if turn else []
    return {name: figures(steps, metrics[name]) for name, steps in seconds.items()}


def figures(seconds: Sequence[float], metrics: Mapping[str, float]) -> dict[str, float]:
    """What one contender reached, and by what one sees that it did the same work.

    >>> figures([2.0, 1.0, 4.0], {"reward": 0.5})["samples_per_second"]
    64.0
    """
    typical = median(seconds)
    return {
        "seconds": round(typical, 3),
        "fastest": round(min(seconds), 3),
        "slowest": round(max(seconds), 3),
        "samples_per_second": round(COMMON.samples / typical, 1),
        **{name: round(value, 3) for name, value in metrics.items() if name in SHOWN},
    }


SHOWN = ("completions/mean_length", "reward", "kl", "response_length/mean", "critic/score/mean")


class Contender:
    """TRL in processes of its own, paused between blocks of steps."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._answer()

    def steps(self, count: int) -> tuple[list[float], Mapping[str, float]]:
        """Seconds of so many steps, and the latest metrics."""
        self._connection.send(count)
        answer = self._answer()
        return answer["seconds"], answer["metrics"]

    def _answer(self) -> Any:
        try:
            return self._connection.recv()
        except (EOFError, ConnectionError):
            raise ContenderError("it ended") from None


@contextmanager
def trl_processes(settings: GrpoSettings) -> Iterator[Contender]:
    """TRL, started and waiting for its turn; ended on leaving.

    Raises
    ------
    ContenderError
        With the last line that it wrote.
    """
    with tempfile.TemporaryDirectory() as folder, Listener(f"{folder}/turns", "AF_UNIX") as listener:
        listener._listener._socket.settimeout(START_SECONDS)
        log = Path(folder) / "log"
        with log.open("w") as output:
            process = subprocess.Popen(
                _command(settings, f"{folder}/turns"),
                env={**os.environ, "OMP_NUM_THREADS": str(settings.threads), **QUIET},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            connection = listener.accept()
            yield Contender(connection)
            connection.close()
        except (TimeoutError, ContenderError):
            raise ContenderError(_last_line(log)) from None
        finally:
            process.terminate()
            process.wait()


QUIET = {"PYTHONWARNINGS": "ignore", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}


def _command(settings: GrpoSettings, address: str) -> list[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={settings.processes}"]
    launcher = launcher if settings.processes > 1 else []
    return [
        sys.executable,
        *launcher,
        "-m",
        "benchmarks.trl_process",
        address,
        json.dumps(asdict(settings)),
    ]


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text().splitlines() if "Error" in line]
    return lines[-1].strip() if lines else "it did not start in time"
