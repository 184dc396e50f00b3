"""Files of arrays that are no scene: of other types, empty, huge, ambiguous, damaged; and lists of wavelengths."""

import struct
import zipfile

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse
from delivered import counts
from hostile_case import Case, check

SIDE = 24
UPSCALE = ("--scale", "2", "--model", "bicubic", "-o", "o.tif")


def cube(bands=5, dtype="uint16"):
    return counts(1, (bands, SIDE, SIDE), dtype=dtype)


def arrays(name, *arguments, **values):
    """A file of arrays, and the command on it."""

    def make(folder):
        file = name.partition("#")[0]
        if file.endswith(".mat"):
            scipy.io.savemat(folder / file, values)
        elif file.endswith(".npz"):
            np.savez(folder / file, **values)
        else:
            np.save(folder / file, next(iter(values.values())), allow_pickle=True)
        return ["upscale", name, *arguments, *UPSCALE]

    return make


def hdf5(name, write, *arguments):
    def make(folder):
        with h5py.File(folder / name.partition("#")[0], "w") as file:
            write(file)
        return ["upscale", name, *arguments, *UPSCALE]

    return make


def content(name, make_content):
    def make(folder):
        (folder / name).write_bytes(make_content(folder))
        return ["upscale", name, *UPSCALE]

    return make


