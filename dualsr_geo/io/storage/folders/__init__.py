"""The folder of a product: on disk, in an archive that is read in place, in an object store or on the web."""
