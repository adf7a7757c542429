"""The estimators for a cluster: they check the parameters, run the stages of a fit, and place new rows."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from types import SimpleNamespace
from typing import Any, ClassVar

import dask
import dask.array as da
import numpy as np
from distributed import Client, futures_of, get_client
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from .. import _sne, _tsne
from .._base import differ_by_rounding
from .._checks import check_type
from .._collections import blocks_of, is_frame, whole_rows
from .._documentation import LinksToDocumentation
from .._memory import estimated_memory
from .._native import warn_if_not_compiled
from .._parameters import check_parameters, choose_affinities
from .._process import one_blas_thread
from .._reports import EmbeddingMixin, Reports, Tasks
from ..affinities import Affinities
from ..conditioning import Conditioning
from ..kernels import KERNELS
from ..neighbors import NeighborGraph, canonical
from ..objectives import JointKL
from ..optimizer import Frame, Progress, State, phase_at_end
from ..parallel import Workers
from ..placement import FrozenMap, balance
from ._affinities import ShardAffinities, affinities_of
from ._cluster import Cluster
from ._neighbors import Shard, find_neighbors, neighbors_of_block
from ._optimization import Problem, optimize
from ._rows import Rows, as_rows_of, check_collection, checked, dtype_of
from ._starts import start_of

METRICS = ("euclidean", "sqeuclidean", "cosine", "correlation")
# For each parameter that has a value for which there is no fit on a cluster: the values that there are.
ACCEPTED: dict[str, tuple[Any, ...]] = {
    "metric_params": (None,),
    "method": ("auto", "fft"),
    "n_jobs": (None,),
    "neighbors": ("auto", "clustered"),
    "anchors": (None,),
    "warm_start": (False,),
    "checkpoint": (None,),
}
MAX_COMPONENTS = 3  # of the FFT kernel
ROWS_AT_ONCE = 2**14  # the number of new rows that are placed at a time


def _with_parameters_of(single: type[BaseEstimator]) -> Callable[[type], type]:
    """Return a decorator that gives a class the constructor of an estimator for one machine, and ``client``."""

    def decorate(cls: type) -> type:
        of_single = inspect.signature(single.__init__)
        client = inspect.Parameter("client", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="Any")
        signature = of_single.replace(parameters=[*of_single.parameters.values(), client])

        def __init__(self: Any, *args: Any, **parameters: Any) -> None:  # noqa: N807
            bound = signature.bind(self, *args, **parameters)
            bound.apply_defaults()
            for name, value in list(bound.arguments.items())[1:]:
                setattr(self, name, value)

        __init__.__signature__ = signature  # type: ignore[attr-defined]  # scikit-learn reads the names here
        cls.__init__ = __init__  # type: ignore[misc]
        return cls

    return decorate


# With set_output, which auto_wrap_output_keys=None leaves out, scikit-learn would bring the positions into the process
# of the client.
class ClusterEmbedding(  # type: ignore[call-arg]
    EmbeddingMixin,
    LinksToDocumentation,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
    auto_wrap_output_keys=None,
):
    """Base class of the estimators for a cluster. A subclass names the estimator for one machine: ``_single``."""

    _single: ClassVar[Any]
    embedding_: Any

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(auto_wrap_output_keys=None, **kwargs)  # type: ignore[call-arg]

    def _on_one_machine(self) -> Any:
        """Return an estimator for one machine with the same parameters, for its checks and its phases."""
        return self._single(**{name: value for name, value in self.get_params(deep=False).items() if name != "client"})

    @property
    def _label(self) -> str:
        return str(self._single._label)

    def _check_parameters(self) -> Any:
        """Return the estimator for one machine, after a check of the parameters before any work."""
        single = self._on_one_machine()
        check_parameters(single)
        for name, accepted in ACCEPTED.items():
            value = getattr(self, name)
            if not any(value is one or (isinstance(one, str) and value == one) for one in accepted):
                raise ValueError(_refusal(name, value, " or ".join(map(repr, accepted))))
        if callable(self.metric) or canonical(self.metric) not in METRICS:
            raise ValueError(_refusal("metric", self.metric, f"one of {', '.join(map(repr, METRICS))}"))
        if isinstance(self.affinities, str) and self.affinities != "perplexity":
            raise ValueError(_refusal("affinities", self.affinities, "'perplexity' or an object with a rule"))
        if isinstance(self.init, str) and self.init not in ("pca", "random"):
            raise ValueError(_refusal("init", self.init, "'pca', 'random' or an array"))
        if self.n_components > MAX_COMPONENTS:
            raise ValueError(_refusal("n_components", self.n_components, f"at most {MAX_COMPONENTS}"))
        return single

    def _client(self) -> Any:
        """Return the client of the constructor, or the current one."""
        if self.client is not None:
            check_type("client", self.client, Client)
            if self.client.asynchronous:
                raise ValueError(f"client == {self.client!r}, must not be asynchronous: a fit waits for results.")
            return self.client
        try:
            return get_client()
        except ValueError as error:
            raise ValueError(
                f"client == {self.client!r}, must be a distributed.Client where there is no current one, as after "
                "distributed.Client(LocalCluster())."
            ) from error

    def fit(self, X: Any, y: Any = None) -> ClusterEmbedding:
        """Embed the rows of X.

        Parameters
        ----------
        X : Dask array or Dask data frame of shape (n_samples, n_features)
            The rows to embed, in dense blocks.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        TypeError, ValueError
            If a parameter or ``X`` is not accepted, or there is no client.
        MemoryError
            If the fit needs more memory than the workers together may use.
        FloatingPointError
            If the optimization diverges.
        """
        before = self.__dict__.copy()
        client = self._client()
        single = self._check_parameters()
        warn_if_not_compiled()
        cluster = Cluster(client)
        try:
            with client.as_current():  # the actors of the optimization belong to the current client
                self._fit(X, single, cluster)
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)  # a fit that fails or is interrupted leaves the estimator as it was
            cluster.end()
            raise
        return self

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Embed the rows of X and return their positions.

        Parameters
        ----------
        X : Dask array or Dask data frame of shape (n_samples, n_features)
            The rows to embed, in dense blocks.
        y : None
            Ignored.

        Returns
        -------
        X_new : Dask array of shape (n_samples, n_components)
            The positions, in the memory of the workers, with the blocks of ``X``: float32 for float32 ``X``, float64
            otherwise.

        Raises
        ------
        TypeError, ValueError, MemoryError, FloatingPointError
            As for `fit`.
        """
        return self.fit(X).embedding_

    def _fit(self, X: Any, single: Any, cluster: Cluster) -> None:
        random_state = check_random_state(self.random_state)
        self._check_columns(X, reset=True)
        self.timings_: dict[str, float] = {}
        client, joint = cluster.client, self._single._objective is JointKL
        with self._stage("neighbors"):
            uses_scale = bool(getattr(self.affinities, "uses_scale", False))
            rule: Any = None
            k = 0

            def admit(n: int, n_columns: int, dtype: Any) -> None:
                nonlocal rule, k
                rule = deepcopy(choose_affinities(single, n))
                k = rule.count_neighbors(n)
                _check_memory(client, n, n_columns, dtype, k)

            rows = as_rows_of(cluster, X, self.metric, not uses_scale, admit)
            neighbors = find_neighbors(cluster, rows, self.metric, k)
            numbers = [cluster.run("numbers", _numbers, shard) for shard in neighbors.shards]
            order = np.concatenate(cluster.results(numbers))
            cluster.wait(neighbors.graphs)
        with self._stage("initialization"):
            start = start_of(cluster, rows, neighbors, order, self.init, self.n_components, random_state)
        with self._stage("affinities"):
            affinities = affinities_of(cluster, neighbors, rule, joint)
            entropies = cluster.results([cluster.run("entropy", _entropy, part) for part in affinities])
        with self._stage("optimization"):
            problem = Problem(
                affinities,
                float(np.sum(entropies)),
                neighbors.offsets,
                self._single._objective,
                self.dof,
                np.inf if self.max_step_norm is None else float(self.max_step_norm),
            )
            self._optimize(cluster, single, problem, start, order, rows)
        cluster.end([*neighbors.shards, neighbors.index, self._map, *futures_of(self.embedding_)])
        self._search, self._affinity_rule, self._conditioning = neighbors, rule, rows.conditioning

    def _check_columns(self, X: Any, reset: bool) -> None:
        """Raise unless X is a Dask collection of rows, of those columns that the fit had if not ``reset``."""
        check_collection(X)
        validate_data(self, X._meta if is_frame(X) else whole_rows(X), reset=reset, skip_check_array=True)

    def _optimize(
        self,
        cluster: Cluster,
        single: Any,
        problem: Problem,
        start: NDArray[np.float64],
        order: NDArray[np.int64],
        rows: Rows,
    ) -> None:
        phases = single._phases()
        self.learning_rate_ = phases[-1].learning_rate
        points = SimpleNamespace(state=State.at(start), order=order, objective=SimpleNamespace(frame=Frame()))
        reports = Reports(
            points,
            lambda n_iter, cost, embedding: {},
            tasks=Tasks(self, 0, None, None),
            log=self._log,
            save=lambda: None,
            callback=self.callback,
            callback_every=self.callback_every,
            n_early=self.early_exaggeration_iter,
        )

        def report(progress: Progress) -> bool:
            points.state = progress.state
            return reports(progress)

        outcome = optimize(
            cluster,
            problem,
            points.state,
            phases,
            report=report,
            tick=reports.tick,
            n_iter_without_progress=self.n_iter_without_progress,
            tol=self.tol,
            min_grad_norm=self.min_grad_norm,
            report_every=self.callback_every,
        )
        self.kl_divergence_, self.n_iter_ = outcome.cost, outcome.n_iter - 1
        self._log(
            f"KL divergence after {outcome.n_iter} iterations: {self.kl_divergence_:f} (stopped by {outcome.reason})"
        )
        Y = outcome.Y.astype(rows.dtype)
        last = phase_at_end(phases, outcome.n_iter).exaggeration
        exaggeration = balance(outcome.repulsion, outcome.products, last, float(np.abs(outcome.Y).max()))
        self._map = cluster.scatter([FrozenMap(Y, self.dof, KERNELS["fft"], exaggeration)])[0]
        embedding = np.empty_like(Y)
        embedding[order] = Y
        ends = np.cumsum(rows.chunks)
        blocks = cluster.scatter(np.split(embedding, ends[:-1]))
        shapes = [(length, self.n_components) for length in rows.chunks]
        self.embedding_ = da.concatenate(
            [
                da.from_delayed(dask.delayed(block), shape, dtype=Y.dtype)
                for block, shape in zip(blocks, shapes, strict=True)
            ]
        )

    def transform(self, X: Any) -> Any:
        """Place rows in the fitted map, which does not change.

        A row of the fit, or a row that differs from one of them only by rounding, gets the position of that row. Every
        other row is placed as :meth:`sktsne.TSNE.transform` places it, with its neighbors among the rows of the fit,
        which stay on the workers.

        Parameters
        ----------
        X : Dask array or Dask data frame of shape (n_new, n_features)
            The rows to place.

        Returns
        -------
        X_new : Dask array or Dask data frame of shape (n_new, n_components)
            The positions, which are lazy, with the blocks of ``X``. A data frame keeps its index, and its columns have
            the names that ``get_feature_names_out`` returns.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            If ``X`` is not accepted, for example because it does not have the columns of the fit.
        """
        check_is_fitted(self, "embedding_")
        self._check_columns(X, reset=False)
        frame = is_frame(X)
        dtype, blocks = dtype_of(X), blocks_of(X)
        rows = [dask.delayed(_conditioned)(block, dtype, self._conditioning) for block in blocks]
        found = [neighbors_of_block(self._search, block) for block in rows]
        place = dask.delayed(partial(_place, self._affinity_rule, dtype, self.embedding_.shape[1]))
        placed = [place(each, self._map) for each in found]
        if not frame:
            shapes = [(length, self.embedding_.shape[1]) for length in X.chunks[0]]
            return da.concatenate(
                [da.from_delayed(each, shape, dtype=dtype) for each, shape in zip(placed, shapes, strict=True)]
            )
        import dask.dataframe as dd
        import pandas as pd

        names = self.get_feature_names_out()
        meta = pd.DataFrame(np.empty((0, len(names)), dtype), index=X._meta.index, columns=names)
        frames = [dask.delayed(_as_frame)(each, block, names) for each, block in zip(placed, blocks, strict=True)]
        return dd.from_delayed(frames, meta=meta, divisions=X.divisions)

    def __getstate__(self) -> dict[str, Any]:
        """Return the parameters for a copy or a pickle; raise a TypeError where these would not work.

        Pickles of the futures of a fit would hold their names only.
        """
        if self.client is not None or hasattr(self, "embedding_"):
            raise TypeError(
                f"{type(self).__name__} cannot be saved or copied with its fit or its client, which belong to a "
                'cluster. Write the map to files, for example by embedding_.to_zarr("map.zarr").'
            )
        return dict(super().__getstate__())

    def __sklearn_clone__(self) -> ClusterEmbedding:
        """Return an estimator with the same parameters, and with the same client, which cannot be copied."""
        parameters = self.get_params(deep=False)
        client = parameters.pop("client")
        return type(self)(**{name: clone(value, safe=False) for name, value in parameters.items()}, client=client)