def npy(shape, body=b"", dtype="<u2"):
    """A NumPy file that declares an array."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (64 - (len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


def npz(member):
    def make_content(folder):
        with zipfile.ZipFile(folder / "made.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.npy", member)
        return (folder / "made.zip").read_bytes()

    return make_content


def listed(text, *arguments):
    """A cube of 5 bands and a list of wavelengths."""

    def make(folder):
        np.save(folder / "s.npy", cube())
        (folder / "w.csv").write_bytes(text)
        return ["upscale", "s.npy", "--wavelengths", "w.csv", *arguments, *UPSCALE]

    return make


def ranged(given):
    return arrays("s.npy", "--wavelengths", given, a=cube())


HOLES = np.where(np.arange(SIDE) < 4, np.nan, cube(dtype="float64"))
CELL = np.array([1.0, "a"], dtype=object)

ALL = (
    Case("a vector only", arrays("s.mat", v=np.arange(30.0)), error=r"s\.mat holds no cube: `v` 1 x 30"),
    Case("an image only", arrays("s.mat", v=np.ones((30, 20))), error=r"s\.mat#name"),
    Case("an image by its name", arrays("s.mat#v", v=counts(1, (1, 30, 20))[0])),
    Case("an image by another name", arrays("s.mat#w", v=np.ones((30, 20))), error=r"holds no cube `w`: `v` 30 x 20"),
    Case("text in MATLAB", arrays("s.mat", v=np.array(["abc", "def"])), error=r"holds no cube: `v` 2 char"),
    Case("text by its name", arrays("s.mat#v", v=np.array(["abc", "def"])), error="no image"),
    Case("cells in MATLAB", arrays("s.mat", v=CELL), error=r"holds no cube: `v` 1 x 2 cell"),
    Case("a struct in MATLAB", arrays("s.mat", v={"cube": cube()}), error=r"holds no cube: `v` 1 x 1 struct"),
    Case("a sparse matrix", arrays("s.mat", v=scipy.sparse.eye_array(40).tocsc()), error=r"holds no cube: `v`.*sparse"),
    Case("a sparse matrix by its name", arrays("s.mat#v", v=scipy.sparse.eye_array(40).tocsc()), error="no image"),
    Case("complex values in MATLAB", arrays("s.mat", v=cube() * 1j), error=r"complex"),
    Case("an empty cube in MATLAB", arrays("s.mat", v=np.zeros((0, 5, 5))), error=r"holds no cube: `v` 0 x 5 x 5"),
    Case("nothing in MATLAB", arrays("s.mat"), error="holds no cube: no array"),
    Case("NaN in MATLAB", arrays("s.mat", v=HOLES)),
    Case("four axes", arrays("s.mat", v=np.ones((2, 5, 20, 20))), error=r"holds no cube: `v` 2 x 5 x 20 x 20"),
    Case("cubes of one size", arrays("s.mat", a=cube(), b=cube()), error=r"2 cubes of the same size.*s\.mat#a"),
    Case("rows and columns of another image", arrays("s.mat", Y=np.ones((5, 576)), nRow=9.0, nCol=9.0), error="no cube"),
    Case("rows and columns of no number", arrays("s.mat", Y=np.ones((5, 576)), nRow=np.nan, nCol=9.0), error="no cube"),
    Case("rows and columns", arrays("s.mat", Y=cube().reshape(5, -1), nRow=24.0, nCol=24.0)),
    Case("wavelengths of text", arrays("s.mat", a=cube(), wavelength=np.array(["a", "b"]))),
    Case("wavelengths of nothing", arrays("s.mat", a=cube(), wavelength=np.full(5, np.nan))),
    Case("a sensor of other bands", arrays("s.mat", "--sensor", "emit", a=cube()), error="285 bands.*--wavelengths emit:"),
    Case("bands beyond the sensor", arrays("s.mat", "--sensor", "cave", a=cube(), SlectBands=np.arange(90.0, 95)), error="31 bands"),
    Case("objects in NumPy", arrays("s.npy", v=CELL), error=r"s\.npy holds no cube: `s` 2 object|pickle"),
    Case("objects by their name", arrays("s.npy#s", v=CELL), error="no image"),
    Case("complex values in NumPy", arrays("s.npy", v=cube() * 1j), error=r"`s` 5 x 24 x 24 complex"),
    Case("text in NumPy", arrays("s.npy", v=np.array(["abc"])), error=r"holds no cube: `s` 1"),
    Case("a scalar in NumPy", arrays("s.npy", v=np.float64(1)), error="holds no cube: `s` scalar"),
    Case("truth values in NumPy", arrays("s.npy", v=cube() > 9), error="holds no cube: `s` 5 x 24 x 24 bool"),
    Case("big-endian values in NumPy", arrays("s.npy", v=cube().astype(">u2"))),
    Case("Fortran's order in NumPy", arrays("s.npy", v=np.asfortranarray(cube()))),
    Case("64-bit integers in NumPy", arrays("s.npy", v=cube(dtype="int64"))),
    Case("half floats in NumPy", arrays("s.npy", v=cube(dtype="float16")), error="would be float16.*--dtype float32"),
    Case("an empty .npy", content("s.npy", lambda _: b""), error=r"s\.npy is damaged"),
    Case("a .npy of text", content("s.npy", lambda _: b"hello" * 99), error=r"s\.npy is damaged"),
    Case("a .npy of a huge array", content("s.npy", lambda _: npy("(31, 10000000, 10000000)")), error=r"s\.npy is damaged"),
    Case("a .npy cut", content("s.npy", lambda _: npy("(5, 24, 24)", bytes(100))), error=r"s\.npy is damaged"),
    Case("a .npy of a negative shape", content("s.npy", lambda _: npy("(5, -24, 24)", bytes(9999))), error=r"s\.npy"),
    Case("a .npy of a wrong header", content("s.npy", lambda _: npy("(5, __import__('os'), 24)")), error=r"s\.npy is damaged"),
    Case("an empty .npz", content("s.npz", lambda _: b""), error=r"s\.npz is damaged"),
    Case("a .npz of a huge array", content("s.npz", npz(npy("(31, 1000000, 1000000)"))), error=r"s\.npz declares .*damaged"),
    Case("a .npz of a cut array", content("s.npz", npz(npy("(5, 24, 24)", bytes(9)))), error=r"s\.npz is damaged"),
    Case("a .npz of no array", content("s.npz", npz(b"text")), error=r"s\.npz is damaged"),
    Case("objects in .npz", arrays("s.npz", v=CELL), error=r"s\.npz holds no cube"),
    Case("an array of .npz by its name", arrays("s.npz#b", a=cube(9), b=cube())),
    Case("a missing .npz", lambda _: ["upscale", "no.npz#a", *UPSCALE], error=r"no\.npz does not exist"),
    Case("a cube in a group of HDF5", hdf5("s.h5#g/a", lambda f: f.create_dataset("g/a", data=cube()))),
    Case("no such array in HDF5", hdf5("s.h5#b", lambda f: f.create_dataset("a", data=cube())), error="holds no cube `b`: `a`"),
    Case("a compound type in HDF5", hdf5("s.h5#a", lambda f: f.create_dataset("a", (5, 9, 9), "i4,f4")), error="no image"),
    Case("a null array in HDF5", hdf5("s.h5#a", lambda f: f.create_dataset("a", data=h5py.Empty("f4"))), error="holds no cube `a`"),
    Case("text in MATLAB 7.3", hdf5("s.mat", lambda f: f.create_dataset("a", data=cube()).attrs.update({"MATLAB_class": np.bytes_("char")})), error="holds no cube"),
    *(
        Case(f"wavelengths: {name}", listed(text), error=error)
        for name, text, error in (
            ("empty", b"", "no list of numbers"),
            ("binary", b"\x00\xff\x10", "no text"),
            ("Latin-1", "wellenl\xe4nge\n400\n".encode("latin-1"), "no text"),
            ("too few", b"400\n500\n", "lists 2 bands, but s.npy holds `s` 5 x 24 x 24"),
            ("words", b"400\nabc\n600\n", "no list of numbers .line 2"),
            ("ragged", b"1,400\n2\n", "no list of numbers .line 2"),
            ("negative", b"-5\n-4\n-3\n-2\n-1\n", "no wavelength"),
            ("infinite", b"400\n500\n600\n700\ninf\n", "no wavelength"),
            ("of two units", b"0.4\n500\n600\n700\n800\n", "not of one unit"),
            ("wavenumbers", b"wavelength\n25000\n24000\n23000\n22000\n21000\n", "no wavelength"),
            ("in no order", b"400\n500\n400\n500\n400\n500\n400\n500\n400\n", "in no order"),
            ("repeated", b"400\n400\n500\n600\n700\n", "in no order"),
        )
    ),
    Case("wavelengths of a line each", listed(b"400\n500\n600\n700\n800\n")),
    Case("wavelengths and some bands", listed(b"400\n500\n600\n700\n800\n", "-b", "2..3")),
    *(Case(f"--wavelengths {given}", ranged(given), error=error) for given, error in (
        ("400:400", "no range"), ("0:0", "no range"), ("400:1e400", "no range|inf"), ("1:2:3", "lists 3 bands|no range"),
        ("nothing.csv", "does not exist"), (".", "does not exist"), ("400:2500:0", "Give 2 or more"), ("4..5", "does not exist"),
        ("400:2500:999999999999999999999", "Give 2 or more"), ("cave:1..5,99", "does not select"), ("cave:", "does not select"),
        ("400:..", "does not exist|no range"), ("1.2.3:4", "no range|does not exist"),
    )),
    Case("a range", ranged("400:2500")),
    Case("a range in micrometres", ranged("0.4:2.5")),
    Case("bands of a sensor", ranged("cave:1..5")),
)  # fmt: skip


# A product takes a second: the quick list has the refusals, and a product of each kind.
QUICK = {"an image by its name", "NaN in MATLAB", "big-endian values in NumPy", "a cube in a group of HDF5", "a range"}
CASES = tuple(c for c in ALL if c.error is not None or c.name in QUICK)
LONG_CASES = tuple(c for c in ALL if c not in CASES)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answer(case, tmp_path):
    check(case, tmp_path)


@pytest.mark.hostile
@pytest.mark.parametrize("case", LONG_CASES, ids=str)
def test_long(case, tmp_path):
    check(case, tmp_path)
