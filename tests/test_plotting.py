"""Displays: what is drawn where, in which colors, and how many points it takes."""

import re

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from registries import APPROXIMATE, KERNELS
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktsne import SNE, TSNE, EmbeddingDisplay, plotting
from sktsne.metrics import point_costs, rnx_auc, rnx_curve
from sktsne.plotting import FrameRecorder, RNXDisplay, plot_perplexities

matplotlib = pytest.importorskip("matplotlib")
plt = pytest.importorskip("matplotlib.pyplot")
FAST = {"perplexity": 5.0, "max_iter": 60, "random_state": 0}
X = np.random.default_rng(0).normal(size=(60, 4)) + 8.0 * (np.arange(60) < 30)[:, None]


@pytest.fixture(autouse=True)
def figures():
    plt.switch_backend("Agg")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def million():
    rng = np.random.default_rng(0)
    classes = rng.integers(10, size=1_000_000)
    return rng.normal(scale=10.0, size=(10, 2))[classes] + rng.normal(size=(1_000_000, 2)), classes


def rgb(color):
    return matplotlib.colors.to_rgb(color)


# Displays


@pytest.mark.parametrize("n_classes", [1, 2, 8, 9, 10, 11, 20])
def test_points_lie_at_the_embedding_in_the_colors_of_their_classes(rng, n_classes):
    Y, y = rng.normal(size=(100, 2)), np.arange(100) % n_classes
    display = EmbeddingDisplay.from_embedding(Y, y, label_name="kind")
    assert_array_equal(display.points_.get_offsets(), Y)
    colors = display.points_.get_facecolors()
    assert len(np.unique(colors, axis=0)) == n_classes
    marks = display.legend_.get_lines()
    assert_allclose(colors[:n_classes, :3], [rgb(mark.get_color()) for mark in marks])
    assert_array_equal(colors, colors[y])
    assert [text.get_text() for text in display.legend_.get_texts()] == [str(k) for k in range(n_classes)]
    assert display.legend_.get_title().get_text() == "kind"
    assert display.colorbar_ is None


@pytest.mark.parametrize("own_axes", [False, True])
def test_the_legend_covers_nothing_of_the_map(rng, own_axes):
    ax = plt.figure(layout="constrained").add_subplot(2, 2, 1) if own_axes else None
    display = EmbeddingDisplay.from_embedding(rng.normal(size=(100, 2)), np.arange(100) % 12, ax=ax)
    display.figure_.canvas.draw()
    legend, box = display.legend_.get_window_extent(), display.ax_.get_window_extent()
    assert legend.x0 >= box.x1
    assert own_axes or legend.x1 <= display.figure_.bbox.x1
    assert display.ax_ is ax or not own_axes


def test_axes_have_one_scale_and_no_ticks(rng):
    ax = EmbeddingDisplay.from_embedding(rng.normal(size=(100, 2)) * [1.0, 5.0]).ax_
    ax.figure.canvas.draw()
    assert ax.get_aspect() == 1.0
    assert len(ax.get_xticks()) == len(ax.get_yticks()) == 0


def test_numbers_are_a_scale_and_nan_is_gray(rng):
    values = rng.normal(size=100)
    values[3] = np.nan
    display = EmbeddingDisplay.from_embedding(rng.normal(size=(100, 2)), values, label_name="a $ value")
    assert display.legend_ is None
    assert display.colorbar_.ax.get_ylabel() == "a $ value"
    display.figure_.canvas.draw()
    assert_allclose(display.points_.get_facecolors()[3, :3], rgb("0.8"))
    assert_allclose(display.points_.get_clim(), [np.nanmin(values), np.nanmax(values)])


def test_none_among_names_is_a_class(rng):
    display = EmbeddingDisplay.from_embedding(rng.normal(size=(6, 2)), ["a", None] * 3)
    assert [text.get_text() for text in display.legend_.get_texts()] == ["None", "a"]


def test_too_many_classes_are_not_colored(rng):
    with pytest.warns(UserWarning, match="21 classes are too many to color; the plot can show 20"):
        display = EmbeddingDisplay.from_embedding(rng.normal(size=(42, 2)), [f"c{i % 21}" for i in range(42)])
    assert display.legend_ is display.colorbar_ is None
    assert len(display.points_.get_facecolors()) == 1


