"""
An animation of a fit
=====================

This example shows how a map changes during a fit. A :class:`~sktsne.plotting.FrameRecorder`, passed as ``callback``,
records the map at every tenth iteration. During early exaggeration, the points of each group gather. Afterwards the
groups grow and move apart. Every frame is scaled to fill the picture, because the map is more than ten thousand times
smaller in the first frame than in the last one.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

from sktsne import TSNE
from sktsne.plotting import FrameRecorder

X, digit = load_digits(return_X_y=True)
recorder = FrameRecorder()
model = TSNE(callback=recorder, callback_every=10, random_state=0).fit(X)

figure, ax = plt.subplots(figsize=(6, 4.5), dpi=75, layout="constrained")
film = recorder.animation(digit, interval=150, ax=ax)
# film.save("fit.gif", writer="pillow") writes the animation to a file.

# %%
# The recorder also keeps the cost, which is always the cost without exaggeration. Between the iterations 50 and
# 100, the exaggeration is reduced step by step, and the cost falls to half of its value.
figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
ax.plot(recorder.iterations, recorder.costs, "o-")
ax.axvspan(0, 100, color="lightgray", label="early exaggeration")
ax.set(xlabel="iteration", ylabel="cost")
ax.legend(frameon=False)
