"""Least squares over any number of rows: streamed normal equations, and their solution near given weights."""

import torch
from torch import Tensor


class NormalEquations:
    """What least squares needs to know of inputs x and outputs y, summed over any number of rows.

    Blocks of rows are centred by their own mean before they are multiplied, so that products in single precision lose
    nothing to large means; everything is added up in double precision (Chan, Golub & LeVeque, "Updating formulae and a
    pairwise algorithm for computing sample variances", 1979).

    Attributes:
        rows: how many were added.
        x_mean, y_mean: `[groups, columns]` and `[groups, filters]`, float64 as all that follows.
        gram: `[groups, columns, columns]`, the sum of the products of centred inputs.
        cross: `[groups, columns, filters]`, the sum of the products of centred inputs and centred outputs.
        energy: `[groups, filters]`, the sum of the squares of centred outputs.
    """

    def __init__(self, groups: int, columns: int, filters: int, device: torch.device | str = "cpu") -> None:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(groups, *shape, dtype=torch.float64, device=device)

        self.rows = 0
        self.x_mean, self.y_mean = zeros(columns), zeros(filters)
        self.gram, self.cross, self.energy = zeros(columns, columns), zeros(columns, filters), zeros(filters)

    def add(self, x: Tensor, y: Tensor) -> None:
        """Add x `[groups, rows, columns]` and y `[groups, rows, filters]`; half precision is multiplied in single."""
        if not x.shape[1]:
            return
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        x_mean, y_mean = x.mean(1, dtype=torch.float64), y.mean(1, dtype=torch.float64)
        x, y = x - x_mean[:, None].to(x.dtype), (y - y_mean[:, None]).to(x.dtype)
        self._shift(x.shape[1], x_mean, y_mean)
        self.gram += x.mT @ x
        self.cross += x.mT @ y
        self.energy += y.square().sum(1, dtype=torch.float64)

    def merge(self, other: "NormalEquations") -> None:
        """Add all rows of another."""
        self._shift(other.rows, other.x_mean, other.y_mean)
        self.gram += other.gram
        self.cross += other.cross
        self.energy += other.energy

    def _shift(self, rows: int, x_mean: Tensor, y_mean: Tensor) -> None:
        """Take the mean of so many more rows in; their own products are added by the caller."""
        if not rows:
            return
        total = self.rows + rows
        x_step, y_step, share = x_mean - self.x_mean, y_mean - self.y_mean, self.rows * rows / total
        self.gram.baddbmm_(x_step[:, :, None], x_step[:, None], alpha=share)
        self.cross.baddbmm_(x_step[:, :, None], y_step[:, None], alpha=share)
        self.energy += share * y_step.square()
        self.x_mean += x_step * (rows / total)
        self.y_mean += y_step * (rows / total)
        self.rows = total

    def solve(self, weight: Tensor, ridge: float, bias: bool = True) -> tuple[Tensor, Tensor]:
        """The weight `[groups, filters, columns]` and bias `[groups, filters]` of least squared error, float64.

        A share `ridge` of the inputs' mean variance draws the solution to the given `weight`; the bias is free. Without
        `bias` it is zero, and the weight alone is fitted.
        """
        start = weight.double().mT
        gram, cross = self._about_zero() if not bias else (self.gram, self.cross)
        mean = gram.diagonal(dim1=1, dim2=2).mean(1)
        shift = (ridge * mean).clamp(min=torch.finfo(torch.float64).tiny)
        ridged = gram + torch.diag_embed(shift[:, None].expand(-1, gram.shape[1]))
        factor, failed = torch.linalg.cholesky_ex(ridged)
        residual = cross - gram @ start
        change = torch.cholesky_solve(residual, factor) if not failed.any() else _pseudo_solve(ridged, residual)
        fitted = (start + change).mT
        return fitted, self.free_bias(fitted) if bias else torch.zeros_like(self.y_mean)

    def free_bias(self, weight: Tensor) -> Tensor:
        """The best bias `[groups, filters]` of a weight."""
        return self.y_mean - (weight.double() @ self.x_mean[:, :, None])[..., 0]

    def squared_error(self, weight: Tensor, bias: Tensor) -> Tensor:
        """Sum of the squared errors over the rows, `[groups, filters]`, of any weight and bias."""
        weight = weight.double()
        product = weight @ self.gram
        centred = self.energy - 2 * (weight * self.cross.mT).sum(2) + (product * weight).sum(2)
        return centred.clamp(min=0) + self.rows * (self.free_bias(weight) - bias.double()).square()

    def _about_zero(self) -> tuple[Tensor, Tensor]:
        """The products of inputs that are not centred."""
        x, y = self.x_mean[:, :, None], self.y_mean[:, None]
        return self.gram + self.rows * x @ x.mT, self.cross + self.rows * x @ y


def _pseudo_solve(matrix: Tensor, right: Tensor) -> Tensor:
    """The smallest solution where the matrix has no inverse."""
    return torch.linalg.pinv(matrix, hermitian=True) @ right
