"""Names of files: the product and the band that they state."""

import pytest

from dualsr_geo.io.products.landsat.file_names import band_file, product_name


@pytest.mark.parametrize(
    ("name", "band", "level", "product"),
    [
        ("LC08_L1TP_167055_20170308_20170317_01_T1_B10.TIF", "10", 1, ("C", 8, "L1TP", 167, 55, "20170308", "01")),
        ("LC08_L2SP_098084_20210503_20210508_02_T1_SR_B3.TIF", "3", 2, ("C", 8, "L2SP", 98, 84, "20210503", "02")),
        ("LC09_L2SP_098084_20220503_20220508_02_RT_ST_B10.TIF", "ST_B10", 2, ("C", 9, "L2SP", 98, 84, "20220503", "02")),
        ("LE07_L1TP_167055_20170316_20170411_01_T1_B6_VCID_2.TIF", "6_VCID_2", 1, ("E", 7, "L1TP", 167, 55, "20170316", "01")),
        ("lt05_l2sp_010067_19860424_20200918_02_t2_sr_b7.tif", "7", 2, ("T", 5, "L2SP", 10, 67, "19860424", "02")),
        ("LM01_L1GS_001010_19720908_20200909_02_T2_B4.TIF", "4", 1, ("M", 1, "L1GS", 1, 10, "19720908", "02")),
        ("LT51970181984155XXX03_B5.TIF", "5", 1, ("T", 5, "", 197, 18, "1984155", "")),
        ("LC08_CU_003010_20190813_20210503_02_SR_B2.TIF", "2", 2, ("C", 8, "CU", 3, 10, "20190813", "02")),
    ],
)  # fmt: skip
def test_a_band_by_the_name_of_its_file(name, band, level, product):
    stated = band_file(name)
    assert (stated.band, stated.level) == (band, level)
    p = stated.product
    assert (p.letter, p.number, p.level, p.path, p.row, p.date, p.collection) == product


@pytest.mark.parametrize(
    "name",
    [
        "LC08_L2SP_098084_20210503_20210508_02_T1_QA_PIXEL.TIF",
        "LC08_L2SP_098084_20210503_20210508_02_T1_ST_QA.TIF",
        "LC08_L2SP_098084_20210503_20210508_02_T1_ST_EMIS.TIF",
        "LC08_L1TP_167055_20170308_20170317_01_T1_BQA.TIF",
        "LE07_L1TP_107068_20220310_20220405_02_T1_GM_B1.TIF",
        "LC08_L1TP_167055_20170308_20170317_01_T1_B4_x2.TIF",
        "LC08_L1TP_167055_20170308_20170317_01_T1_B12.TIF",
        "LC08_L1TP_167055_20170308_20170317_01_T1_B4.TIF.aux.xml",
        "B4.TIF",
        "T33UUB_20170527T102031_B04.jp2",
    ],
)
def test_what_is_no_spectral_band(name):
    assert band_file(name) is None


def test_the_product_of_an_mtl_file():
    assert product_name("LC08_L1TP_204030_20180226_20180226_01_T1_MTL.txt").path == 204
    assert product_name("test_MTL.txt") is None
