"""What lies between a layer's matrices where TransformerEngine's fused kernels are not installed.

On a CPU these are bound by memory, so each is written with few passes over it, forward and back, where a
chain of torch's operations makes and keeps a tensor for each link.
"""

from typing import Any

import torch
from torch.nn import functional


def normalised(x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    """RMSNorm (Zhang and Sennrich 2019) over the last axis: x / sqrt(mean(x^2) + epsilon) * weight."""
    return _Normalised.apply(x, weight, epsilon)


def gated(gate_and_up: torch.Tensor) -> torch.Tensor:
    """SwiGLU (Shazeer 2020): silu of the first half of the last axis times the second half."""
    return _Gated.apply(gate_and_up)


def rotated(x: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor) -> torch.Tensor:
    """RoPE (Su et al. 2021) in the halves' form: element i turns with element i + size / 2.

    Parameters
    ----------
    x
        Queries or keys, shape (s, b, heads, size).
    cosines, sines
        Of each position's angles, shape (s, 1, 1, size / 2), as `rotary_table` makes them.
    """
    return _Rotated.apply(x, cosines, sines)


def rotary_table(
    positions_s: torch.Tensor, size: int, *, theta: float, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines of the angles position / theta^(2 i / size), each of shape (s, 1, 1, size / 2)."""
    steps = torch.arange(0, size, 2, device=positions_s.device, dtype=torch.float32) / size
    angles = torch.outer(positions_s.float(), 1.0 / theta**steps)[:, None, None]
    return angles.cos().to(dtype), angles.sin().to(dtype)


class _Normalised(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        wide = x.float()
        mean_square = torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square_().div_(x.shape[-1])
        scale = mean_square.add_(epsilon).rsqrt_()
        context.save_for_backward(x, weight, scale)
        return (wide * scale).mul_(weight).to(x.dtype)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        x, weight, scale = context.saved_tensors
        wide, wide_weight, gradient = x.float(), weight.float(), gradient.float()
        products = (gradient * wide).flatten(0, -2)
        of_weight = products.T @ scale.flatten()
        pull = (products @ wide_weight).view_as(scale).mul_(scale**3).div_(-x.shape[-1])
        of_x = (gradient * wide_weight).mul_(scale).addcmul_(wide, pull)
        return of_x.to(x.dtype), of_weight.to(weight.dtype), None


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, gate_and_up: torch.Tensor) -> torch.Tensor:
        context.save_for_backward(gate_and_up)
        gate, up = gate_and_up.chunk(2, dim=-1)
        return functional.silu(gate).mul_(up)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        (gate_and_up,) = context.saved_tensors
        gate, up = gate_and_up.chunk(2, dim=-1)
        both = torch.empty_like(gate_and_up)
        of_gate, of_up = both.chunk(2, dim=-1)
        torch.ops.aten.silu_backward.grad_input(gradient * up, gate, grad_input=of_gate)
        torch.mul(functional.silu(gate), gradient, out=of_up)
        return both


class _Rotated(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor) -> torch.Tensor:
        context.save_for_backward(cosines, sines)
        return _turned(x, cosines, sines, direction=1)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return _turned(gradient, *context.saved_tensors, direction=-1), None, None


def _turned(x: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor, *, direction: int) -> torch.Tensor:
    turned = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    (first, second), (of_first, of_second) = x.chunk(2, dim=-1), turned.chunk(2, dim=-1)
    torch.mul(first, cosines, out=of_first).addcmul_(second, sines, value=-direction)
    torch.mul(second, cosines, out=of_second).addcmul_(first, sines, value=direction)
    return turned
