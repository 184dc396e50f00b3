"""A weights file, with all that its cards state."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dualsr_geo.models.architectures import architecture_of
from dualsr_geo.models.cards.descriptions import ARCHITECTURES, CITATIONS, ROLES, UNKNOWN_SOURCE
from dualsr_geo.models.cards.training_record import TrainingRecord, training_record
from dualsr_geo.models.weights import Card, read_card, read_tensors, sha256


@dataclass(frozen=True)
class WeightsFile:
    """A weights file.

    Attributes
    ----------
    path : Path
    card : Card
    parameters : int
        Number of weights.
    memory_bytes : int
        Of the weights in memory.
    size_bytes : int
        Of the file.
    sha256 : str
    """

    path: Path
    card: Card
    parameters: int
    memory_bytes: int
    size_bytes: int
    sha256: str

    @classmethod
    def read(cls, path: Path) -> WeightsFile:
        """Read a weights file.

        Raises
        ------
        InputError
            If the file is missing, damaged, has no card, or is of an unknown network.
        """
        card, tensors = read_card(path), read_tensors(path)
        architecture_of(card.network)
        count = sum(t.numel() for t in tensors.values())
        memory = sum(t.numel() * t.element_size() for t in tensors.values())
        return cls(path, card, count, memory, path.stat().st_size, sha256(path))

    @property
    def name(self) -> str:
        """Name in a catalogue: that of the file."""
        return self.path.stem

    @cached_property
    def training(self) -> TrainingRecord:
        """What the card states of the training."""
        return training_record(self.card.note)

    @property
    def architecture(self) -> str:
        """Title of the architecture."""
        network = self.card.network
        checkpoint = architecture_of(network).checkpoint
        return ARCHITECTURES.get(network, network) if checkpoint is None else checkpoint.title

    @property
    def takes_guide(self) -> bool:
        """Whether the network reads a guide."""
        return architecture_of(self.card.network).guided

    @property
    def is_standalone(self) -> bool:
        """Whether the network sharpens by itself; else it corrects the training-free estimate."""
        return architecture_of(self.card.network).standalone

    @property
    def summary(self) -> str:
        """One sentence on what the network does."""
        ratio = f"by a ratio of {self.card.ratio}" if self.card.ratio else "by any ratio of 2 to 32"
        what = (
            "Sharpens the bands of a scene" if self.is_standalone else "Corrects the training-free estimate of a scene"
        )
        place = ROLES.get(self.card.network, "with a guide" if self.takes_guide else "without a guide")
        return f"{what} {ratio}, {place}."

    @property
    def citation(self) -> str:
        """What to cite."""
        return CITATIONS.get(self.card.network, UNKNOWN_SOURCE)
