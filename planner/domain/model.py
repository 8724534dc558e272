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


class MoeSpec(Value):
    """Experts in the place of one MLP."""

    experts: PositiveInt
    experts_per_token: PositiveInt
    expert_ffn: PositiveInt
    shared_ffn: int = Field(default=0, ge=0)
    """Width of all shared experts together, which every token passes."""
    dense_layers: int = Field(default=0, ge=0)
    """The first layers that keep a dense MLP of width ``ffn``."""
    normalized: bool = True
    """Whether the weights of a token's experts add up to one."""

    @model_validator(mode="after")
    def _check_experts(self) -> "MoeSpec":
        if self.experts_per_token > self.experts:
            raise ValueError(
                f"experts_per_token ({self.experts_per_token}) must not exceed experts ({self.experts})"
            )
        return self


class MlaSpec(Value):
    """Multi-head latent attention (DeepSeek-V2, 2405.04434, section 2.1)."""

    query_rank: PositiveInt | None = None
    """Width of the compressed query; none when queries are projected directly."""
    kv_rank: PositiveInt
    """Width of what keys and values are expanded from; cached beside the one rotary key of all heads."""
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
    def _check_shape(self) -> "ModelSpec":
        if self.heads % self.kv_heads:
            raise ValueError(f"heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads})")
        if self.moe and self.moe.dense_layers > self.layers:
            raise ValueError(f"moe.dense_layers ({self.moe.dense_layers}) exceeds layers ({self.layers})")
        return self

    @property
    def has_qkv_bias(self) -> bool:
        return self.family == "qwen2" or self.has_linear_bias

    @property
    def has_qk_norm(self) -> bool:
        return self.family in ("qwen3", "qwen3_moe")

    @property
    def query_size(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def kv_size(self) -> int:
        """Width of all key heads together (without latent attention the values' is the same)."""
        return self.kv_heads * self.head_dim

    @property
    def value_size(self) -> int:
        """Width of all heads' outputs together, the input of the output projection."""
        return self.heads * (self.mla.value_dim if self.mla else self.head_dim)

    @property
    def cached_size(self) -> int:
        """Elements that one layer caches of one token."""
        return self.mla.kv_rank + self.mla.rope_dim if self.mla else 2 * self.kv_size

    @property
    def dense_layers(self) -> int:
        """Layers without experts; they come first."""
        return self.moe.dense_layers if self.moe else self.layers

    @property
    def expert_layers(self) -> int:
        """Layers with experts."""
        return self.layers - self.dense_layers

    @cached_property
    def attention_matrix_parameters(self) -> int:
        """Parameters of one layer's query, key, value and output maps."""
        output = self.hidden * self.value_size
        if self.mla is None:
            return self.hidden * (self.query_size + 2 * self.kv_size) + output
        rank = self.mla.query_rank
        query = rank * (self.hidden + self.query_size) if rank else self.hidden * self.query_size
        expanded = self.heads * (self.mla.nope_dim + self.mla.value_dim)
        return query + self.hidden * self.cached_size + self.mla.kv_rank * expanded + output

    def mlp_parameters(self, ffn: int) -> int:
        """Parameters of the matrices of an MLP of that width: gate, up and down, or the last two."""
        return (3 if self.gated else 2) * self.hidden * ffn

    @property
    def router_parameters(self) -> int:
        """Of one layer with experts."""
        return self.hidden * self.moe.experts if self.moe else 0

    @property
    def expert_parameters(self) -> int:
        """Of one routed expert of one layer."""
        return self.mlp_parameters(self.moe.expert_ffn) if self.moe else 0

    @property
    def shared_expert_parameters(self) -> int:
        """Of all shared experts of one layer."""
        return self.mlp_parameters(self.moe.shared_ffn) if self.moe else 0

    @cached_property
    def dense_layer_matrix_parameters(self) -> int:
        """Parameters of the linear maps of a layer without experts."""
        return self.attention_matrix_parameters + self.mlp_parameters(self.ffn)

    @cached_property
    def layer_matrix_parameters(self) -> int:
        """Parameters of one layer's linear maps; in a model with experts, of a layer with all of them."""
        return self._layer_matrices(experts=self.moe.experts if self.moe else 0)

    @cached_property
    def active_layer_matrix_parameters(self) -> int:
        """Of those, the ones that one token is multiplied with."""
        return self._layer_matrices(experts=self.moe.experts_per_token if self.moe else 0)

    def _layer_matrices(self, *, experts: int) -> int:
        if self.moe is None:
            return self.dense_layer_matrix_parameters
        own = self.attention_matrix_parameters + self.router_parameters + self.shared_expert_parameters
        return own + experts * self.expert_parameters

    @cached_property
    def norm_size(self) -> int:
        """Parameters of one norm over the hidden size: its weight, and its bias where maps have one."""
        return self.hidden * (2 if self.has_linear_bias else 1)

    @cached_property
    def attention_vector_parameters(self) -> int:
        """Parameters of the norms and biases inside one layer's attention."""
        count = self.query_size + 2 * self.kv_size if self.has_qkv_bias else 0
        count += self.hidden if self.has_linear_bias else 0
        count += 2 * self.head_dim if self.has_qk_norm else 0
        return count + ((self.mla.query_rank or 0) + self.mla.kv_rank if self.mla else 0)

    @cached_property
    def layer_vector_parameters(self) -> int:
        """Parameters of one layer's norms and biases."""
        mlp_bias = (2 if self.gated else 1) * self.ffn + self.hidden if self.has_linear_bias else 0
        return 2 * self.norm_size + self.attention_vector_parameters + mlp_bias

    @property
    def embedding_parameters(self) -> int:
        """Of the token embedding."""
        return self.vocab * self.hidden

    @property
    def position_parameters(self) -> int:
        """Of a learned position embedding."""
        return self.learned_positions * self.hidden

    def head_parameters(self, head: Head) -> int:
        """Parameters of the last linear map, those shared with the embedding not counted again."""
        if head == "scalar":
            return self.hidden
        return 0 if self.tied_embeddings else self.embedding_parameters

    def parameters(self, head: Head = "vocabulary") -> int:
        """All parameters of the model."""
        return self._parameters(head, self.layer_matrix_parameters)

    def active_parameters(self, head: Head = "vocabulary") -> int:
        """Parameters that one token is computed with; all of them without experts."""
        return self._parameters(head, self.active_layer_matrix_parameters)

    def _parameters(self, head: Head, expert_layer: int) -> int:
        matrices = self.dense_layers * self.dense_layer_matrix_parameters + self.expert_layers * expert_layer
        ends = self.embedding_parameters + self.position_parameters + self.norm_size
        return matrices + self.layers * self.layer_vector_parameters + ends + self.head_parameters(head)

    def kv_bytes_per_token(self, precision: Precision) -> int:
        """Bytes that all layers together cache of one token."""
        return self.layers * self.cached_size * PARAMETER_BYTES[precision]
