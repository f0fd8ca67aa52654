"""Cells of CSV files that stay text: a spreadsheet computes what begins as a formula does (OWASP, CSV injection)."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")


def as_text(cell: str) -> str:
    """The cell behind an apostrophe where a spreadsheet would compute it; names of clips and labels may begin so."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def from_text(cell: str) -> str:
    """What `as_text` was given."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell
