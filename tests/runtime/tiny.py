"""Tiny random models in Hugging Face format, and what transformers computes with them."""

from pathlib import Path
from typing import Any, Literal

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

from planner.domain.model import ModelSpec, MoeSpec

VOCAB, HIDDEN, HEADS, HEAD_DIM, FFN = 128, 64, 4, 32, 96
EXPERTS, EXPERT_FFN = 4, 48
Kind = Literal["llama", "qwen2", "qwen3", "qwen3_moe", "llama-scalar"]
_CLASSES: dict[Kind, tuple[Any, Any]] = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
    "qwen3_moe": (Qwen3MoeConfig, Qwen3MoeForCausalLM),
    "llama-scalar": (LlamaConfig, LlamaForSequenceClassification),
}


def write_model(
    folder: Path,
    kind: Kind,
    *,
    layers: int = 2,
    heads: int = HEADS,
    kv_heads: int = 2,
    ffn: int = FFN,
    vocab: int = VOCAB,
    seed: int = 0,
    dense_layers: int = 0,
    normalized: bool = True,
) -> ModelSpec:
    """Write a random model; Qwen3's embedding is tied, Qwen2's head_dim is hidden / heads.

    Parameters
    ----------
    dense_layers, normalized
        Of a model with experts.
    """
    experts = MoeSpec(
        experts=EXPERTS,
        experts_per_token=2,
        expert_ffn=EXPERT_FFN,
        dense_layers=dense_layers,
        normalized=normalized,
    )
    model = ModelSpec(
        name=kind,
        family=kind.removesuffix("-scalar"),
        layers=layers,
        hidden=heads * HEAD_DIM if kind == "qwen2" else HIDDEN,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=HEAD_DIM,
        ffn=ffn,
        vocab=vocab,
        tied_embeddings=kind == "qwen3",
        max_positions=256,
        norm_epsilon=1e-5,
        folder=str(folder),
        moe=experts if kind == "qwen3_moe" else None,
    )
    _write_random(folder, kind, model, seed=seed)
    return model


def _write_random(folder: Path, kind: Kind, model: ModelSpec, *, seed: int) -> None:
    """Write weights drawn from N(0, 0.1), norms from N(1, 0.1)."""
    torch.manual_seed(seed)
    network = _CLASSES[kind][1](transformers_config(kind, model)).float()
    for name, parameter in network.named_parameters():
        torch.nn.init.normal_(parameter, 1.0 if "norm" in name else 0.0, 0.1)
    network.save_pretrained(folder)
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}\n')


def transformers_config(kind: Kind, model: ModelSpec) -> Any:
    """The model as transformers' config; Qwen2's has no head_dim."""
    config_class, model_class = _CLASSES[kind]
    config: dict[str, Any] = {
        "architectures": [model_class.__name__],
        "vocab_size": model.vocab,
        "hidden_size": model.hidden,
        "intermediate_size": model.ffn,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "num_key_value_heads": model.kv_heads,
        "max_position_embeddings": model.max_positions,
        "rms_norm_eps": model.norm_epsilon,
        "rope_theta": model.rope_theta,
        "tie_word_embeddings": model.tied_embeddings,
        "num_labels": 1,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "attn_implementation": "eager",
    }
    if kind != "qwen2":
        config["head_dim"] = model.head_dim
    if model.moe is not None:
        config |= {
            "num_experts": model.moe.experts,
            "num_experts_per_tok": model.moe.experts_per_token,
            "moe_intermediate_size": model.moe.expert_ffn,
            "mlp_only_layers": list(range(model.moe.dense_layers)),
            "norm_topk_prob": model.moe.normalized,
        }
    return config_class(**config)


def network_of(model: ModelSpec, *, scalar: bool = False) -> Any:
    """The folder as transformers reads it."""
    kind = "llama-scalar" if scalar else model.family
    return _CLASSES[kind][1].from_pretrained(model.folder, attn_implementation="eager", dtype=torch.float32)


def tokens(rows: int, columns: int, *, seed: int = 1) -> torch.Tensor:
    """Random tokens of shape (rows, columns)."""
    return torch.randint(3, VOCAB, (rows, columns), generator=torch.Generator().manual_seed(seed))


def logprobs(network: Any, tokens_bs: torch.Tensor, *, temperature: float = 1.0) -> torch.Tensor:
    """Log-probabilities of ``tokens_bs[:, 1:]``, shape (b, s-1)."""
    logits = network(tokens_bs[:, :-1]).logits / temperature
    return torch.log_softmax(logits, -1).gather(-1, tokens_bs[:, 1:, None]).squeeze(-1)


def gradients(network: Any) -> dict[str, torch.Tensor]:
    """The network's gradients under the names of its file, where each expert has matrices of its own."""
    found = {}
    for name, parameter in network.named_parameters():
        gradient = parameter.grad
        if ".experts." not in name:
            found[name] = gradient
            continue
        prefix, _, kind = name.rpartition(".")
        for expert, matrix in enumerate(gradient):
            if kind == "down_proj":
                found[f"{prefix}.{expert}.down_proj.weight"] = matrix
            else:
                gate, up = matrix.chunk(2)
                found[f"{prefix}.{expert}.gate_proj.weight"] = gate
                found[f"{prefix}.{expert}.up_proj.weight"] = up
    return found
