"""The published networks, stated once more: slowly, plainly, from checkpoints in the authors' layout.

`state_*` make seeded weights under the authors' names; `coarsenet`, `coarsr` and `finenet` compute from
them what docs/networks.md describes, with loops over bands and blocks.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # as torch's own documentation has it

PARITY = Path(__file__).resolve().parents[3] / "shared/parity"
WORDS = ("one", "two", "three")


def parity(name: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return a recorded checkpoint's state and its arrays."""
    state = torch.load(PARITY / f"{name}.pth", weights_only=True)["model"]
    with np.load(PARITY / f"{name}.npz") as file:
        return state, {k: torch.from_numpy(v) for k, v in file.items()}


class State(dict):
    def __init__(self, seed: int) -> None:
        super().__init__()
        self.random = torch.Generator().manual_seed(seed)

    def uniform(self, *shape: int, low: float = -1.0, high: float = 1.0) -> Tensor:
        return torch.rand(shape, generator=self.random) * (high - low) + low

    def conv(self, name: str, outputs: int, inputs: int, *kernel: int, normed: bool = True) -> None:
        bound = (inputs * np.prod(kernel)) ** -0.5
        weight = self.uniform(outputs, inputs, *kernel, low=-bound, high=bound)
        self[f"module.{name}.bias"] = self.uniform(outputs, low=-bound, high=bound)
        if not normed:
            self[f"module.{name}.weight"] = weight
            return
        ones = (1,) * (len(kernel) + 1)
        self[f"module.{name}.weight_v"] = weight
        length = weight.flatten(1).norm(dim=1).reshape(-1, *ones)
        self[f"module.{name}.weight_g"] = length * self.uniform(outputs, *ones, low=0.8, high=1.2)

    def scalars(self, name: str, *shape: int) -> None:
        self[f"module.{name}"] = self.uniform(*shape, low=0.7, high=1.3)

    def norm(self, name: str, width: int) -> None:
        self.scalars(f"{name}.weight", width)
        self.scalars(f"{name}.running_var", width)
        self[f"module.{name}.bias"] = self.uniform(width, low=-0.1, high=0.1)
        self[f"module.{name}.running_mean"] = self.uniform(width, low=-0.1, high=0.1)
        self[f"module.{name}.num_batches_tracked"] = torch.tensor(7)


