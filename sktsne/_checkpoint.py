"""Checkpoints: files from which a fit continues after its process has ended. A checkpoint is never incomplete."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from pickle import PicklingError
from typing import Any
from zipfile import BadZipFile

import joblib
import numpy as np
from numpy.typing import NDArray

from .optimizer import State

# A fit may continue with other values of these parameters, because no iteration depends on them.
WITHOUT_EFFECT = ("n_jobs", "verbose", "callback", "callback_every", "warm_start", "checkpoint", "max_iter")


def fingerprint(estimator: Any, rows: NDArray[Any]) -> str:
    """Return a hash of all that iterations depend on: the estimator's parameters and the hashes of the rows."""
    parameters = {name: value for name, value in estimator.get_params().items() if name not in WITHOUT_EFFECT}
    try:
        return str(joblib.hash((type(estimator).__name__, parameters, rows)))
    except PicklingError as error:
        raise ValueError(f"checkpoint needs parameters that can be pickled, and some cannot: {error}") from None


def save(path: Path, state: State, order: NDArray[np.intp], name: str) -> None:
    """Write the state of a fit to a file, in place of an earlier file."""
    new = path.with_name(path.name + ".part")
    with new.open("wb") as file:
        np.savez(file, order=order, fingerprint=np.array(name), **vars(state))
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)  # in one step, so that the file is never half written


def load(path: Path, name: str) -> tuple[State, NDArray[np.intp]] | None:
    """Return the state and the order of the points from a file, or None if the file does not exist.

    Raises
    ------
    ValueError
        If the file is not a checkpoint, or is the checkpoint of another fit.
    """
    if not path.exists():
        return None
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        order, other = arrays.pop("order"), arrays.pop("fingerprint")
        values = {field.name: arrays[field.name] for field in fields(State)}
    except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
        raise ValueError(
            f"checkpoint == {str(path)!r} is a file that holds no checkpoint, delete the file or name another: {error}"
        ) from error
    if str(other) != name:
        raise ValueError(
            f"checkpoint == {str(path)!r} holds the checkpoint of another fit, with other rows or parameters: "
            "delete the file, or name another."
        )
    return State(**{key: value if value.ndim else value.item() for key, value in values.items()}), order
