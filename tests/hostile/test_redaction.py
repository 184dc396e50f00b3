"""Secrets of locations: in no output, however the location is written and whichever library quotes it."""

import contextlib
import json
import logging
import string
from urllib.parse import quote

import numpy as np
import pytest
from click.testing import CliRunner
from delivered import raster
from hostile_case import Case, check
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dualsr_geo import redaction
from dualsr_geo.batching.scene_entry import entry_of
from dualsr_geo.cli import main
from dualsr_geo.errors import InputError
from dualsr_geo.io.scenes import open_scene
from dualsr_geo.io.storage.urls import for_display, shown

# Nothing else in any output has these words.
PASSWORD, SIGNATURE, FRAGMENT = "hunTer@22/x", "S1gn)a't<ure val", "fr4gmentToken"
SECRETS = ("hunTer", "22/x", "S1gn", "t<ure", "fr4gment")
CLOSED = "127.0.0.1:9"
HOSTILE = f"http://tomsmith:{PASSWORD}@{CLOSED}/scene.tif?sig={SIGNATURE}&b=2#{FRAGMENT}"


def hides(folder, outcome):
    written = [p.read_text(errors="replace") for p in folder.rglob("*") if p.is_file() and p.suffix != ".tif"]
    for text in (outcome.out, outcome.err, *written):
        assert not [s for s in (*SECRETS, "tomsmith") if s.lower() in text.lower()], text


def given_to(*command, url=HOSTILE):
    """Return a function that makes a scene and answers with a command in which ``URL`` is the location."""

    def make(folder):
        raster(folder / "s.tif", np.random.default_rng(1).integers(500, 5000, (3, 12, 12)).astype("uint16"), 8.0)
        return [word.replace("URL", url) for word in command]

    return make


UPPER = HOSTILE.replace("http://", "HTTP://")
ENCODED = f"http://tomsmith:{quote(PASSWORD, safe='')}@{CLOSED}/scene.tif?sig={quote(SIGNATURE)}"
DATABASE = "PG:host=127.0.0.1 user=tomsmith password='hunTer 22/x' dbname=d"