def test_marks_are_fewer_pixels_the_more_points_there_are(rng):
    sizes, opacities = [], []
    for n in (50, 1000, 20_000, 200_000):
        points = EmbeddingDisplay.from_embedding(rng.normal(size=(n, 2))).points_
        sizes.append(points.get_sizes()[0])
        opacities.append(points.get_alpha())
    assert sizes == sorted(sizes, reverse=True)
    assert opacities == sorted(opacities, reverse=True)
    assert opacities[0] == 1.0
    assert min(opacities) >= 0.3


def test_arguments_of_matplotlib_win(rng):
    Y, values = rng.normal(size=(100, 2)), np.arange(100.0)
    points = EmbeddingDisplay.from_embedding(Y, values, s=7.0, alpha=0.5, cmap="magma", vmax=50.0, legend=False).points_
    assert points.get_sizes() == [7.0]
    assert points.get_alpha() == 0.5
    assert points.get_cmap().name == "magma"
    assert points.get_clim()[1] == 50.0
    image = EmbeddingDisplay.from_embedding(Y, density=True, cmap="magma", vmax=3).points_
    assert image.get_clim() == (1, 3)
    assert image.get_cmap().name == "magma"


def test_one_component_is_a_strip_and_three_a_space(rng):
    strip = EmbeddingDisplay.from_embedding(rng.normal(size=(100, 1)), np.arange(100) % 3)
    assert_array_equal(strip.points_.get_offsets()[:, 0], np.ravel(strip.embedding))
    Y = rng.normal(size=(100, 3))
    space = EmbeddingDisplay.from_embedding(Y, np.arange(100) % 3)
    assert_array_equal(np.transpose(space.points_._offsets3d), Y)
    assert space.ax_.name == "3d"
    with pytest.warns(UserWarning, match="of 5 components, the plot shows the first two"):
        first = EmbeddingDisplay.from_embedding(rng.normal(size=(100, 5)))
    assert_array_equal(first.points_.get_offsets(), first.embedding[:, :2])


# Density


@pytest.mark.parametrize("colors", ["none", "classes", "values"])
def test_a_million_points_are_a_density(million, colors):
    Y, classes = million
    y = {"none": None, "classes": classes, "values": Y[:, 0]}[colors]
    display = EmbeddingDisplay.from_embedding(Y, y, label_name="label")
    display.figure_.canvas.draw()
    assert isinstance(display.points_, matplotlib.image.AxesImage)  # no marks, whose number would be that of the points
    image = display.points_.get_array()
    assert max(image.shape[:2]) == pytest.approx(500, abs=20)
    left, right, bottom, top = display.points_.get_extent()
    assert left < Y[:, 0].min() < Y[:, 0].max() < right
    assert bottom < Y[:, 1].min() < Y[:, 1].max() < top
    assert (right - left) / image.shape[1] == pytest.approx((top - bottom) / image.shape[0])
    if colors == "none":
        assert image.sum() == len(Y)
        assert isinstance(display.points_.norm, matplotlib.colors.LogNorm)
        assert display.colorbar_.ax.get_ylabel() == "points per pixel"
    elif colors == "classes":
        assert len(display.legend_.get_texts()) == 10
    else:
        assert display.colorbar_.ax.get_ylabel() == "label"
        centers = left + (np.arange(image.shape[1]) + 0.5) * (right - left) / image.shape[1]
        assert np.abs(image - centers).max() < (right - left) / image.shape[1]


def test_a_pixel_has_the_color_of_the_majority():
    Y = np.repeat([[0.0, 0.0], [1.0, 0.5]], [5, 3], axis=0)
    display = EmbeddingDisplay.from_embedding(Y, ["b", "b", "b", "a", "a", "b", "a", "a"], density=True)
    image = display.points_.get_array()
    rows, columns = np.nonzero(image[..., 3])
    assert_array_equal(np.argsort(columns), np.argsort(rows))
    palette = plotting.labels.PALETTES[0]
    assert_allclose(image[rows, columns, :3], [rgb(palette[1]), rgb(palette[0])])
    assert image[rows[0], columns[0], 3] == 1.0 > image[rows[1], columns[1], 3]


