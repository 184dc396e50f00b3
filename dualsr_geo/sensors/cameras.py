"""Laboratory cameras, and the RGB and panchromatic cameras of guides."""

from __future__ import annotations

from dualsr_geo.sensors.definition import Sensor, Sources, UsualPacking, bands_of, responses_of

MATLAB_OPENER = "dualsr_geo.io.products.arrays.matlab:open_delivery"

SENSORS = (
    Sensor(
        "cave",
        "CAVE multispectral set, 31 bands from 400 to 700 nm",
        bands_of("cave"),
        Sources(
            "Yasuma et al., Generalized assorted pixel camera, 2010: VariSpec filter in steps of 10 nm; a FWHM of one "
            "step is assumed",
            packing="16-bit PNG, one a band, full scale 65535",
        ),
        packing=UsualPacking("PNG, 16 bit", 1 / 65535, valid=(0, 65535)),
        aliases=("CAVE",),
        opener=MATLAB_OPENER,
    ),
    Sensor(
        "harvard",
        "Harvard real-world hyperspectral images, 31 bands from 420 to 720 nm",
        bands_of("harvard"),
        Sources(
            "Chakrabarti and Zickler, Statistics of real-world hyperspectral images, CVPR 2011: Nuance FX, bands of "
            "about 10 nm in steps of 10 nm"
        ),
        aliases=("Harvard", "Nuance FX"),
        opener=MATLAB_OPENER,
    ),
    Sensor(
        "rgb-camera",
        "RGB camera, Nikon D700",
        bands_of("rgb-camera"),
        Sources(
            "responses of a Nikon D700 from 400 to 700 nm, as the fusion papers on CAVE use them (MoG-DCN's matrix P)"
        ),
        responses=responses_of("rgb-camera"),
        aliases=("NIKON D700", "Nikon Corporation NIKON D700"),
    ),
    Sensor(
        "pan",
        "Panchromatic camera, 450 to 800 nm",
        bands_of("pan"),
        Sources("assumed: flat, with edges of 8 nm", "assumed; the default of the pansharpening toolbox"),
        responses=responses_of("pan"),
    ),
)