class Weights:
    """A state's layers by name, nothing folded."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = {k.removeprefix("module."): v for k, v in state.items()}

    def __call__(self, name: str) -> Tensor:
        return self.state[name]

    def weight(self, name: str) -> Tensor:
        if f"{name}.weight" in self.state:
            return self.state[f"{name}.weight"]
        v = self.state[f"{name}.weight_v"]
        return torch._weight_norm(v, self.state[f"{name}.weight_g"], 0)

    def conv(self, name: str, x: Tensor) -> Tensor:
        w = self.weight(name)
        run = F.conv3d if w.dim() == 5 else F.conv2d
        return run(x, w, self.state[f"{name}.bias"], padding=tuple(k // 2 for k in w.shape[2:]))

    def norm(self, name: str, x: Tensor) -> Tensor:
        if f"{name}.running_mean" not in self.state:
            return x
        named = (self.state[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *named)


# ---- SFPN's coarse stage ------------------------------------------------------------------


def state_coarsenet(width: int, guide_bands: int = 3, seed: int = 0) -> State:
    s = State(seed)
    for name in ("gamma_speContext", "gamma_hsi", "gamma_rgb", "gamma_feaContext", "bottleneck.gamma"):
        s.scalars(name, 2)
    for name, inputs in {"hsi_head": 3, "rgb_head": guide_bands, "spe_head": 1}.items():
        s.conv(name, width, inputs, 3, 3, normed=False)
    for k in range(2):
        body = f"inter_body.{k}"
        for unit in ("unit_hsi_1", "unit_rgb_1", "unit_hsi_2", "unit_rgb_2"):
            s.conv(f"{body}.{unit}.m.0", width, width, 3, 3)
            s.conv(f"{body}.{unit}.m.2", width, width, 3, 3)
        s.conv(f"{body}.fusion.unit_hsi", width, width, 3, 3)
        s.conv(f"{body}.fusion.unit_rgb", width, width, 3, 3)
        s.conv(f"{body}.fusion.reduce", width, 2 * width, 1, 1)
        s.conv(f"{body}.fusion.aggregate.speFusion", width, 4 * width, 3, 3)
        s.scalars(f"{body}.fusion.aggregate.gamma", 3)
    for name in ("speFusion", "bottleneck.hsi_fusion", "bottleneck.rgb_fusion", "feaFusion"):
        s.conv(name, width, 2 * width, 1, 1)
    s.conv("bottleneck.fusion", width, 2 * width, 3, 3)
    s.conv("hsi_rgb_end.0", 1, width, 3, 3)
    return s


def bordered(x: Tensor, size: int) -> tuple[Tensor, int, int]:
    """Return x (tile, feature, y, x) with zeros around to whole blocks, the smaller half first."""
    top, left = -x.shape[2] % size // 2, -x.shape[3] % size // 2
    bottom, right = -x.shape[2] % size - top, -x.shape[3] % size - left
    return F.pad(x, (left, right, top, bottom)), top, left


def similar(guide: Tensor, size: int, *, published: bool) -> list[list[list[tuple[int, int, float]]]]:
    """Return for each tile and block (row-major) the three best neighbours: row, column, cosine."""
    wide, _, _ = bordered(guide, size)
    rows, columns = wide.shape[2] // size, wide.shape[3] // size
    result = []
    for tile in wide:
        cut = {
            (r, c): tile[:, r * size : (r + 1) * size, c * size : (c + 1) * size].flatten()
            for r in range(rows)
            for c in range(columns)
        }
        result.append([_best(cut, r, c, published=published) for r in range(rows) for c in range(columns)])
    return result


def _best(cut: dict[tuple[int, int], Tensor], r: int, c: int, *, published: bool) -> list[tuple[int, int, float]]:
    places = [(r + dy, c + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy or dx) and (r + dy, c + dx) in cut]
    cosines = [F.cosine_similarity(cut[r, c], cut[p], dim=0) for p in places]
    if published and len(places) == 8:
        cosines[6] = cosines[5]
    values, order = torch.topk(torch.stack(cosines), 3)
    return [(*places[k], float(v)) for v, k in zip(values, order.tolist(), strict=True)]


def lent(features: Tensor, best: list[list[list[tuple[int, int, float]]]], size: int) -> Tensor:
    """Return features and those of the best neighbours, block by block (tile, 4 feature, y, x)."""
    wide, top, left = bordered(features, size)
    columns = wide.shape[3] // size
    result = torch.zeros(wide.shape[0], 4 * wide.shape[1], *wide.shape[2:])
    for n, blocks in enumerate(best):
        for k, three in enumerate(blocks):
            own = (*divmod(k, columns), 1.0)
            parts = [v * wide[n, :, r * size : (r + 1) * size, c * size : (c + 1) * size] for r, c, v in (own, *three)]
            y, x = own[0] * size, own[1] * size
            result[n, :, y : y + size, x : x + size] = torch.cat(parts)
    return result[:, :, top : top + features.shape[2], left : left + features.shape[3]]


def coarsenet(state: dict[str, Tensor], lr: Tensor, rgb: Tensor, ratio: int, *, published: bool = False) -> Tensor:
    w = Weights(state)
    best = similar(rgb, 3 * ratio, published=published)
    n = lr.shape[1]
    result: list[Tensor] = []
    context = None
    for i in range(n):
        pair = (1, 2) if i == 0 else (n - 2, n - 3) if i == n - 1 else (i - 1, i + 1)
        three = lr[:, [pair[0], i, pair[1]]]
        hsi = w.conv("hsi_head", three.repeat_interleave(ratio, 2).repeat_interleave(ratio, 3))
        guide = skip_guide = w.conv("rgb_head", rgb)
        skip = hsi
        if i > 0:
            hsi = _scaled(w, "speFusion", "gamma_speContext", hsi, w.conv("spe_head", result[-1]))
        streams = []
        for k in range(2):
            hsi, guide = _unit(w, f"inter_body.{k}", hsi, guide, best, 3 * ratio)
            streams.append((hsi, guide))
        hsi = _scaled(w, "bottleneck.hsi_fusion", "gamma_hsi", *(s[0] for s in streams)) + skip
        guide = _scaled(w, "bottleneck.rgb_fusion", "gamma_rgb", *(s[1] for s in streams)) + skip_guide
        out = _scaled(w, "bottleneck.fusion", "bottleneck.gamma", hsi, guide)
        if i > 0:
            out = _scaled(w, "feaFusion", "gamma_feaContext", out, context)
        context = out
        result.append(w.conv("hsi_rgb_end.0", out + skip_guide).clamp(0, 1))
    return torch.cat(result, 1)


def _scaled(w: Weights, name: str, scalars: str, *parts: Tensor) -> Tensor:
    return w.conv(name, torch.cat([p * s for p, s in zip(parts, w(scalars), strict=True)], 1))


def _unit(w: Weights, name: str, hsi: Tensor, guide: Tensor, best: list, size: int) -> tuple[Tensor, Tensor]:
    def block(unit: str, x: Tensor) -> Tensor:
        return x + w.conv(f"{name}.{unit}.m.2", torch.relu(w.conv(f"{name}.{unit}.m.0", x)))

    a, b = block("unit_hsi_1", hsi), block("unit_rgb_1", guide)
    (a1, a2), (b1, b2) = a.chunk(2, 1), b.chunk(2, 1)
    first = w.conv(f"{name}.fusion.unit_hsi", torch.cat([a1, b1], 1))
    second = w.conv(f"{name}.fusion.unit_rgb", torch.cat([a2, b2], 1))
    shared = w.conv(f"{name}.fusion.reduce", torch.cat([first, second], 1))
    added = w.conv(f"{name}.fusion.aggregate.speFusion", lent(shared, best, size))
    return block("unit_hsi_2", a + added) + hsi, block("unit_rgb_2", b + added) + guide


# ---- DualSR's coarse stage ----------------------------------------------------------------

STEPS = {2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}


def state_coarsr(ratio: int, width: int, *, batch_norm: bool, seed: int = 0) -> State:
    s = State(seed)
    s.scalars("gamma_rnn", 2)
    for word, inputs in zip(WORDS, (1, 3, 3), strict=True):
        s.conv(f"head_group_{word}", width, inputs, 3, 3)
    for k in WORDS[:2]:
        intra, inter = f"GFM_intra_{k}", f"GFM_inter_{k}.threeunit"
        s.scalars(f"{intra}.gamma", 3, 3)
        s.scalars(f"{intra}.gamma_inter", 3)
        for side in ("left", "right"):
            for word in WORDS:
                for unit in range(2):
                    body = f"{intra}.{side}_{word}_body.body.0.{unit}.body"
                    s.conv(f"{body}.0", width, width, 3, 3)
                    s.conv(f"{body}.{3 if batch_norm else 2}", width, width, 3, 3)
                    if batch_norm:
                        s.norm(f"{body}.1", width)
                        s.norm(f"{body}.4", width)
        for word in WORDS:
            s.conv(f"{intra}.fusion_{word}.0", width, 3 * width, 1, 1)
        s.conv(f"{inter}.spatial", width, width, 1, 3, 3)
        s.conv(f"{inter}.spectral", width, width, 3, 1, 1)
        s.conv(f"{inter}.spatial_one", width, width, 1, 3, 3)
    for k, step in enumerate(STEPS[ratio]):
        s.conv(f"tail.0.{2 * k}", step**2 * width, width, 3, 3)
    s.conv("tail.1", 1, width, 3, 3)
    s.conv("rnn_reduceD.0", width, 2 * width, 1, 1)
    s.conv("conv.0", width, width, 3, 3)
    s.conv("last_reduceD.0", width, 3 * width, 1, 1)
    return s


def pairs(i: int, n: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the left and the right pair of a band, as shared/parity/README.md lists them."""
    listed = {
        0: ((3, 1), (2, 4)),
        1: ((3, 0), (2, 4)),
        n - 2: ((n - 5, n - 3), (n - 1, n - 4)),
        n - 1: ((n - 4, n - 2), (n - 3, n - 5)),
    }
    return listed.get(i, ((i - 2, i - 1), (i + 1, i + 2)))


