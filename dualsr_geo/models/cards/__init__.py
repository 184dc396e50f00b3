"""Model cards for catalogues: STAC items of the extension MLM, and pages in Markdown."""
