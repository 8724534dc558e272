"""Model folders in Hugging Face format: slices read, whole folders written."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from planner.domain.model import PARAMETER_BYTES, Head, ModelSpec, Precision
from planner.domain.weights import WeightTensor, weight_tensors
from planner.errors import SpecError
from planner.units import GIB

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
FILE_BYTES = 4 * GIB
_CLASS = {"llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3", "qwen3_moe": "Qwen3Moe"}
_DTYPE_NAME = {"bf16": "bfloat16", "fp32": "float32"}


class ModelFolder:
    """The weights of a folder, read a slice at a time.

    Raises
    ------
    SpecError
        If the folder has no safetensors weights.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder)
        self._file_of = _files_by_tensor(self.path)

    def __contains__(self, name: str) -> bool:
        return name in self._file_of

    def part(self, tensor: WeightTensor, *, index: int, count: int) -> torch.Tensor:
        """Part ``index`` of ``count`` of a tensor along the axis that tensor parallelism cuts.

        Raises
        ------
        SpecError
            If the tensor is missing or has another shape than the model's.
        """
        if tensor.name not in self:
            raise SpecError(f"{self.path}: has no tensor {tensor.name}; is it another model's folder?")
        with safe_open(self.path / self._file_of[tensor.name], framework="pt") as file:
            stored = file.get_slice(tensor.name)
            shape = tuple(stored.get_shape())
            if shape != tensor.shape:
                raise SpecError(
                    f"{self.path}: {tensor.name} has shape {shape}, the model needs {tensor.shape}; "
                    "is the config file another model's?"
                )
            if tensor.split == "whole":
                return stored[:]
            axis = 0 if tensor.split == "rows" else 1
            size = tensor.shape[axis] // count
            part = slice(index * size, (index + 1) * size)
            return stored[part] if axis == 0 else stored[:, part]


def _files_by_tensor(path: Path) -> Mapping[str, str]:
    if (path / INDEX).exists():
        return json.loads((path / INDEX).read_text())["weight_map"]
    if not (path / SINGLE).exists():
        raise SpecError(f"{path}: has neither {SINGLE} nor {INDEX}; give a folder with safetensors weights")
    with safe_open(path / SINGLE, framework="pt") as file:
        return dict.fromkeys(file.keys(), SINGLE)


def stop_tokens(folder: Path) -> tuple[int, ...]:
    """The tokens that end a response, of the model's config and of its generation config."""
    configs = [folder / name for name in ("config.json", "generation_config.json")]
    found = [json.loads(path.read_text()).get("eos_token_id") for path in configs if path.is_file()]
    tokens = [token for each in found for token in (each if isinstance(each, list) else [each])]
    return tuple(sorted({token for token in tokens if token is not None}))


def write_folder(
    folder: Path,
    template: Path,
    weights: Iterable[tuple[str, torch.Tensor]],
    *,
    model: ModelSpec,
    head: Head,
    precision: Precision,
) -> None:
    """Write weights beside the template's config and tokenizer; the folder appears whole or not at all."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(template, partial, ignore=shutil.ignore_patterns("*.safetensors", "*.bin", INDEX))
    config = json.loads((template / "config.json").read_text())
    (partial / "config.json").write_text(
        json.dumps(config | _config(model, head, precision), indent=2) + "\n"
    )
    _write_weights(partial, weights, _file_numbers(model, head, precision))
    _replace(folder, partial)


def _config(model: ModelSpec, head: Head, precision: Precision) -> dict[str, Any]:
    kind = "ForCausalLM" if head == "vocabulary" else "ForSequenceClassification"
    config: dict[str, Any] = {"architectures": [_CLASS[model.family] + kind], "dtype": _DTYPE_NAME[precision]}
    if head == "scalar":
        config |= {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    return config


def _file_numbers(model: ModelSpec, head: Head, precision: Precision) -> dict[str, int]:
    """File of each tensor, so that no file exceeds `FILE_BYTES` unless one tensor does."""
    numbers: dict[str, int] = {}
    number = size = 0
    for tensor in weight_tensors(model, head):
        bytes_ = tensor.elements * PARAMETER_BYTES[precision]
        if size and size + bytes_ > FILE_BYTES:
            number, size = number + 1, 0
        numbers[tensor.name] = number
        size += bytes_
    return numbers


def _write_weights(
    folder: Path, weights: Iterable[tuple[str, torch.Tensor]], numbers: Mapping[str, int]
) -> None:
    """Each file once all of its tensors are there, in whatever order they come."""
    count = max(numbers.values()) + 1
    names = (
        [SINGLE] if count == 1 else [f"model-{i:05}-of-{count:05}.safetensors" for i in range(1, count + 1)]
    )
    missing = Counter(numbers.values())
    pending: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in weights:
        number = numbers[name]
        pending.setdefault(number, {})[name] = tensor.detach().cpu().clone()
        missing[number] -= 1
        if not missing[number]:
            save_file(pending.pop(number), folder / names[number], metadata={"format": "pt"})
    if count > 1:
        index = {"metadata": {}, "weight_map": {name: names[number] for name, number in numbers.items()}}
        (folder / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")


def _replace(folder: Path, partial: Path) -> None:
    old = folder.with_name(f"{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(partial, folder)
    shutil.rmtree(old, ignore_errors=True)
