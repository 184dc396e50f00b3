"""Made-up scenes with edges of every size, and their reductions by the usual kernels."""

import numpy as np
from blurs import BLURS, reduced
from dead_leaves import dead_leaves

RATIO = 4
# Seeds that the estimate of the scene's blur was not trained on.
SEEDS = (101, 102)
SEVEN = ("imresize", "lanczos", "box", "g0.15", "g0.3", "g0.45", "g0.6")


def made_up(seed, side=384):
    """Return a scene (band, Y, X)."""
    return dead_leaves(seed, side)


def reduced_by(cube, blur, ratio=RATIO, noise=0.0):
    """Return a scene reduced by a blur of `BLURS`, with noise of this standard deviation."""
    kernel = BLURS[blur](ratio)
    lr = reduced(cube, kernel, kernel)
    return (lr + noise * np.random.default_rng(0).normal(size=lr.shape)).astype(np.float32)
