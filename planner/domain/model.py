"""The shape of one LLM, read from the fields of its Hugging Face ``config.json``."""

from functools import cached_property
from typing import Literal

from pydantic import Field, model_validator

from planner.domain.quantities import PositiveInt, Value

Head = Literal["vocabulary", "scalar"]
"""What the last layer computes: logits over the vocabulary, or one number per position (critic, reward)."""

Precision = Literal["bf16", "fp16", "fp8", "fp32"]
"""What matrices are multiplied in; fp8 keeps parameters and activations in bf16."""
PARAMETER_BYTES = {"bf16": 2, "fp16": 2, "fp8": 2, "fp32": 4}

Family = Literal["llama", "qwen2", "qwen3", "qwen3_moe", "mistral", "mixtral", "deepseek_v3", "gpt", "opt"]

ARCHITECTURES = {
    "LlamaForCausalLM": "llama",
    "LlamaForSequenceClassification": "llama",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen2ForSequenceClassification": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
    "Qwen3ForSequenceClassification": "qwen3",
}


class MoeSpec(Value):
    """Experts in the place of one MLP."""

    experts: PositiveInt
    experts_per_token: PositiveInt
    expert_ffn: PositiveInt
    shared_ffn: int = Field(default=0, ge=0)
    """Width of all shared experts together, which every token passes."""
    dense_layers: int = Field(default=0, ge=0)
    """The first layers that keep a dense MLP of width ``ffn``."""


class MlaSpec(Value):
    """Multi-head latent attention (DeepSeek-V2, 2405.04434, section 2.1)."""

    query_rank: PositiveInt | None = None
    """Width of the compressed query; none when queries are projected directly."""
    kv_rank: PositiveInt
    nope_dim: PositiveInt
    """Of each head's query and key, the part without a rotary embedding."""
    rope_dim: PositiveInt
    value_dim: PositiveInt


class ModelSpec(Value):
    """A decoder-only transformer, dense or with experts."""

    name: str
    family: Family
    layers: PositiveInt
    hidden: PositiveInt
    heads: PositiveInt
    kv_heads: PositiveInt
    head_dim: PositiveInt
    ffn: PositiveInt
    vocab: PositiveInt
    tied_embeddings: bool = False
    gated: bool = True
    """Whether the MLP multiplies by a gate (three matrices) or not (two)."""
    has_linear_bias: bool = False
    """Whether every linear map and norm has a bias (GPT-3, OPT)."""
    learned_positions: int = Field(default=0, ge=0)
    """Rows of a learned absolute position embedding; 0 for rotary ones."""
    moe: MoeSpec | None = None
    mla: MlaSpec | None = None
    max_positions: PositiveInt = 2048
    rope_theta: float = Field(default=10000.0, gt=0)
    rope_type: str = "default"
    """Scaling of the rotary embedding, as the config file names it."""
    norm_epsilon: float = Field(default=1e-5, gt=0)
    folder: str | None = None
    """Where the weights and the tokenizer lie, in Hugging Face format; none for a catalog entry."""

    @model_validator(mode="after")
    def _check_heads(self) -> "ModelSpec":
        if self.heads % self.kv_heads:
            raise ValueError(f"heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads})")
        return self

    @property
    def has_qkv_bias(self) -> bool:
        return self.family == "qwen2"

    @property
    def has_qk_norm(self) -> bool:
        return self.family == "qwen3"

    @property
    def query_size(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def kv_size(self) -> int:
        """Width of all key heads together (the values' is the same)."""
        return self.kv_heads * self.head_dim

    @cached_property
    def layer_matrix_parameters(self) -> int:
        """Parameters of one layer's linear maps: query, key, value, output, gate, up, down."""
        attention = self.hidden * (2 * self.query_size + 2 * self.kv_size)
        return attention + 3 * self.hidden * self.ffn

    @cached_property
    def layer_vector_parameters(self) -> int:
        """Parameters of one layer's norms and biases."""
        bias = self.query_size + 2 * self.kv_size if self.has_qkv_bias else 0
        return 2 * self.hidden + bias + (2 * self.head_dim if self.has_qk_norm else 0)

    @property
    def embedding_parameters(self) -> int:
        return self.vocab * self.hidden

    def head_parameters(self, head: Head) -> int:
        """Parameters of the last linear map, those shared with the embedding not counted again."""
        if head == "scalar":
            return self.hidden
        return 0 if self.tied_embeddings else self.embedding_parameters

    def parameters(self, head: Head = "vocabulary") -> int:
        """All parameters of the model."""
        layer = self.layer_matrix_parameters + self.layer_vector_parameters
        return self.layers * layer + self.embedding_parameters + self.hidden + self.head_parameters(head)

    def kv_bytes_per_token(self, precision: Precision) -> int:
        """Bytes of keys and values of one token over all layers."""
        return 2 * self.layers * self.kv_size * PARAMETER_BYTES[precision]
