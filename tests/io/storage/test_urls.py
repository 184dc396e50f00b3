"""URLs and paths: GDAL's names, one form, and no secret in messages."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualsr_geo.io.storage.urls import absolute, for_display, gdal_path, normalized, relative_to, url_of

SECRET = "wJalrXUtnFEMIsecret"
PACKAGE = Path(__file__).parents[3] / "dualsr_geo"

WORDS = st.text(st.characters(categories=["Ll", "Nd"]), min_size=1, max_size=8)


@given(
    scheme=st.sampled_from(["s3", "gs", "az", "http", "https"]),
    host=WORDS,
    key=WORDS,
    user=WORDS,
    before=st.sampled_from(["", "GDAL says: ", "(", "'/vsicurl/"]),
)
def test_no_user_and_no_query_is_shown(scheme, host, key, user, before):
    text = for_display(f"{before}{scheme}://{user}:{SECRET}@{host}/{key}.tif?X-Amz-Signature={SECRET}&a=b is not there")
    assert SECRET not in text
    assert f"{scheme}://{host}/{key}.tif" in text
    assert text.endswith("is not there")


@pytest.mark.parametrize("url", ["s3://b/k.tif", "gs://b/a/k.tif", "az://c/k.tif", "https://h/k.tif"])
def test_the_url_of_gdals_name_is_the_url(url):
    assert url_of(gdal_path(url)) == url
    assert url_of("/data/k.tif") is None
    assert for_display(gdal_path(url)) == url


@pytest.mark.parametrize("url", ["s3://b/k.tif", "https://h/k.tif"])
def test_a_url_stays_where_a_path_is_resolved(url):
    assert normalized(f"{url}/") == absolute(url) == relative_to(url, "/data") == url
    assert gdal_path("data/k.tif") == "data/k.tif"
    assert normalized(Path("data") / "k.zarr") == normalized("data/k.zarr/") == os.path.join("data", "k.zarr")
    assert absolute("k.tif") == os.path.abspath("k.tif")
    assert relative_to("/data/out/k.tif", "/data") == os.path.join("out", "k.tif")


def test_one_factory_and_the_batch_outside_storage_tell_urls_from_paths():
    calls = {
        str(p.relative_to(PACKAGE)) for p in PACKAGE.rglob("*.py") if re.search(r"\bis_url\(", p.read_text("utf-8"))
    }
    assert {c for c in calls if not c.startswith("io/storage/")} == {
        "io/writers/destination.py",
        "cli/batch.py",
        "batching/batch.py",
        # A folder's listing, and Zarr groups without GDAL, differ by where they are.
        "io/products/registry.py",
        "io/products/sentinel2/eopf.py",
        # Weights and lists that a survey names by a path are absolute in it.
        "engine/on_the_fly/stored_survey.py",
    }
