"""What mkdocs does beyond its plugins: the changelog of the repository's root becomes a page."""

# ruff: noqa: INP001  # mkdocs loads this file by its path

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add CHANGELOG.md, whose links start at the root, as changelog.md."""
    text = (Path(config.config_file_path).parent / "CHANGELOG.md").read_text()
    files.append(File.generated(config, "changelog.md", content=text.replace("](docs/", "](")))
    return files
