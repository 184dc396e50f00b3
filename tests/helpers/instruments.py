"""Small products of more instruments, in the layouts that their providers document; none was compared with a real one."""

import json

import numpy as np
from delivered import EAST, NORTH, counts, raster

# ---- PlanetScope -------------------------------------------------------------------------

PLANET_SCENE = "20230612_100031_12_2486"
COEFFICIENTS = (2.1e-05, 2.2e-05, 2.3e-05, 2.4e-05, 2.5e-05, 2.6e-05, 2.7e-05, 3.4e-05)


def planetscope(
    folder, *, bands=8, surface=True, radiance=False, metadata=True, level="3B", instrument="PSB.SD", shape=(30, 42)
):
    """The folder of an order: the image of a scene, its masks, and its metadata."""
    order = folder / "order" / "PSScene"
    eight = "_8b" if bands == 8 else ""
    cube = counts(6, (bands, *shape), 300, 6000)
    cube[:, :4, :6] = 0
    if surface:
        raster(order / f"{PLANET_SCENE}_{level}_AnalyticMS_SR{eight}_clip.tif", cube, 3, nodata=0)
    if radiance:
        raster(order / f"{PLANET_SCENE}_{level}_AnalyticMS{eight}_clip.tif", cube + 7, 3)
    raster(order / f"{PLANET_SCENE}_{level}_udm2_clip.tif", np.ones((8, *shape), "uint8"), 3)
    if metadata:
        (order / f"{PLANET_SCENE}_{level}_AnalyticMS{eight}_metadata_clip.xml").write_text(
            _planet_document(bands, instrument)
        )
        (order / f"{PLANET_SCENE}_metadata.json").write_text(
            json.dumps({"id": PLANET_SCENE, "properties": {"instrument": instrument, "acquired": "2023-06-12T10:00:31Z"}})
        )
    return folder / "order"


def _planet_document(bands, instrument):
    listed = "".join(
        f"<ps:bandSpecificMetadata><ps:bandNumber>{i + 1}</ps:bandNumber><ps:radiometricScaleFactor>0.01"
        f"</ps:radiometricScaleFactor><ps:reflectanceCoefficient>{COEFFICIENTS[i]}</ps:reflectanceCoefficient>"
        "</ps:bandSpecificMetadata>"
        for i in range(bands)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><ps:EarthObservation xmlns:ps="http://schemas.planet.com/ps/v1/x" '
        'xmlns:eop="http://earth.esa.int/eop"><eop:Instrument><eop:shortName>'
        f"{instrument}</eop:shortName></eop:Instrument><eop:acquisitionDate>2023-06-12T10:00:31+00:00"
        f"</eop:acquisitionDate>{listed}</ps:EarthObservation>"
    )
