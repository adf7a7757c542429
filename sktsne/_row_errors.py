"""Errors that know the number of their row, in a block or a part of the user's rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray


class RowError(ValueError):
    """An error that knows the number of its row; users get a plain ValueError, see `numbering`.

    Parameters
    ----------
    message : str
        The message, with ``{row}`` in the place of the number.
    row : int
        The number of the row.
    """

    def __init__(self, message: str, row: int) -> None:
        super().__init__(message, row)
        self.message, self.row = message, row

    def __str__(self) -> str:
        return self.message.replace("{row}", str(self.row))


@contextmanager
def numbering(rows: NDArray[np.intp] | None = None) -> Iterator[None]:
    """Raise errors of a block with the user's number of the row; ``rows`` are the block's numbers, by default all."""
    try:
        yield
    except RowError as error:
        number = error.row if rows is None else int(rows[error.row])
        raise ValueError(str(RowError(error.message, number))) from error
