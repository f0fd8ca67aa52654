"""Results that show themselves as a table, in a notebook too."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


class Tabular(ABC):
    """Something with a table."""

    @abstractmethod
    def table(self) -> pd.DataFrame:
        """The result as a data frame."""

    def _repr_html_(self) -> str:
        """The table, for notebooks."""
        html: str = self.table().to_html()
        return html