def _refusal(name: str, value: Any, accepted: str) -> str:
    return f"{name} == {value!r}: on a cluster {name} must be {accepted}. sktsne has more on one machine."


def _check_memory(client: Any, n: int, n_columns: int, dtype: Any, n_neighbors: int) -> None:
    """Raise a MemoryError if the workers together may use less memory than a fit of the rows takes."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    limits = [worker["memory_limit"] for worker in workers]
    needed = np.dtype(dtype).itemsize * n * n_columns + estimated_memory(n, n_columns, n_neighbors, False, 4)
    if limits and all(limits) and needed > sum(limits):
        raise MemoryError(
            f"{n} samples with {n_neighbors} neighbors each need about {needed / 1e9:.3g} GB of memory, and the "
            f"{len(limits)} workers of the cluster may use {sum(limits) / 1e9:.3g} GB together: use more workers, or "
            "affinities with fewer neighbors."
        )


def _numbers(shard: Shard) -> NDArray[np.int64]:
    """Return the numbers of the rows of a shard in the order of the user."""
    return shard.rows


def _entropy(affinities: ShardAffinities) -> float:
    """Return the part of a shard in the negative entropy."""
    return affinities.negative_entropy


def _conditioned(block: Any, dtype: Any, conditioning: Conditioning) -> NDArray[np.floating]:
    """Return the checked and conditioned rows of a block."""
    rows = checked(block, dtype)
    return np.asarray(conditioning(rows)) if len(rows) else rows


def _place(
    rule: Affinities,
    dtype: Any,
    n_components: int,
    found: tuple[NDArray[np.int32], NDArray[np.float64]],
    frozen: FrozenMap,
) -> NDArray[np.floating]:
    """Return the positions of new rows with the neighbors ``found``."""
    ids, distances = found
    positions = np.empty((len(ids), n_components), dtype=dtype)
    for first in range(0, len(ids), ROWS_AT_ONCE):
        block = slice(first, first + ROWS_AT_ONCE)
        graph = NeighborGraph(ids[block], distances[block])
        with one_blas_thread():
            places = frozen.place(rule.probabilities(graph.distances, Workers()), graph.indices)
        same = differ_by_rounding(graph, dtype)
        places[same] = frozen.points[graph.indices[same, 0]]
        positions[block] = places
    return positions


def _as_frame(positions: NDArray[np.floating], block: Any, names: Any) -> Any:
    """Return the positions of the rows of a data frame as a data frame with the same index."""
    return type(block)(positions, index=block.index, columns=names)


@_with_parameters_of(_tsne.TSNE)
class TSNE(ClusterEmbedding):
    """t-SNE of rows that lie on a cluster of Dask.

    The whole fit is distributed: no process holds all rows, all neighbors or all affinities. The map is the same, to
    the last bit, for any number of workers and threads, and for any blocks of the rows. See :doc:`/guide/cluster`.

    Parameters
    ----------
    n_components : int, default=2
        Dimension of the embedding, at most 3.
    perplexity, early_exaggeration, learning_rate, max_iter, n_iter_without_progress, min_grad_norm, verbose, \
