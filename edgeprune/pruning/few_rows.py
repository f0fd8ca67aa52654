"""Least squares with fewer rows than columns: the rows are kept, and there are as many unknowns as rows."""

import torch
from torch import Tensor


class FewRows:
    """Does what `NormalEquations` does, with the same answers, without a matrix of columns x columns.

    The change of a weight is a sum of rows (ridge regression in dual variables: Saunders, Gammerman & Vovk, ICML 1998).

    Attributes:
        rows: how many were added.
        x, y: `[groups, rows, columns]` and `[groups, rows, filters]`, as they were added.
    """

    def __init__(self, groups: int, columns: int, filters: int, device: torch.device | str = "cpu") -> None:
        self.x, self.y = torch.zeros(groups, 0, columns, device=device), torch.zeros(groups, 0, filters, device=device)

    @property
    def rows(self) -> int:
        return int(self.x.shape[1])

    @property
    def energy(self) -> Tensor:
        """Sum of the squares of centred outputs, `[groups, filters]`, float64."""
        return (self.y.double() - self.y.mean(1, True, dtype=torch.float64)).square().sum(1)

    def add(self, x: Tensor, y: Tensor) -> None:
        """Add x `[groups, rows, columns]` and y `[groups, rows, filters]`."""
        self.x, self.y = torch.cat([self.x, x], 1), torch.cat([self.y, y], 1)

    def merge(self, other: "FewRows") -> None:
        """Add all rows of another."""
        self.add(other.x, other.y)

    def solve(self, weight: Tensor, ridge: float, bias: bool = True) -> tuple[Tensor, Tensor]:
        """As `NormalEquations.solve`."""
        x = self.x - self.x.mean(1, True) if bias else self.x
        residual = self._residual(weight)
        residual = residual - residual.mean(1, True) if bias else residual
        products = (x @ x.mT).double()
        shift = ridge * products.diagonal(dim1=1, dim2=2).sum(1) / x.shape[2]
        products += torch.diag_embed(shift.clamp(min=1e-300)[:, None].expand(-1, self.rows))
        factor, failed = torch.linalg.cholesky_ex(products)
        if failed.any():
            shares = torch.linalg.pinv(products, hermitian=True) @ residual
        else:
            shares = torch.cholesky_solve(residual, factor)
        fitted = weight.double() + (shares.mT.to(x.dtype) @ x).double()
        return fitted, self._residual(fitted).mean(1) if bias else torch.zeros_like(fitted[..., 0])

    def squared_error(self, weight: Tensor, bias: Tensor) -> Tensor:
        """Sum of the squared errors over the rows, `[groups, filters]`, of any weight and bias."""
        return (self._residual(weight) - bias.double()[:, None]).square().sum(1)

    def _residual(self, weight: Tensor) -> Tensor:
        """Outputs minus what a weight makes of the inputs, float64."""
        return self.y.double() - (self.x @ weight.to(self.x.dtype).mT).double()
