"""Values and gradients of the parts between the matrices, against the formulas left to autograd."""

import pytest
import torch
from torch.nn import functional

from runtime.engines.elementwise import gated, normalised, rotary_table, rotated

POSITIONS, SIZE, THETA, EPSILON = 7, 16, 1e4, 1e-6


def plain_norm(x, weight):
    return x / (x.square().mean(-1, keepdim=True) + EPSILON).sqrt() * weight


def plain_gate(x):
    gate, up = x.chunk(2, -1)
    return functional.silu(gate) * up


def plain_rotation(x):
    """Pairs of elements as complex numbers, each turned by its angle."""
    first, second = x.double().chunk(2, -1)
    angles = torch.arange(POSITIONS)[:, None] / THETA ** (torch.arange(0, SIZE, 2) / SIZE)
    turned = (
        torch.complex(first, second) * torch.polar(torch.ones(()).double(), angles.double())[:, None, None]
    )
    return torch.cat([turned.real, turned.imag], -1).to(x.dtype)


def our_rotation(x):
    return rotated(x, *rotary_table(torch.arange(POSITIONS), SIZE, theta=THETA, dtype=x.dtype))


CASES = {
    "norm": (lambda x, weight: normalised(x, weight, EPSILON), plain_norm, [(POSITIONS, 3, SIZE), (SIZE,)]),
    "norm of heads": (
        lambda x, weight: normalised(x, weight, EPSILON),
        plain_norm,
        [(POSITIONS, 3, 2, SIZE), (SIZE,)],
    ),
    "gate": (gated, plain_gate, [(POSITIONS, 3, 2 * SIZE)]),
    "gate of experts' tokens": (gated, plain_gate, [(POSITIONS, 2 * SIZE)]),
    "gate of an expert without a token": (gated, plain_gate, [(0, 2 * SIZE)]),
    "rotation": (our_rotation, plain_rotation, [(POSITIONS, 3, 2, SIZE)]),
}


def values_and_gradients(function, inputs):
    leaves = [value.clone().requires_grad_() for value in inputs]
    output = function(*leaves)
    output.backward(torch.linspace(-1, 2, output.numel()).to(output.dtype).view_as(output))
    return [output.detach(), *(leaf.grad for leaf in leaves)]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_those_of_the_formula(case, dtype, tolerance):
    ours, plain, shapes = CASES[case]
    draw = torch.Generator().manual_seed(0)
    inputs = [torch.randn(shape, generator=draw).to(dtype) for shape in shapes]
    expected = values_and_gradients(plain, [value.float() for value in inputs])
    for found, wanted in zip(values_and_gradients(ours, inputs), expected, strict=True):
        assert found.dtype == dtype
        size = 1 + float(wanted.abs().sum()) / max(1, wanted.numel())
        assert torch.allclose(found.float(), wanted, rtol=tolerance, atol=tolerance * size)


def test_queries_need_not_be_contiguous():
    whole = torch.randn(POSITIONS, 3, 2, 3 * SIZE)
    assert torch.equal(
        our_rotation(whole[..., SIZE : 2 * SIZE]), our_rotation(whole[..., SIZE : 2 * SIZE].clone())
    )