random_state, tol, n_neighbors, dof, exaggeration, early_exaggeration_iter, momentum, max_step_norm, callback, \
callback_every
        As for :class:`sktsne.TSNE`. Callbacks run in the process of the client.
    metric : str, default="euclidean"
        "euclidean", "sqeuclidean", "cosine" or "correlation".
    init : {"pca", "random"} or array of shape (n_samples, n_components), default="pca"
        The positions at which the optimization starts.
    affinities : "perplexity" or object, default="perplexity"
        The probabilities that the map shows, but for "precomputed".
    metric_params, method, angle, n_jobs, neighbors, anchors, anchor_strength, warm_start, checkpoint
        For one machine only; these parameters must keep their defaults, and ``method`` and ``neighbors`` may be "fft"
        and "clustered", which a fit on a cluster uses. Workers use the threads that Dask gives them.
    client : distributed.Client, default=None
        The client of the cluster. ``None`` is the current client.

    Attributes
    ----------
    embedding_ : Dask array of shape (n_samples, n_components)
        The map, in the memory of the workers, with the blocks of the rows.
    kl_divergence_ : float
        The cost.
    learning_rate_ : float
        The learning rate.
    n_iter_ : int
        The number of the last iteration, counted from 0.
    timings_ : dict
        The seconds that each stage of the fit took.
    n_features_in_ : int
        The number of columns of the rows.
    feature_names_in_ : ndarray of shape (``n_features_in_``,)
        The names of the columns, if the rows are a data frame whose columns have names.

    See Also
    --------
    sktsne.TSNE : For rows in the memory of one machine.
    sktsne.large.embed_large : A fit of a sample on one machine, and all other rows placed in its map.

    Examples
    --------
    >>> import dask.array as da
    >>> from distributed import Client
    >>> from sklearn.datasets import load_digits
    >>> from sktsne.dask import TSNE
    >>> client = Client(n_workers=2, processes=False, dashboard_address=":0")
    >>> X = da.from_array(load_digits(return_X_y=True)[0], chunks=(500, 64))
    >>> model = TSNE(max_iter=100, random_state=0, client=client).fit(X)
    >>> model.embedding_.chunks[0]
    (500, 500, 500, 297)
    >>> client.close()
    """

    _single = _tsne.TSNE


@_with_parameters_of(_sne.SNE)
class SNE(ClusterEmbedding):
    """SNE of rows that lie on a cluster of Dask.

    The whole fit is distributed: no process holds all rows, all neighbors or all affinities. The map is the same, to
    the last bit, for any number of workers and threads, and for any blocks of the rows. See :doc:`/guide/cluster`.

    Parameters
    ----------
    n_components : int, default=2
        Dimension of the embedding, at most 3.
    perplexity, early_exaggeration, learning_rate, max_iter, n_iter_without_progress, min_grad_norm, verbose, \
