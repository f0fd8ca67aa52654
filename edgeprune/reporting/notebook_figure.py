"""A matplotlib figure that a notebook shows, whether or not pyplot was imported there."""

import io

from matplotlib.figure import Figure


class NotebookFigure(Figure):
    """A figure as any other: `savefig` writes it to a file."""

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        self.savefig(stream, format="png", dpi=120)
        return stream.getvalue()
