"""Zarr groups and arrays on disk."""

import os

import numpy as np
import pytest
import zarr

from dualsr_geo.io.storage.zarr_groups import array_stamp, is_zarr, split_array, zarr_location


@pytest.mark.parametrize("version", [2, 3])
def test_a_group_and_an_array_are_recognised_by_their_documents(tmp_path, version):
    place = tmp_path / "a"
    group = zarr.open_group(place, mode="w", zarr_format=version)
    group.create_array("b", data=np.ones((2, 3)), chunks=(2, 3))
    assert is_zarr(str(place))
    assert is_zarr(str(place / "b"))
    assert not is_zarr(str(tmp_path))
    assert split_array(str(place)) == (str(place), None)
    assert split_array(str(place / "b")) == (str(place), "b")
    assert zarr_location(str(place)) == str(place)


def test_in_a_store_the_name_of_a_group_decides():
    assert is_zarr("s3://b/x/a.zarr/b")
    assert not is_zarr("s3://b/x/a.tif")
    assert split_array("s3://b/x/a.zarr/b") == ("s3://b/x/a.zarr", "b")
    assert split_array("s3://b/x/a.zarr/") == ("s3://b/x/a.zarr", None)


def test_the_stamp_changes_with_the_values(tmp_path):
    group = zarr.open_group(tmp_path / "a", mode="w", zarr_format=3)
    array = group.create_array("b", data=np.ones((2, 3)), chunks=(1, 3))
    before = array_stamp(str(tmp_path / "a"), "b")
    assert before == array_stamp(str(tmp_path / "a"), "b")
    array[0] = 2
    os.utime(tmp_path / "a" / "b" / "zarr.json", ns=(0, before["mtime_ns"] + 1))
    assert array_stamp(str(tmp_path / "a"), "b") != before
