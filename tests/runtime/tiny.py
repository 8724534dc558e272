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
    config_class, model_class = _CLASSES[kind]
    hidden = heads * HEAD_DIM if kind == "qwen2" else HIDDEN
    tied = kind == "qwen3"
    options: dict[str, Any] = {} if kind == "qwen2" else {"head_dim": HEAD_DIM}
    has_experts = kind == "qwen3_moe"
    if has_experts:
        options |= {
            "num_experts": EXPERTS,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": EXPERT_FFN,
            "mlp_only_layers": list(range(dense_layers)),
            "norm_topk_prob": normalized,
        }
    config = config_class(
        vocab_size=vocab,
        hidden_size=hidden,
        intermediate_size=ffn,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=256,
        rms_norm_eps=1e-5,
        tie_word_embeddings=tied,
        num_labels=1,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        attn_implementation="eager",
        **options,
    )
    torch.manual_seed(seed)
    network = model_class(config).float()
    for name, parameter in network.named_parameters():
        torch.nn.init.normal_(parameter, 1.0 if "norm" in name else 0.0, 0.1)
    network.save_pretrained(folder)
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}\n')
    return ModelSpec(
        name=kind,
        family=kind.removesuffix("-scalar"),
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=HEAD_DIM,
        ffn=ffn,
        vocab=vocab,
        tied_embeddings=tied,
        max_positions=256,
        norm_epsilon=1e-5,
        folder=str(folder),
        moe=MoeSpec(
            experts=EXPERTS,
            experts_per_token=2,
            expert_ffn=EXPERT_FFN,
            dense_layers=dense_layers,
            normalized=normalized,
        )
        if has_experts
        else None,
    )


def network_of(model: ModelSpec, *, scalar: bool = False) -> Any:
    """The folder as transformers reads it."""
    kind = "llama-scalar" if scalar else model.family
    return _CLASSES[kind][1].from_pretrained(model.folder, attn_implementation="eager", dtype=torch.float32)


def tokens(rows: int, columns: int, *, seed: int = 1) -> torch.Tensor:
    """Random tokens of shape (rows, columns)."""
    return torch.randint(3, VOCAB, (rows, columns), generator=torch.Generator().manual_seed(seed))


def logprobs(network: Any, tokens_bs: torch.Tensor) -> torch.Tensor:
    """Log-probabilities of ``tokens_bs[:, 1:]``, shape (b, s-1)."""
    logits = network(tokens_bs[:, :-1]).logits
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
