"""Folders packed into archives, in the ways in which providers and users pack them."""

import tarfile
import zipfile


def tar(folder, out, *, mode="w", inside=None, form=tarfile.PAX_FORMAT):
    """A tar of a folder, which is called `inside` in it; "" for its files without the folder."""
    with tarfile.open(out, mode, format=form) as archive:
        archive.add(folder, folder.name if inside is None else inside or ".")
    return out


def zipped(folder, out, *, inside=None):
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            archive.write(path, f"{folder.name if inside is None else inside}/{name}".lstrip("/"))
    return out


PACKED = {
    "tar": lambda folder, to: tar(folder, to / f"{folder.name}.tar"),
    "tar of GNU": lambda folder, to: tar(folder, to / f"{folder.name}.tar", form=tarfile.GNU_FORMAT),
    "tar of files": lambda folder, to: tar(folder, to / f"{folder.name}.tar", inside=""),
    "tar in folders": lambda folder, to: tar(folder, to / "order.tar", inside=f"data/{folder.name}"),
    "tar.gz": lambda folder, to: tar(folder, to / f"{folder.name}.tar.gz", mode="w:gz"),
    "tgz": lambda folder, to: tar(folder, to / f"{folder.name}.TGZ", mode="w:gz"),
    "zip": lambda folder, to: zipped(folder, to / f"{folder.name}.zip"),
    "zip of files": lambda folder, to: zipped(folder, to / f"{folder.name}.ZIP", inside=""),
}