random_state, tol, n_neighbors, dof, exaggeration, early_exaggeration_iter, momentum, max_step_norm, callback, \
callback_every
        As for :class:`sktsne.SNE`. Callbacks run in the process of the client.
    metric : str, default="euclidean"
        "euclidean", "sqeuclidean", "cosine" or "correlation".
    init : {"pca", "random"} or array of shape (n_samples, n_components), default="pca"
        The positions at which the optimization starts.
    affinities : "perplexity" or object, default="perplexity"
        The probabilities that the map shows, but for "precomputed".
    metric_params, method, angle, n_jobs, neighbors, anchors, anchor_strength, warm_start, checkpoint
        For one machine only; these parameters must keep their defaults, and ``method`` and ``neighbors`` may be "fft"
        and "clustered", which a fit on a cluster uses. Workers use the threads that Dask gives them.
    client : distributed.Client, default=None
        The client of the cluster. ``None`` is the current client.

    Attributes
    ----------
    embedding_ : Dask array of shape (n_samples, n_components)
        The map, in the memory of the workers, with the blocks of the rows.
    kl_divergence_ : float
        The cost.
    learning_rate_ : float
        The learning rate.
    n_iter_ : int
        The number of the last iteration, counted from 0.
    timings_ : dict
        The seconds that each stage of the fit took.
    n_features_in_ : int
        The number of columns of the rows.
    feature_names_in_ : ndarray of shape (``n_features_in_``,)
        The names of the columns, if the rows are a data frame whose columns have names.

    See Also
    --------
    sktsne.SNE : For rows in the memory of one machine.

    Examples
    --------
    >>> import dask.array as da
    >>> from distributed import Client
    >>> from sklearn.datasets import load_digits
    >>> from sktsne.dask import SNE
    >>> client = Client(n_workers=2, processes=False, dashboard_address=":0")
    >>> X = da.from_array(load_digits(return_X_y=True)[0], chunks=(500, 64))
    >>> model = SNE(max_iter=100, random_state=0, client=client).fit(X)
    >>> model.embedding_.shape
    (1797, 2)
    >>> client.close()
    """

    _single = _sne.SNE
