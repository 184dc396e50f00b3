"""How guides are found: by pattern, asset and table, one for each, or an error that says where it looked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualsr_geo.batch.guide_matching import belongs, guides_of, rule
from dualsr_geo.batch.scene_entry import SceneEntry, named
from dualsr_geo.errors import InputError, OptionError


@pytest.fixture
def scene(tmp_path: Path) -> SceneEntry:
    for name in (
        "ms/s1_20240501.tif",
        "ms/s1_20240501_pan.tif",
        "pan/20240501_a.tif",
        "pan/20240501_b.tif",
        "pan/s1.tif",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return named(str(tmp_path / "ms/s1_20240501.tif"))


@pytest.mark.parametrize(
    ("pattern", "match", "guide"),
    [
        ("{stem}_pan.tif", None, "ms/s1_20240501_pan.tif"),
        ("{parent}/{stem}_pan.tif", None, "ms/s1_20240501_pan.tif"),
        ("../pan/{date}_a.tif", r"_(?P<date>\d{8})", "pan/20240501_a.tif"),
        ("../pan/{date}_[a]*.tif", r"_(?P<date>\d{8})", "pan/20240501_a.tif"),
        ("{parent}/../pan/{id}.tif", r"(?P<id>s\d)_\d+\.tif$", "pan/s1.tif"),
    ],
)
def test_a_pattern_is_filled_in(scene, tmp_path, pattern, match, guide):
    assert guides_of(scene, rule([pattern], match=match)) == (str(tmp_path / guide),)


def test_several_patterns_are_several_guides(scene, tmp_path):
    found = guides_of(scene, rule(["{stem}_pan.tif", str(tmp_path / "pan/s1.tif")]))
    assert found == (str(tmp_path / "ms/s1_20240501_pan.tif"), str(tmp_path / "pan/s1.tif"))


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("{stem}_rgb.tif", r"Its guide .*/ms/s1_20240501_rgb\.tif is not there.*--alone"),
        ("../pan/2024*.tif", r"leaves 2 guides .*20240501_a\.tif, .*20240501_b\.tif"),
        ("../pan/2023*.tif", r"is not there"),
        ("{name}", r"names the scene .* itself"),
    ],
)
def test_no_guide_or_two_are_an_error(scene, pattern, said):
    with pytest.raises(InputError, match=said):
        guides_of(scene, rule([pattern]))


def test_alone_goes_on_without(scene):
    assert guides_of(scene, rule(["{stem}_rgb.tif"], alone=True)) == ()
    assert guides_of(scene, rule([])) == ()


def test_unknown_placeholders_and_bad_expressions_are_refused_at_once():
    with pytest.raises(OptionError, match=r"asks for \{date\}.*\{name\}, \{parent\}, \{stem\}"):
        rule(["{date}.tif"])
    with pytest.raises(OptionError, match=r"--match \( is no regular expression"):
        rule(["{stem}.tif"], match="(")


def test_match_picks_what_was_found_and_fails_what_was_named(scene):
    by = rule(["{id}.tif"], match=r"(?P<id>other)")
    assert belongs(scene, by)
    with pytest.raises(InputError, match="does not match --match"):
        guides_of(scene, by)
    assert not belongs(SceneEntry(scene.path, scene.stem, found=True), by)


def test_an_asset_is_a_guide():
    entry = SceneEntry(
        "https://e.com/a.tif", "a", assets={"pan": "https://e.com/p.tif?sig=2", "ms": "https://e.com/a.tif"}
    )
    assert guides_of(entry, rule(["pan"])) == ("https://e.com/p.tif?sig=2",)
    assert guides_of(entry, rule(["{parent}/{stem}_pan.tif"])) == ("https://e.com/a_pan.tif",)


def test_a_missing_asset_is_named(tmp_path):
    entry = SceneEntry(str(tmp_path / "a.tif"), "a", assets={"ms": "x"})
    with pytest.raises(InputError, match=r"no such asset \(it has ms\)"):
        guides_of(entry, rule(["pan"]))


def test_a_table_tells_by_path_name_and_stem(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("guide,scene,more\np1.tif,ms/a.tif,\nhttps://e.com/p.tif,b.tif,\np2.tif,ms/a.tif,\n,d,\n")
    by = rule(["t.csv"])
    assert guides_of(named(str(tmp_path / "ms/a.tif")), by) == (str(tmp_path / "p1.tif"), str(tmp_path / "p2.tif"))
    assert guides_of(named("/any/b.tif"), by) == ("https://e.com/p.tif",)
    assert guides_of(named("/any/d.tif"), by) == ()
    with pytest.raises(InputError, match=r"no row for /any/c\.tif"):
        guides_of(named("/any/c.tif"), by)


@pytest.mark.parametrize(
    ("text", "said"), [("a,b\n1,2\n", "has the columns a, b"), (None, "cannot be read as a table")]
)
def test_a_table_that_is_none_is_refused(tmp_path, text, said):
    if text is not None:
        (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=said):
        rule([str(tmp_path / "t.csv")])


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12)


@given(NAMES)
def test_any_name_is_taken_as_it_is(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("names")
    entry = SceneEntry(str(folder / f"{name}.tif"), name)
    guide = folder / f"{name}_pan.tif"
    guide.touch()
    assert guides_of(entry, rule(["{stem}_pan.tif"])) == (str(guide),)
    assert guides_of(entry, rule(["{stem}_p?n.tif"])) == (str(guide),)
    with pytest.raises(InputError, match=re.escape(f"{name}_rgb.tif")):
        guides_of(entry, rule(["{stem}_rgb.tif"]))
