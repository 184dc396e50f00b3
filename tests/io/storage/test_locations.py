"""Files by path: the same questions as of objects."""

import os
from datetime import UTC, datetime

from dualsr_geo.errors import InputError
from dualsr_geo.io.storage.locations import exists, modified, read_bytes


def test_a_file_on_disk(tmp_path):
    file = tmp_path / "a.tif"
    assert not exists(str(file), InputError)
    file.write_bytes(b"text")
    os.utime(file, (0, 86400))
    assert exists(str(file), InputError)
    assert read_bytes(str(file), InputError) == b"text"
    assert modified(str(file)) == datetime(1970, 1, 2, tzinfo=UTC)