def test_density_of_a_strip_and_of_points_that_coincide(rng):
    strip = EmbeddingDisplay.from_embedding(rng.normal(size=(1000, 1)), density=True)
    assert strip.points_.get_array().shape[0] == 1
    assert strip.points_.get_array().sum() == 1000
    assert EmbeddingDisplay.from_embedding(np.zeros((10, 2)), density=True).points_.get_array().max() == 10


def test_a_space_of_many_points_shows_a_sample(rng, monkeypatch):
    monkeypatch.setattr(plotting.embedding, "MAX_MARKS", 50)
    Y, y = rng.normal(size=(100, 3)), np.arange(100) % 2
    with pytest.warns(UserWarning, match="of 100 points, the plot shows a random sample of 50"):
        display = EmbeddingDisplay.from_embedding(Y, y)
    shown = np.transpose(display.points_._offsets3d)
    assert len(shown) == 50
    assert (shown[:, None] == Y).all(axis=2).any(axis=1).all()
    assert len(EmbeddingDisplay.from_embedding(Y, y, density=False).points_._offsets3d[0]) == 100


# Estimators


def test_from_estimator():
    model = TSNE(**FAST).fit(X)
    assert_allclose(EmbeddingDisplay.from_estimator(model).points_.get_offsets(), model.embedding_)
    placed = EmbeddingDisplay.from_estimator(model, X[::3], np.arange(20) % 2)
    assert_allclose(placed.points_.get_offsets(), model.embedding_[::3])
    pipeline = make_pipeline(StandardScaler(), TSNE(**FAST)).fit(X)
    for rows in (None, X):
        points = EmbeddingDisplay.from_estimator(pipeline, rows).points_
        assert_allclose(points.get_offsets(), pipeline[-1].embedding_)


def test_labels_bring_their_name():
    pandas = pytest.importorskip("pandas")
    y = pandas.Series(["x", "y"] * 30, name="kind")
    assert EmbeddingDisplay.from_embedding(X[:, :2], y).legend_.get_title().get_text() == "kind"


def test_errors():
    with pytest.raises(NotFittedError):
        EmbeddingDisplay.from_estimator(TSNE())
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        EmbeddingDisplay.from_embedding(X[:, :2], [1, 2])
    with pytest.raises(ValueError, match="density == 'x', must be"):
        EmbeddingDisplay.from_embedding(X[:, :2], density="x")
    with pytest.raises(ValueError, match="must be False or 'auto' for a map with 3 components"):
        EmbeddingDisplay.from_embedding(X[:, :3], density=True)
    with pytest.raises(ValueError, match=re.escape("projection 'rectilinear', must have '3d'")):
        EmbeddingDisplay.from_embedding(X[:, :3], ax=plt.figure().add_subplot())


@pytest.mark.parametrize("pipeline", [False, True])
def test_panel_of_perplexities(pipeline):
    model = TSNE(**FAST)
    estimator = make_pipeline(StandardScaler(), model) if pipeline else model
    displays = plot_perplexities(estimator, X, [2, 5, 10.5, 15], np.arange(60) < 30, label_name="first")
    assert [display.ax_.get_title() for display in displays] == [f"perplexity {p}" for p in ("2", "5", "10.5", "15")]
    assert len({display.figure_ for display in displays}) == 1
    assert [display.legend_ is not None for display in displays] == [False, False, True, False]
    expected = clone(estimator).fit_transform(X)
    assert_allclose(displays[1].points_.get_offsets(), expected)
    assert not hasattr(model, "embedding_")
    with pytest.raises(ValueError, match="must have the parameter perplexity"):
        plot_perplexities(StandardScaler(), X, [5])


def test_rnx_display():
    models = TSNE(**FAST).fit(X), SNE(**FAST).fit(X)
    first = RNXDisplay.from_estimator(models[0], X)
    second = RNXDisplay.from_embedding(X, models[1].embedding_, name="of SNE", ax=first.ax_, color="k")
    assert first.ax_ is second.ax_
    assert first.ax_.get_xscale() == "log"
    assert_allclose(second.line_.get_ydata(), rnx_curve(X, models[1].embedding_))
    labels = [text.get_text() for text in first.ax_.get_legend().get_texts()]
    areas = [rnx_auc(X, model.embedding_) for model in models]
    assert labels == [f"{name} (area {area:.2f})" for name, area in zip(("TSNE", "of SNE"), areas, strict=True)]