def coarsr(state: dict[str, Tensor], lr: Tensor, ratio: int, *, published: bool = False) -> Tensor:
    w = Weights(state)
    smooth = F.interpolate(lr, scale_factor=ratio, mode="bicubic", align_corners=False)
    result, context = [], None
    for i in range(lr.shape[1]):
        left, right = pairs(0 if published else i, lr.shape[1])
        heads = [
            w.conv(f"head_group_{word}", lr[:, list(k)])
            for word, k in zip(WORDS, ((i,), (left[1], i, right[0]), (left[0], i, right[1])), strict=True)
        ]
        groups = heads
        for word in WORDS[:2]:
            groups = [g + h for g, h in zip(_fused(w, word, groups), heads, strict=True)]
        out = w.conv("conv.0", w.conv("last_reduceD.0", torch.cat(groups, 1))) + heads[0]
        if context is not None:
            out = _scaled(w, "rnn_reduceD.0", "gamma_rnn", out, context)
        context = out
        out = out + heads[0]
        for k, step in enumerate(STEPS[ratio]):
            out = F.pixel_shuffle(w.conv(f"tail.0.{2 * k}", out), step)
        result.append(w.conv("tail.1", out) + smooth[:, i : i + 1])
    return torch.cat(result, 1)


def _fused(w: Weights, word: str, groups: list[Tensor]) -> list[Tensor]:
    intra, inter = f"GFM_intra_{word}", f"GFM_inter_{word}.threeunit"
    branches = [_branch(w, f"{intra}.left_{k}_body.body.0", g) for k, g in zip(WORDS, groups, strict=True)]
    result = []
    for row, k, g in zip(w(f"{intra}.gamma"), WORDS, groups, strict=True):
        mixed = w.conv(f"{intra}.fusion_{k}.0", torch.cat([s * x for s, x in zip(row, branches, strict=True)], 1))
        result.append(_branch(w, f"{intra}.right_{k}_body.body.0", mixed) + g)
    cube = torch.stack([g * s for g, s in zip(result, w(f"{intra}.gamma_inter"), strict=True)], 2)
    out = torch.relu(w.conv(f"{inter}.spatial", cube) + w.conv(f"{inter}.spectral", cube))
    return list((w.conv(f"{inter}.spatial_one", out) + cube).unbind(2))


