"""Make the plugin's zip, which QGIS installs: `python plugins/qgis/package.py`.

It holds the plugin, the licence, and docs/qgis.md as its help page.
"""

from __future__ import annotations

import argparse
import configparser
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from markdown_it import MarkdownIt

PLUGIN = Path(__file__).parent / "dualsr_qgis"
ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "qgis.md"
PICTURES = ROOT / "docs" / "images" / "qgis"
SUFFIXES = (".py", ".txt", ".svg")
# Required by plugins.qgis.org.
WANTED = (
    "name", "qgisMinimumVersion", "description", "about", "version", "author", "email", "repository", "tracker",
)  # fmt: skip

FRAME = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>dualsr-geo in QGIS</title>
<style>
body {{ max-width: 50em; margin: 2em auto; padding: 0 1em; font: 16px/1.5 sans-serif; color: #222; background: #fff }}
img {{ max-width: 100%; border: 1px solid #ccc }}
code {{ background: #f0f0f0; padding: 0 .2em }}
pre {{ background: #f0f0f0; padding: .8em; overflow-x: auto }}
td, th {{ border: 1px solid #ccc; padding: .2em .6em; text-align: left }}
table {{ border-collapse: collapse }}
</style></head><body>
{body}</body></html>
"""


def pack(place: Path) -> None:
    """Write the zip; the same files give the same bytes.

    Raises
    ------
    ValueError
        If metadata.txt lacks an entry that QGIS requires.
    """
    require_metadata(PLUGIN / "metadata.txt")
    place.parent.mkdir(parents=True, exist_ok=True)
    with ZipFile(place, "w", ZIP_DEFLATED) as packed:
        for name, content in sorted(contents()):
            entry = ZipInfo(f"{PLUGIN.name}/{name}")
            entry.external_attr = 0o644 << 16
            packed.writestr(entry, content, ZIP_DEFLATED)


def contents() -> Iterator[tuple[str, bytes]]:
    """Yield names in the plugin's folder and the contents of the files."""
    for file in PLUGIN.iterdir():
        if file.suffix in SUFFIXES:
            yield file.name, file.read_bytes()
    yield "LICENSE", (ROOT / "LICENSE").read_bytes()
    yield "help/index.html", help_page(PAGE.read_text(encoding="utf-8")).encode()
    for picture in PICTURES.iterdir():
        yield f"help/images/qgis/{picture.name}", picture.read_bytes()


def help_page(text: str) -> str:
    """Return the page as HTML; its links to pictures lead to the same places from within the plugin."""
    return FRAME.format(body=MarkdownIt().enable("table").render(text))


def require_metadata(file: Path) -> None:
    """Raise ValueError if QGIS would refuse the plugin."""
    metadata = configparser.ConfigParser(interpolation=None)
    metadata.read(file, encoding="utf-8")
    missing = [name for name in WANTED if not metadata.get("general", name, fallback="").strip()]
    if missing:
        raise ValueError(f"{file} lacks {', '.join(missing)}, which plugins.qgis.org requires.")


def version() -> str:
    """Return the plugin's version."""
    metadata = configparser.ConfigParser(interpolation=None)
    metadata.read(PLUGIN / "metadata.txt", encoding="utf-8")
    return metadata["general"]["version"]


def main() -> None:
    """Pack, and print the path."""
    parser = argparse.ArgumentParser(description="Make the zip that QGIS installs.")
    default = ROOT / "dist" / f"dualsr_qgis-{version()}.zip"
    parser.add_argument("-o", "--output", type=Path, default=default, help="By default dist/dualsr_qgis-<version>.zip.")
    place = parser.parse_args().output
    pack(place)
    print(f"{place}: {place.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
