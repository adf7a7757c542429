"""Errors about one row: raised with the row's number in a block of rows, and shown with its number in the user's X."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray


class RowError(ValueError):
    """An error about one row of a block; `numbering` makes a plain ValueError of it for the user.

    Parameters
    ----------
    message : str
        The message, with ``{row}`` in place of the number of the row.
    row : int
        The number of the row in its block.
    other : int, default=0
        The number of another row among the rows that count in the fit, for ``{other}`` in the message.
    """

    def __init__(self, message: str, row: int, other: int = 0) -> None:
        super().__init__(message, row, other)
        self.message, self.row, self.other = message, row, other

    def __str__(self) -> str:
        return self.message.replace("{row}", str(self.row)).replace("{other}", str(self.other))


@contextmanager
def numbering(rows: NDArray[np.intp] | None = None, counted: NDArray[np.intp] | None = None) -> Iterator[None]:
    """Raise a `RowError` of a block as a ValueError that names the row by its number in the user's X.

    ``rows`` holds this number for each row of the block; by default, the block is all of X. ``counted`` holds the
    number in the X of the fit for each row that counts in the fit; by default, all rows count.
    """
    try:
        yield
    except RowError as error:
        number = error.row if rows is None else int(rows[error.row])
        other = error.other if counted is None else int(counted[error.other])
        raise ValueError(str(RowError(error.message, number, other))) from error
