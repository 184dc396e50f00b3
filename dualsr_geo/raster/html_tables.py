"""Small tables for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def two_columns(title: str, rows: Sequence[tuple[str, str]]) -> str:
    """Return names and values as an HTML table with a title.

    Parameters
    ----------
    title : str
    rows : sequence of (str, str)
    """
    body = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th><td style="text-align:left">{escape(value)}</td></tr>'
        for name, value in rows
    )
    return f"<div><b>{escape(title)}</b><table>{body}</table></div>"


def grid_of_cells(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells as an HTML table with a title and a head.

    Parameters
    ----------
    title : str
    head : sequence of str
    rows : sequence of sequence of str
    """
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div><b>{escape(title)}</b><table><tr>{top}</tr>{body}</table></div>"
