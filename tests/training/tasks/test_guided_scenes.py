"""Scenes that are drawn to learn from: sizes that fit, truths that degrade to what is observed, spectra and pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dualsr_geo.degradation.operators import operator
from dualsr_geo.training.tasks import guided_scenes
from dualsr_geo.training.tasks.guided_scenes import GuidedScenes


def references(bands: int = 12, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"a": rng.uniform(0.1, 1, (bands, 110, 97)).astype(np.float32)}


def scenes(count: int, of: GuidedScenes, *, unusual: bool = False):
    drawn = (of.draw(np.random.default_rng(seed), unusual=unusual) for seed in range(count))
    return [scene for scene in drawn if scene is not None]


@pytest.mark.parametrize("unusual", [False, True])
def test_sizes_fit_and_values_are_finite(unusual):
    drawn = scenes(40, GuidedScenes(references()), unusual=unusual)
    assert len(drawn) > 20
    assert len({s.psf.ratio for s in drawn}) >= 3
    for scene in drawn:
        ratio, (bands, height, width) = scene.psf.ratio, scene.lr.shape
        assert scene.reference.shape == (bands, ratio * height, ratio * width)
        assert scene.guide.shape[1:] == scene.reference.shape[1:]
        assert scene.known_psf in (None, scene.psf)
        for values in (scene.reference, scene.lr, scene.guide):
            assert values.dtype == np.float32
            assert np.isfinite(values).all()


def test_without_noise_the_reference_degrades_to_the_scene(monkeypatch):
    monkeypatch.setattr(guided_scenes, "NOISY_SHARE", 0.0)
    for scene in scenes(12, GuidedScenes(references())):
        shape = scene.lr.shape[1], scene.lr.shape[2]
        lr = operator(scene.psf, shape).degrade(torch.from_numpy(scene.reference)).numpy()
        np.testing.assert_allclose(scene.lr, lr, atol=1e-6)


def test_a_clean_guide_is_a_mixture_of_the_bands():
    for scene in scenes(12, GuidedScenes(references(4), clean_guides=True)):
        bands, pixels = scene.reference.reshape(len(scene.reference), -1), scene.guide.reshape(len(scene.guide), -1)
        _, residual, _, _ = np.linalg.lstsq(bands.T, pixels.T, rcond=None)
        if len(bands) == 4:
            assert float(np.sum(residual)) < 1e-6 * float((pixels**2).sum())


def test_simulated_scenes_have_spectra_of_the_references():
    texture = {"t": np.random.default_rng(1).uniform(0.1, 1, (3, 120, 130)).astype(np.float32)}
    flat = {"a": np.ones((8, 100, 100), np.float32) * np.linspace(0.2, 1, 8, dtype=np.float32)[:, None, None]}
    flat["a"][:, ::2] *= 1.7
    drawn = scenes(30, GuidedScenes(flat, textures=texture, simulated_share=1.0))
    assert drawn
    for scene in drawn:
        # All spectra of the reference have one shape, so those of the scene do; bands may be thinned, reversed, averaged.
        unit = scene.reference / np.linalg.norm(scene.reference, axis=0)
        assert float(np.ptp(unit.reshape(len(unit), -1), axis=1).max()) < 1e-3


def test_pairs_come_with_their_own_guide(monkeypatch):
    monkeypatch.setattr(guided_scenes, "OWN_GUIDE_SHARE", 1.0)
    cube, guide = references(3)["a"], np.random.default_rng(2).uniform(0, 1, (5, 110, 97)).astype(np.float32)
    for scene in scenes(10, GuidedScenes(references(), pairs={"p": (cube, guide)}, clean_guides=True)):
        assert len(scene.reference) == 3
        assert len(scene.guide) == 5
