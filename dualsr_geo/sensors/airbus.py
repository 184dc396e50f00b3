"""Pléiades, Pléiades Neo, SPOT 6 and SPOT 7, bands in the order of their products."""

from __future__ import annotations

from dualsr_geo.sensors.definition import Sensor, Sources, bands_of, responses_of

OPENER = "dualsr_geo.io.products.commercial.dimap:open_delivery"
PACKING = "counts, or reflectance; gains, biases and the kind of the values are in the DIM file of the product"
RESPONSES = (
    "Airbus's normalised spectral responses of {} (as tabulated in ACOLITE), centre and width computed from them; GSD "
    "as delivered"
)
NEO = Sources(
    "Airbus, Pléiades Neo User Guide: edges of the bands; flat responses with edges of 8 nm are assumed; GSD as delivered",
    packing=PACKING,
)


def _pair(name: str, title: str, sources: Sources, aliases: tuple[str, ...]) -> tuple[Sensor, ...]:
    """Return the sensor of the multispectral bands, and that of the panchromatic one."""
    pan = f"{name}-pan"
    return tuple(
        Sensor(
            own,
            f"{title}, {content}",
            bands_of(own),
            sources,
            responses=responses_of(own),
            guide=guide,
            aliases=aliases,
            opener=OPENER,
        )
        for own, content, guide in ((name, "multispectral", pan), (pan, "panchromatic", None))
    )


SENSORS = (
    *_pair(
        "pleiades",
        "Pléiades 1A and 1B",
        Sources(RESPONSES.format("Pléiades 1A"), packing=PACKING),
        ("PHR", "PHR1A", "PHR1B", "PHR 1A", "PHR 1B", "Pleiades", "Pleiades 1A", "Pleiades 1B"),
    ),
    *_pair(
        "pleiades-neo",
        "Pléiades Neo",
        NEO,
        ("PNEO", "PNEO3", "PNEO4", "PNEO5", "PNEO6", "Pleiades Neo"),
    ),
    *_pair(
        "spot-6",
        "SPOT 6 and SPOT 7",
        Sources(RESPONSES.format("SPOT 6"), packing=PACKING),
        ("SPOT6", "SPOT7", "SPOT 6", "SPOT 7"),
    ),
)
