"""The layer of the guided network that mixes the features of all anchors of a scene, so that it reads whole spectra."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dualsr_geo.models.networks.layers import Conv

# Number of relations between two anchors; see `relation_features`.
RELATIONS = 4
# Features that the anchors exchange, and the number of mixtures of them.
EXCHANGED, MIXTURES = 16, 2


class SpectralContext(nn.Module):
    """Adds to the features of each anchor a mixture of those of all anchors.

        m_i = sum_j softmax_j(u . r_ij) relu(D f_j),    f_i + U m_i

    f are features, r_ij the relations of anchors i and j, and u, D and U are learned, u once for each of `MIXTURES`.
    The relations are those of the scene, so the weights are the same at each pixel, and a tile equals the
    whole scene. The layer serves any number of anchors in any order. U is initialised to zero.

    Parameters
    ----------
    width : int
        Features.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down = Conv(width, EXCHANGED, 1)
        self.score = nn.Linear(RELATIONS, MIXTURES)
        self.up = Conv(MIXTURES * EXCHANGED, width, 1)
        with torch.no_grad():
            nn.init.zeros_(self.up.weight)
            assert self.up.bias is not None
            nn.init.zeros_(self.up.bias)

    def forward(self, features: Tensor, relations: Tensor | None) -> Tensor:
        """Return the features with those of the other anchors.

        Parameters
        ----------
        features : Tensor, shape (anchor, feature, y, x)
        relations : Tensor, shape (anchor, anchor, relation), or None
            None if the planes are not of one scene; each is then mixed with itself only.
        """
        anchors, _, height, width = features.shape
        exchanged = self.down.rectified(features).permute(0, 2, 3, 1).reshape(anchors, -1)
        weights = self._weights(relations, anchors, exchanged)
        mixed = [(w @ exchanged).view(anchors, height, width, -1) for w in weights]
        return self.up.added(torch.cat(mixed, -1).permute(0, 3, 1, 2), features)

    def _weights(self, relations: Tensor | None, anchors: int, like: Tensor) -> Tensor:
        """Return the weights of the mixtures, (mixture, anchor, anchor), rows summing to 1."""
        if relations is None:
            return torch.eye(anchors).to(like).expand(MIXTURES, -1, -1)
        return torch.softmax(self.score(relations), 1).permute(2, 0, 1).to(like)


def relation_features(correlations: Tensor) -> Tensor:
    """Return the relations of anchors: their correlations and the absolute values of these.

    Parameters
    ----------
    correlations : Tensor, shape (2, anchor, anchor)
        Of the anchors, and of the errors of their regressions on the guide, -1..1.

    Returns
    -------
    Tensor, shape (anchor, anchor, relation)
    """
    each = [signed for c in correlations for signed in (c, c.abs())]
    return torch.stack(each, -1)
