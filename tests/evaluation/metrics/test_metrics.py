"""The package exports all scores, and does not load torch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from dualsr_geo.evaluation import metrics
from dualsr_geo.evaluation.metrics import no_reference, scores


def test_every_score_is_exported_from_its_module():
    for name in metrics.__all__:
        homes = [getattr(m, name) for m in (scores, no_reference) if hasattr(m, name)]
        assert callable(getattr(metrics, name))
        assert all(home is getattr(metrics, name) for home in homes), name


def test_a_product_is_scored_without_a_reference():
    """HQNR is 1 of a product that contains exact copies of scene and guide."""
    random = np.random.default_rng(0)
    scene, guide = random.random((3, 40, 40)), random.random((1, 80, 80))
    product = np.concatenate([np.kron(scene, np.ones((1, 2, 2))), guide])
    spectral = metrics.d_lambda_khan(scene, scene)
    spatial = metrics.d_s(product, guide)
    assert abs(metrics.hqnr(spectral, spatial) - 1) < 1e-9


def test_no_torch_is_loaded():
    code = "import sys, dualsr_geo.evaluation.metrics; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
