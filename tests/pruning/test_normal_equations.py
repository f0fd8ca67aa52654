"""Streamed normal equations against numpy's least squares, and unfolded layers against the layers themselves."""

import numpy as np
import pytest
import torch
from torch import nn

from edgeprune.pruning.few_rows import FewRows
from edgeprune.pruning.normal_equations import NormalEquations
from edgeprune.pruning.unfolding import bias_of, by_group, outputs_at, positions_of, set_weight, unfolded, weight_of

LAYERS = {
    "plain": (nn.Conv2d(6, 8, 3, padding=1, stride=2), (3, 6, 11, 9)),
    "depthwise, dilated, without bias": (nn.Conv2d(6, 6, 3, groups=6, dilation=2, bias=False), (3, 6, 11, 9)),
    "grouped, same padding, reflected": (
        nn.Conv2d(6, 8, (3, 5), padding="same", groups=2, padding_mode="reflect"),
        (3, 6, 11, 9),
    ),
    "one axis": (nn.Conv1d(4, 5, 3), (2, 4, 20)),
    "three axes": (nn.Conv3d(2, 3, 2), (2, 2, 4, 4, 4)),
    "dense, a frame": (nn.Linear(7, 5), (2, 3, 7)),
    "transposed, grouped": (
        nn.ConvTranspose2d(6, 8, 3, stride=2, padding=1, output_padding=1, groups=2),
        (2, 6, 5, 5),
    ),
    "transposed, dilated": (nn.ConvTranspose1d(6, 8, 4, stride=3, dilation=2), (2, 6, 5)),
    "transposed, cropped": (nn.ConvTranspose2d(6, 8, 3, padding=3), (2, 6, 9, 9)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_the_product_of_its_unfolded_inputs(name):
    layer, shape = LAYERS[name]
    x = torch.randn(shape)
    y = layer(x).detach()
    rows = torch.randperm(positions_of(layer, y))[:37]
    product = unfolded(layer, x, rows) @ weight_of(layer).mT + bias_of(layer)[:, None]
    torch.testing.assert_close(product, by_group(layer, outputs_at(layer, y, rows)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", LAYERS)
def test_a_weight_goes_back_to_where_it_came_from(name):
    layer, shape = LAYERS[name]
    x, weight, bias = torch.randn(shape), weight_of(layer), bias_of(layer)
    y = layer(x).detach()
    set_weight(layer, 2 * weight, 2 * bias)
    torch.testing.assert_close(layer(x).detach(), 2 * y)
    set_weight(layer, weight, bias)


@pytest.mark.parametrize("bias", [True, False])
def test_blocks_of_rows_give_the_solution_of_numpy(bias):
    """Inputs whose mean is a hundred times their deviation, in single precision and blocks of different sizes."""
    generator = np.random.default_rng(0)
    x = (generator.normal(size=(2, 400, 12)) + 100).astype(np.float32)
    y = (x @ generator.normal(size=(2, 12, 3)) + generator.normal(size=(2, 400, 3)) + 7).astype(np.float32)
    whole, second = NormalEquations(2, 12, 3), NormalEquations(2, 12, 3)
    for part, start, stop in ((whole, 0, 150), (whole, 150, 151), (second, 151, 151), (second, 151, 400)):
        part.add(torch.from_numpy(x[:, start:stop]), torch.from_numpy(y[:, start:stop]))
    whole.merge(second)
    weight, constant = whole.solve(torch.zeros(2, 3, 12), 0.0, bias)
    errors = whole.squared_error(weight, constant)
    for group in range(2):
        columns = np.column_stack([x[group], np.ones(400)] if bias else [x[group]]).astype(np.float64)
        expected, squares, *_ = np.linalg.lstsq(columns, y[group].astype(np.float64), rcond=None)
        np.testing.assert_allclose(weight[group].T, expected[:12], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(errors[group], squares, rtol=1e-4)
        if bias:
            np.testing.assert_allclose(constant[group], expected[12], rtol=1e-3, atol=1e-2)
    assert whole.rows == 400


def test_a_ridge_draws_the_solution_to_the_given_weight():
    x, start = torch.randn(1, 50, 4).double(), torch.randn(1, 3, 4)
    y = x @ torch.randn(1, 4, 3).double() + 5
    equations = NormalEquations(1, 4, 3)
    equations.add(x, y)
    free, near = equations.solve(start, 0.0)[0], equations.solve(start, 1e9)[0]
    torch.testing.assert_close(near, start.double(), rtol=0, atol=1e-5)
    half = equations.solve(start, 1.0)[0]
    assert (half - start).norm() < (free - start).norm()
    assert equations.squared_error(*equations.solve(start, 0.0)).sum() < 1e-9
    shift = float(equations.gram.diagonal(dim1=1, dim2=2).mean())
    expected = torch.linalg.solve(equations.gram + shift * torch.eye(4), equations.cross + shift * start.mT.double())
    torch.testing.assert_close(half, expected.mT)


@pytest.mark.parametrize("bias", [True, False])
def test_few_rows_have_the_same_solution(bias: bool) -> None:
    """In exact arithmetic both are one; fewer rows than columns, and ridges from small to large."""
    x, y, start = torch.randn(2, 30, 50) + 3, torch.randn(2, 30, 4) - 2, torch.randn(2, 4, 50)
    many, few = NormalEquations(2, 50, 4), FewRows(2, 50, 4)
    other = FewRows(2, 50, 4)
    many.add(x.double(), y.double())
    few.add(x[:, :20], y[:, :20])
    other.add(x[:, 20:], y[:, 20:])
    few.merge(other)
    torch.testing.assert_close(few.energy, many.energy, rtol=1e-5, atol=1e-5)
    assert few.rows == many.rows == 30
    for ridge in (1e-3, 1.0, 100.0):
        solutions = [equations.solve(start, ridge, bias) for equations in (many, few)]
        for one, two in zip(*solutions, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-3)
        errors = [equations.squared_error(*solutions[0]) for equations in (many, few)]
        torch.testing.assert_close(*errors, rtol=1e-3, atol=1e-3)


def test_columns_that_repeat_each_other_have_a_solution():
    x = torch.randn(1, 50, 4)
    x = torch.cat([x, x, torch.zeros(1, 50, 2)], 2)
    equations = NormalEquations(1, 10, 1)
    equations.add(x, x[..., :1] + x[..., 1:2])
    weight, bias = equations.solve(torch.zeros(1, 1, 10), 1e-6)
    assert equations.squared_error(weight, bias).item() < 1e-4
