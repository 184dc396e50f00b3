"""Guides are found by patterns, assets and tables; a missing guide is an error that names its path."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualsr_geo.batching.guide_matching import guide_rule, guides_of, matches_rule
from dualsr_geo.batching.scene_entry import SceneEntry, entry_of
from dualsr_geo.errors import InputError, OptionError
from dualsr_geo.messages import one_line


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
    return entry_of(str(tmp_path / "ms/s1_20240501.tif"))


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
    assert guides_of(scene, guide_rule([pattern], match=match)) == (str(tmp_path / guide),)


def test_several_patterns_are_several_guides(scene, tmp_path):
    guides = guides_of(scene, guide_rule(["{stem}_pan.tif", str(tmp_path / "pan/s1.tif")]))
    assert guides == (str(tmp_path / "ms/s1_20240501_pan.tif"), str(tmp_path / "pan/s1.tif"))


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{stem}_rgb.tif", r"The guide .*/ms/s1_20240501_rgb\.tif does not exist.*--alone"),
        ("../pan/2024*.tif", r"matches 2 guides .*20240501_a\.tif, .*20240501_b\.tif"),
        ("../pan/2023*.tif", r"does not exist"),
        ("{name}", r"names the scene .* itself"),
    ],
)
def test_no_guide_and_several_guides_are_an_error(scene, pattern, message):
    with pytest.raises(InputError, match=message):
        guides_of(scene, guide_rule([pattern]))


def test_alone_allows_a_missing_guide(scene):
    assert guides_of(scene, guide_rule(["{stem}_rgb.tif"], allow_unguided=True)) == ()
    assert guides_of(scene, guide_rule([])) == ()


def test_unknown_placeholders_and_bad_expressions_are_refused():
    with pytest.raises(OptionError, match=r"unknown placeholder \{date\}.*\{name\}, \{parent\}, \{stem\}"):
        guide_rule(["{date}.tif"])
    with pytest.raises(OptionError, match=r"--match \( is no regular expression"):
        guide_rule(["{stem}.tif"], match="(")


def test_match_selects_listed_scenes_and_fails_named_ones(scene):
    rule = guide_rule(["{id}.tif"], match=r"(?P<id>other)")
    assert matches_rule(scene, rule)
    with pytest.raises(InputError, match="does not match --match"):
        guides_of(scene, rule)
    assert not matches_rule(SceneEntry(scene.path, scene.stem, listed=True), rule)


def test_an_asset_is_a_guide():
    entry = SceneEntry(
        "https://e.com/a.tif", "a", assets={"pan": "https://e.com/p.tif?sig=2", "ms": "https://e.com/a.tif"}
    )
    assert guides_of(entry, guide_rule(["pan"])) == ("https://e.com/p.tif?sig=2",)
    assert guides_of(entry, guide_rule(["{parent}/{stem}_pan.tif"])) == ("https://e.com/a_pan.tif",)


def test_a_missing_asset_is_named(tmp_path):
    entry = SceneEntry(str(tmp_path / "a.tif"), "a", assets={"ms": "x"})
    with pytest.raises(InputError, match=r"no such asset \(it has ms\)"):
        guides_of(entry, guide_rule(["pan"]))


def test_a_table_is_read_by_path_name_and_stem(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("guide,scene,more\np1.tif,ms/a.tif,\nhttps://e.com/p.tif,b.tif,\np2.tif,ms/a.tif,\n,d,\n")
    rule = guide_rule(["t.csv"])
    assert guides_of(entry_of(str(tmp_path / "ms/a.tif")), rule) == (str(tmp_path / "p1.tif"), str(tmp_path / "p2.tif"))
    assert guides_of(entry_of("/any/b.tif"), rule) == ("https://e.com/p.tif",)
    assert guides_of(entry_of("/any/d.tif"), rule) == ()
    with pytest.raises(InputError, match=r"no row for /any/c\.tif"):
        guides_of(entry_of("/any/c.tif"), rule)


@pytest.mark.parametrize(
    ("text", "message"), [("a,b\n1,2\n", "has the columns a, b"), (None, "cannot be read as a table")]
)
def test_an_invalid_table_is_refused(tmp_path, text, message):
    if text is not None:
        (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        guide_rule([str(tmp_path / "t.csv")])


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12)


@given(NAMES)
def test_characters_of_names_are_no_wildcards(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("names")
    entry = SceneEntry(str(folder / f"{name}.tif"), name)
    guide = folder / f"{name}_pan.tif"
    guide.touch()
    assert guides_of(entry, guide_rule(["{stem}_pan.tif"])) == (str(guide),)
    assert guides_of(entry, guide_rule(["{stem}_p?n.tif"])) == (str(guide),)
    # A message escapes what is no printable character.
    with pytest.raises(InputError, match=re.escape(one_line(f"{name}_rgb.tif"))):
        guides_of(entry, guide_rule(["{stem}_rgb.tif"]))
