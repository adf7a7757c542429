"""
A fit as a film
===============

A recorder, passed as ``callback``, keeps the map at every tenth iteration. Early exaggeration gathers the points of
each group at first; then the groups grow, and come apart. Every frame is scaled to fill the picture, as the map of
the first frame is some thousand times smaller than that of the last.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

from sktsne import TSNE
from sktsne.plotting import FrameRecorder

X, digit = load_digits(return_X_y=True)
recorder = FrameRecorder()
model = TSNE(callback=recorder, callback_every=10, random_state=0).fit(X)

figure, ax = plt.subplots(figsize=(6, 4.6), dpi=75, layout="constrained")
film = recorder.animation(digit, interval=150, ax=ax)
# film.save("fit.gif", writer="pillow") writes it to a file

# %%
# The cost rises where the exaggeration is taken back, and falls afterwards: it is that of the true affinities
# throughout.
figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
ax.plot(recorder.iterations, recorder.costs, "o-")
ax.axvspan(0, 100, color="lightgray", label="early exaggeration")
ax.set(xlabel="iteration", ylabel="cost")
ax.legend(frameon=False)
