"""Overviews of a Zarr product: coarser levels of its arrays, and the convention multiscales that describes them."""