def _branch(w: Weights, name: str, x: Tensor) -> Tensor:
    out = x
    for unit in range(2):
        body = f"{name}.{unit}.body"
        second = 3 if f"{body}.3.bias" in w.state else 2
        inner = torch.relu(w.norm(f"{body}.1", w.conv(f"{body}.0", out)))
        inner = w.conv(f"{body}.{second}", inner)
        out = out + (w.norm(f"{body}.4", inner) if second == 3 else inner)
    return out + x


# ---- SFPN's fine stage --------------------------------------------------------------------


def state_finenet(bands: int, guide_bands: int, width: int, seed: int = 0) -> State:
    s = State(seed)
    s.conv("Conv1", width, bands + guide_bands, 3, 3)
    s.conv("Conv2", width, width, 3, 3)
    s.conv("Conv3", bands, width, 3, 3)
    s.conv("hsi.Conv", 1, 1, 21, 21, normed=False)
    return s


def finenet(state: dict[str, Tensor], coarse: Tensor, guide: Tensor, ratio: int) -> tuple[Tensor, Tensor]:
    w = Weights(state)
    x = torch.relu(w.conv("Conv1", torch.cat([coarse, guide], 1)))
    fine = w.conv("Conv3", torch.relu(w.conv("Conv2", x))) + coarse
    wide = F.pad(fine, (10, 10, 10, 10), mode="replicate")
    bands = [F.conv2d(band, w("hsi.Conv.weight"), w("hsi.Conv.bias"), stride=ratio) for band in wide.split(1, 1)]
    return fine, torch.cat(bands, 1)


def tame(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a checkpoint of CoarSR whose detail is a hundredth: its results are near bicubic ones."""
    last = ("tail.1.weight_g", "tail.1.bias")
    return {k: v * 0.01 if k.endswith(last) else v for k, v in state.items()}
