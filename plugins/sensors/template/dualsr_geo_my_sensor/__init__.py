"""My sensor, a template: copy this folder and fill in the values of your own (docs/extend/sensor.md)."""

from __future__ import annotations

from dualsr_geo.sensors import Sensor, Sources, UsualPacking, read_bands

SENSORS = Sensor(
    "my-sensor",
    "My sensor, 3 bands of 5 m",
    # Columns: name, centre and FWHM in nm, GSD in m (may be empty), MTF gain at Nyquist.
    read_bands("dualsr_geo_my_sensor:bands.csv"),
    Sources(
        bands="the operator's data sheet, its edition and where to find it",
        # Write "assumed" and leave `mtf_measured` out if the gains were not measured: 0.3 is a typical value.
        mtf="edge targets, who measured them and when",
        packing="the product guide, its edition",
    ),
    mtf_measured=True,
    # Wavelengths that the atmosphere absorbs, nm.
    bad_windows_nm=(),
    packing=UsualPacking("L2 surface reflectance", scale=1e-4, nodata=0),
    # Names in the metadata of its products.
    aliases=("MYSENSOR", "My Sensor 1"),
)