CASES = tuple(
    Case(name, make, error, verify=hides, code=code)
    for name, make, error, code in (
        ("info", given_to("info", "URL"), r"http://127\.0\.0\.1:9/scene\.tif: ", None),
        ("info as JSON", given_to("info", "URL", "--json"), r"cannot be reached", None),
        ("info, scheme in upper case", given_to("info", "URL", url=UPPER), r"cannot be reached", None),
        ("info, encoded", given_to("info", "URL", url=ENCODED), r"cannot be reached", None),
        ("info, GDAL's name", given_to("info", "/vsicurl/URL"), r"cannot be reached|cannot be opened", None),
        ("info, GDAL's name with settings", given_to("info", f"/vsicurl?max_retry=0&url={quote(ENCODED)}"), r".", None),
        ("info, a subdataset", given_to("info", 'NETCDF:"/vsicurl/URL":v'), r"cannot be opened", None),
        ("info, a database", given_to("info", "URL", url=DATABASE), r"PG: is a database", None),
        ("info, a guide", given_to("info", "s.tif", "--rgb", "URL"), r"cannot be reached", None),
        ("a log", given_to("upscale", "URL", "--scale", "2", "-o", "o.tif", "--log-json", "l.jsonl"), r"reached", None),
        ("a guide", given_to("upscale", "s.tif", "--rgb", "URL", "-o", "o.tif"), r"cannot be reached", None),
        ("an output", given_to("upscale", "s.tif", "--scale", "2", "-o", f"s3://tomsmith:{PASSWORD}@b/x.tif"), r".", None),
        ("an output with a query", given_to("upscale", "s.tif", "--scale", "2", "-f", "COG", "-o", "s3://b/x.tif?sig=S1gn22"),
         r"--output s3://b/x\.tif has a user, a password or a query", None),
        ("the folder of a batch", given_to("batch", "s.tif", "-o", f"s3://tomsmith:{PASSWORD}@b/x"), r"--work-dir", 2),
        ("a STAC document", given_to("batch", "URL", "-o", "out", url=HOSTILE.replace(".tif", ".json")), r".", None),
        ("a reference", given_to("evaluate", "s.tif", "--reference", "URL"), r"cannot be reached", None),
        ("a model", given_to("upscale", "s.tif", "--scale", "2", "--model", "URL", "-o", "o.tif"), r"no model", None),
        ("a scheduler", given_to("upscale", "s.tif", "--scale", "2", "-o", "o.tif", "--scheduler",
                                 "tcp://tomsmith:hunTer22@127.0.0.1:9"), r"--scheduler tcp://127\.0\.0\.1:9 does not", None),
        ("a usage error", given_to("upscale", "URL", "--scale", "x"), r".", 2),
        ("in Python", lambda _: lambda: open_scene(HOSTILE), r"cannot be reached", None),
    )
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answer(case, tmp_path):
    check(case, tmp_path)


def test_a_batch_of_signed_urls(tmp_path):
    (tmp_path / "list.txt").write_text(f"{HOSTILE}\n{UPPER.replace('scene', 'b')}\n")
    arguments = ["batch", f"{tmp_path}/list.txt", "-o", f"{tmp_path}/out", "--scale", "2"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    for text in (result.output, *(p.read_text() for p in (tmp_path / "out").iterdir() if p.is_file())):
        assert not [s for s in (*SECRETS, "tomsmith") if s in text], text


WORD = st.text(string.ascii_letters + string.digits, min_size=5, max_size=9).map(lambda w: f"zQ{w}")
ODD = st.text(string.ascii_letters + string.digits + "@/?)('<>:;&=+%# ", min_size=1, max_size=8)


@st.composite
def locations(draw):
    """A URL with secrets of any characters, and the words in the secrets."""
    scheme = draw(st.sampled_from(["http", "HTTPS", "s3", "S3", "gs", "az", "tcp", "ftp", "/vsicurl/http"]))
    words = draw(st.lists(WORD, min_size=3, max_size=3, unique=True))
    user, query, fragment = (f"{w}{draw(ODD)}{w}" for w in words)
    url = f"{scheme}://name:{user.replace('#', '')}@host.org/a/b.tif?sig={query.replace('#', '')}#{fragment}"
    return url, words


@settings(max_examples=300, deadline=None)
@given(locations())
def test_no_secret_of_a_location_is_shown(location):
    url, words = location
    assert not [w for w in words if w in shown(url)]
    assert not [w for w in words if w in entry_of(url).key]
    # A password with a question mark, or a query with an at sign, leaves no part that is certainly public.
    assert shown(url).endswith(("host.org/a/b.tif", "://..."))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    locations(),
    st.sampled_from(
        ["{}", "'{}' failed", "GDAL: <{}>", 'x "{}": no', "({})", "{}: HTTP 403", "url={}&a=1", "\n{}\n"]
    ),
    st.sampled_from([str, quote, lambda u: quote(u, safe=""), repr, json.dumps, lambda u: u.split("//")[-1], lambda u: u[8:]]),
)  # fmt: skip
def test_no_secret_of_a_known_location_is_in_a_text(location, sentence, written):
    url, words = location
    redaction._known.clear()
    redaction.remember(url)
    text = sentence.format(written(url))
    for output in (for_display(text), redaction.redact(text), str(InputError(text))):
        assert not [w for w in words if w in output], (text, output)


def test_ordinary_texts_stay_as_they_are():
    for text in (
        "scene.tif has 3 bands (1, 2, 3). Is it whole? Give --bidx 1..3 #1.",
        "s3://bucket/dir@v2/a.tif: there is no such object. Give the URL of one that is there.",
        "http://host:8080/a@b.tif does not exist.",
        "--co COMPRESS=ZSTD and PREDICTOR=2: 50 % of user defined blocks",
    ):
        assert redaction.redact(text) == text


def test_many_signatures_cost_no_time_and_no_memory():
    for i in range(3 * redaction.MAX_KNOWN):
        redaction.remember(f"https://host/a.tif?X-Amz-Signature=abcdef{i:08}")
    assert len(redaction._known) <= redaction.MAX_KNOWN
    assert "abcdef" not in redaction.redact("https://host/a.tif?X-Amz-Signature=abcdef00000001 failed")


def test_the_log_of_others_has_no_secret(caplog):
    caplog.set_level(logging.INFO, "dualsr_geo")
    with contextlib.suppress(InputError):
        from dualsr_geo.engine.upscale import upscale

        upscale(HOSTILE, "o.tif", scale=2)
    facts = json.dumps([getattr(r, "facts", {}) for r in caplog.records])
    assert "scene.tif" in facts
    assert not [s for s in SECRETS if s in facts]
