"""What mkdocs does beyond its plugins: pages from the repository's root, and figures that open at full size."""

# ruff: noqa: INP001  # mkdocs loads this file by its path

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

# Files of the repository's root that become pages; their links start at the root.
ROOT_PAGES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
# Links to files that are no pages.
OUTSIDE = re.compile(r"\[([^\]]+)\]\((?!https?:|docs/|#)[^)]+\)")
IMAGE = re.compile(r'<img [^>]*?src="([^"]+)"[^>]*/?>')


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add links to edit a page where the address of the repository is known."""
    if config.repo_url:
        config.edit_uri = "edit/main/docs/"
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add pages made from files of the root."""
    for name, page in ROOT_PAGES.items():
        text = (Path(config.config_file_path).parent / name).read_text()
        files.append(File.generated(config, page, content=OUTSIDE.sub(r"\1", text).replace("](docs/", "](")))
    return files


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Make each figure a link to its file, to look at it at full size."""
    return IMAGE.sub(lambda m: f'<a href="{m[1]}" class="figure" title="Full size">{m[0]}</a>', html)
