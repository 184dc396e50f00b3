"""Outputs: tile store, GeoTIFF and COG, GeoZarr, and their destination."""
