"""Hugging Face tensors as windows on this rank's Megatron parameters.

Megatron fuses query, key and value of one key head into one block of rows, and gate and up into another.
Each Hugging Face tensor is a strided view of such a parameter, so that one description serves for reading,
writing and resharding.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from planner.domain.model import ModelSpec

_OF_MODEL = {
    "embedding.word_embeddings.weight": "model.embed_tokens.weight",
    "decoder.final_layernorm.weight": "model.norm.weight",
}
_OF_LAYER = {
    "input_layernorm.weight": "input_layernorm.weight",
    "pre_mlp_layernorm.weight": "post_attention_layernorm.weight",
    "self_attention.q_layernorm.weight": "self_attn.q_norm.weight",
    "self_attention.k_layernorm.weight": "self_attn.k_norm.weight",
    "self_attention.linear_proj.weight": "self_attn.o_proj.weight",
    "mlp.router.weight": "mlp.gate.weight",
    # TransformerEngine's norms are parts of the map behind them
    "self_attention.linear_qkv.layer_norm_weight": "input_layernorm.weight",
    "mlp.linear_fc1.layer_norm_weight": "post_attention_layernorm.weight",
}
_LAYER = re.compile(r"decoder\.layers\.(\d+)\.(.+)")
_MLP = re.compile(r"mlp\.(?:experts\.local_experts\.(\d+)\.)?linear_(fc1|fc2)\.weight")


@dataclass(frozen=True, slots=True)
class Shard:
    """This rank's part of one Hugging Face tensor."""

    window: torch.Tensor
    """View of the Megatron parameter, with one axis more where the tensor's rows lie apart."""
    shape: tuple[int, ...]
    """The part's shape in Hugging Face's order."""

    def read(self) -> torch.Tensor:
        """The part, contiguous; shares memory with the parameter where it can."""
        return self.window.reshape(self.shape)

    def write(self, part: torch.Tensor) -> None:
        """Set the part; casts to the parameter's type."""
        self.window.copy_(part.reshape(self.window.shape))


def shards(
    module: torch.nn.Module,
    model: ModelSpec,
    *,
    first_expert: int = 0,
    of: Callable[[torch.nn.Parameter], torch.Tensor] = lambda parameter: parameter.data,
) -> dict[str, Shard]:
    """The parts that this rank holds, by Hugging Face name.

    Parameters
    ----------
    first_expert
        Number of the first expert that this rank holds of each layer.
    of
        What to look at of each parameter, such as its gradient instead of its data.
    """
    found: dict[str, Shard] = {}
    for name, parameter in module.named_parameters():
        match = _LAYER.fullmatch(name)
        if match is None:
            found[_model_name(name, model, parameter)] = _whole(of(parameter))
            continue
        number = module.decoder.layers[int(match[1])].layer_number - 1
        for part, shard in _layer_shards(match[2], of(parameter), model, first_expert):
            found[f"model.layers.{number}.{part}"] = shard
    return found


def _model_name(name: str, model: ModelSpec, parameter: torch.Tensor) -> str:
    if name != "output_layer.weight":
        return _OF_MODEL[name]
    if parameter.shape[0] == 1:
        return "score.weight"
    # the last of several stages holds its own copy of a tied embedding
    return "model.embed_tokens.weight" if model.tied_embeddings else "lm_head.weight"


def _layer_shards(
    name: str, data: torch.Tensor, model: ModelSpec, first_expert: int
) -> Iterator[tuple[str, Shard]]:
    kind, _, suffix = name.rpartition(".")
    match = _MLP.fullmatch(name)
    if match is not None:
        prefix = "mlp" if match[1] is None else f"mlp.experts.{first_expert + int(match[1])}"
        yield from _mlp(prefix, match[2], data)
    elif kind == "self_attention.linear_qkv" and name not in _OF_LAYER:
        yield from _query_key_value(suffix, data, model)
    else:
        yield _OF_LAYER[name], _whole(data)


def _mlp(prefix: str, matrix: str, data: torch.Tensor) -> Iterator[tuple[str, Shard]]:
    """Gate and up lie one behind the other."""
    if matrix == "fc2":
        yield f"{prefix}.down_proj.weight", _whole(data)
        return
    half = data.shape[0] // 2
    yield f"{prefix}.gate_proj.weight", _whole(data[:half])
    yield f"{prefix}.up_proj.weight", _whole(data[half:])


def _query_key_value(suffix: str, data: torch.Tensor, model: ModelSpec) -> Iterator[tuple[str, Shard]]:
    """Rows lie by key head: its query heads, its key, its value."""
    queries = model.heads // model.kv_heads
    tail = data.shape[1:]
    blocks = data.view(-1, queries + 2, model.head_dim, *tail)
    for projection, window in (
        ("q_proj", blocks[:, :queries]),
        ("k_proj", blocks[:, queries]),
        ("v_proj", blocks[:, queries + 1]),
    ):
        rows = window.numel() // max(1, tail.numel())
        yield f"self_attn.{projection}.{suffix}", Shard(window, (rows, *tail))


def _whole(data: torch.Tensor) -> Shard:
    return Shard(data, tuple(data.shape))