# Costs of the points


def naive_costs(P, Y, dof, joint):
    """Return the parts of the cost by a double loop."""

    def weight(i, j):
        r2 = ((Y[i] - Y[j]) ** 2).sum()
        return np.exp(-r2) if np.isinf(dof) else (1.0 + r2 / dof) ** -dof

    n = len(Y)
    W = np.array([[weight(i, j) if i != j else 0.0 for j in range(n)] for i in range(n)])
    Q = W / (W.sum() if joint else W.sum(axis=1, keepdims=True))
    return [sum(P[i, j] * np.log(P[i, j] / Q[i, j]) for j in range(n) if P[i, j] > 0.0) for i in range(n)]


@pytest.mark.parametrize("method", KERNELS)
@pytest.mark.parametrize(("estimator", "dof"), [(TSNE, 1.0), (SNE, np.inf), (TSNE, 0.5), (SNE, 3.0)])
def test_point_costs_are_those_of_a_double_loop(estimator, dof, method):
    model = estimator(method=method, dof=dof, **FAST).fit(X)
    affinities = model.affinities_
    before = affinities.copy()
    costs = point_costs(model)
    P = before if isinstance(before, np.ndarray) else before.toarray()
    expected = naive_costs(P, model.embedding_, dof, estimator is TSNE)
    error = 0.02 if method in APPROXIMATE else 1e-10  # of the logarithm of Z
    assert_allclose(costs, expected, rtol=1e-9, atol=error * P.sum(axis=1).max())
    assert costs.sum() == pytest.approx(model.kl_divergence_, rel=1e-3 if method in APPROXIMATE else 1e-9)
    assert_array_equal(P, affinities if isinstance(affinities, np.ndarray) else affinities.toarray())


def test_point_costs_of_a_pipeline():
    pipeline = make_pipeline(StandardScaler(), TSNE(**FAST)).fit(X)
    assert_array_equal(point_costs(pipeline), point_costs(pipeline[-1]))
    with pytest.raises(NotFittedError):
        point_costs(TSNE())


# Frames


@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_frames_of_a_fit(n_components, tmp_path, caplog):
    recorder = FrameRecorder()
    model = TSNE(n_components, callback=recorder, callback_every=20, **FAST)
    for _ in range(2):  # the second fit begins anew
        model.fit(X)
    assert recorder.iterations == [20, 40, 60]
    assert len(recorder.costs) == len(recorder.maps) == 3
    assert_allclose(recorder.maps[-1], model.embedding_, rtol=1e-5, atol=1e-5 * np.abs(model.embedding_).max())
    path = tmp_path / "fit.gif"
    recorder.animation(np.arange(60) < 30).save(path, writer="pillow", dpi=40)
    with pytest.importorskip("PIL.Image").open(path) as image:
        assert image.n_frames == 3
    assert caplog.text == ""


def test_frames_of_a_fit_that_goes_on():
    recorder = FrameRecorder()
    model = TSNE(callback=recorder, callback_every=20, warm_start=True, **FAST).fit(X)
    assert model.set_params(max_iter=90).fit(X).n_iter_ == 90
    assert recorder.iterations == [20, 40, 60, 80, 90]
    assert_allclose(recorder.maps[-1], model.embedding_, rtol=1e-5, atol=1e-5 * np.abs(model.embedding_).max())
    model.set_params(warm_start=False, callback_every=100).fit(X)
    assert recorder.iterations == [90]


def test_frames_are_turned_to_the_last_one_and_scaled(rng):
    Y = rng.normal(size=(50, 2))
    recorder = FrameRecorder()
    for iteration, turned in enumerate((1e-3 * Y[:, ::-1] + 7.0, Y * [1.0, -1.0], Y)):
        recorder(iteration, 0.0, turned)
    frames = plotting.frames._aligned(recorder.maps)
    assert_allclose(frames[0], frames[2], atol=1e-3)
    assert_allclose(frames[1], frames[2], atol=1e-6)
    assert np.abs(frames[2]).max() == pytest.approx(1.0)


def test_no_frames():
    with pytest.raises(ValueError, match="There are no frames"):
        FrameRecorder().animation()
