"""GRPO with TRL, a block of steps whenever the other side of a connection asks for one."""

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from datasets import Dataset
from transformers import AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from benchmarks.trl_process import GrpoSettings
from planner.domain.run import RewardFunctionSettings
from runtime.reward_functions import load_function

ENDLESS = 10**6
"""Steps; it ends when its connection does."""


class Turns(TrainerCallback):
    """Lets the trainer take so many steps as the other side of a connection asks for, and then wait."""

    def __init__(self, connection: Connection | None) -> None:
        self._connection = connection
        self._left = 0
        self._seconds: list[float] = []
        self._since_s = 0.0
        self._metrics: dict[str, float] = {}

    def on_step_begin(self, args: Any, state: Any, control: Any, **objects: Any) -> None:
        """Count the step before; wait where it was the last one of a block."""
        self._seconds.append(time.perf_counter() - self._since_s)
        if self._left == 0:
            self._take_turns(control)
        self._left -= 1
        self._since_s = time.perf_counter()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **objects: Any) -> None:
        """Keep the latest metrics."""
        self._metrics = {name: float(value) for name, value in logs.items()}

    def _take_turns(self, control: Any) -> None:
        asked = [0]
        if self._connection is not None:
            self._connection.send({"seconds": self._seconds, "metrics": self._metrics})
            asked = [_received(self._connection)]
        if dist.is_initialized():
            dist.broadcast_object_list(asked, src=0)
        (self._left,) = asked
        self._seconds = []
        control.should_training_stop = self._left == 0


def reward_of(path: str) -> Callable[..., list[float]]:
    """A rule in verl's signature as TRL calls it."""
    rule = load_function(RewardFunctionSettings(path=path))

    def rewards(
        completions: Sequence[Sequence[dict[str, str]]], ground_truth: Sequence[str], **columns: Any
    ) -> list[float]:
        texts = [turns[-1]["content"] for turns in completions]
        return [rule("", text, subject)["score"] for text, subject in zip(texts, ground_truth, strict=True)]

    return rewards


def train(address: str, settings: GrpoSettings) -> None:
    """Train until the other side of the socket at the address closes it.

    There rank 0 receives numbers of steps, and answers each with the seconds and metrics of those steps.
    """
    torch.set_num_threads(settings.threads)
    with tempfile.TemporaryDirectory() as folder:
        arguments = configuration(settings, folder)
        connection = Client(address) if arguments.process_index == 0 else None
        trainer = GRPOTrainer(
            model=settings.policy,
            reward_funcs=reward_of(settings.rule),
            args=arguments,
            train_dataset=Dataset.from_list(_rows(Path(settings.prompts))),
            processing_class=AutoTokenizer.from_pretrained(settings.policy, padding_side="left"),
            callbacks=[Turns(connection)],
        )
        trainer.train()


def configuration(settings: GrpoSettings, folder: str) -> GRPOConfig:
    """TRL's settings: one optimizer step on all samples, each used once; nothing is saved or reported."""
    samples = settings.samples // settings.processes
    micro_batch = settings.micro_batch or samples
    return GRPOConfig(
        output_dir=folder,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=samples // micro_batch,
        num_generations=settings.samples_per_prompt,
        max_completion_length=settings.response_tokens,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="constant",
        max_grad_norm=settings.gradient_clip,
        beta=settings.kl_coefficient,
        loss_type="grpo",
        seed=settings.seed,
        max_steps=ENDLESS,
        logging_steps=5,
        disable_tqdm=True,
        report_to="none",
        save_strategy="no",
        **settings.options,
    )


def _rows(path: Path) -> list[dict[str, Any]]:
    """The columns that TRL and the reward read."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{"prompt": row["prompt"], "ground_truth": row["reward_model"]["ground_truth"]} for row in rows]


def _received(connection: Connection) -> int:
    try:
        return int(connection.recv())
    except EOFError:
        return 0
