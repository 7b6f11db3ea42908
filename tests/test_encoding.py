"""What a model returns → bytes, or a word on why not."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import dataclass
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from etagere.encoding import EncodingError, encode, is_json


def encoded(value: object, media_type: str | None = None, nan: Any = "refuse", directory: Path = Path()) -> bytes:
    result = encode(value, media_type=media_type, nan=nan, directory=directory)
    assert isinstance(result, bytes | bytearray)
    return bytes(result)


class Colour(Enum):
    red = "r"


class Word(StrEnum):
    one = "1"


@dataclass
class Rod:
    length: float
    x: Any


class Parcel(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    weight: float
    contents: Any = None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)  # fmt: skip


@given(VALUES)
def test_json_comes_back_as_it_was_in_its_order(value: Any) -> None:
    back = json.loads(encoded(value))
    assert back == value
    if isinstance(value, dict):
        assert list(back) == list(value)


FEW = st.lists(VALUES, max_size=3)


@given(FEW, st.sampled_from([math.nan, math.inf, -math.inf]), FEW)
def test_the_first_number_that_is_not_finite_is_named(before: list[Any], number: float, after: list[Any]) -> None:
    with pytest.raises(EncodingError, match=rf"^steps\[{len(before)}\]\.u is not a finite number"):
        encode({"steps": [*before, {"u": number}, *after]}, media_type=None, nan="refuse", directory=Path())


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (math.nan, "the result"),
        (np.float32("inf"), "the result"),
        ({"a": np.array([[1.0, 2.0], [3.0, math.nan]])}, r"a\[1\]\[1\]"),
        ({"a": np.array([1.0, math.nan, 2.0], dtype=np.float16)[::-1]}, r"a\[1\]"),
        ({"a": np.array([1.0, math.nan], dtype=object)}, r"a\[1\]"),
        (Rod(1.0, (0.0, -math.inf)), r"x\[1\]"),
        ([Parcel(weight=math.nan)], r"\[0\]\.weight"),
        (Parcel(weight=1.0, contents={"y": np.array([math.nan])}), r"contents\.y\[0\]"),
    ],
)
def test_it_is_found_wherever_it_hides_and_null_where_that_is_wanted(value: object, path: str) -> None:
    with pytest.raises(EncodingError, match=f"^{path} is not a finite number"):
        encoded(value)
    assert b"null" in encoded(value, nan="null")


def test_none_is_null_and_no_fault() -> None:
    assert encoded({"a": None, "b": [None, 1.5]}) == b'{"a":null,"b":[null,1.5]}'


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Rod(1.0, [Colour.red, Word.one]), b'{"length":1.0,"x":["r","1"]}'),
        (Parcel(weight=2.0, contents=np.arange(4)[::2]), b'{"weight":2.0,"contents":[0,2]}'),
        (np.arange(6).reshape(2, 3), b"[[0,1,2],[3,4,5]]"),
        (np.asfortranarray([[1.0, 2.0], [3.0, 4.0]]), b"[[1.0,2.0],[3.0,4.0]]"),
        (np.array(3.5), b"3.5"),
        (np.longdouble(0.5), b"0.5"),
        (np.array([0.5], dtype=np.longdouble), b"[0.5]"),
        (np.array(["a", "b"]), b'["a","b"]'),
        (np.array([True, False])[::-1], b"[false,true]"),
        (np.array(["2020-01-01", "2020-01-03"], dtype="M8[s]")[::-2], b'["2020-01-03T00:00:00"]'),
        (np.array([(1,), (2,)], dtype=[("n", "i8")]).view(np.recarray).n, b"[1,2]"),
        ({"mean": np.float64(0.1), "n": np.int16(3), "ok": np.bool_(True)}, b'{"mean":0.1,"n":3,"ok":true}'),
    ],
)  # fmt: skip
def test_values_of_the_usual_libraries(value: object, expected: bytes) -> None:
    assert encoded(value) == expected


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"a": {1: 2}}, "the keys of a must be text, and 1 is not"),
        ({None: 2}, "the keys of the result must be text, and None is not"),
        ([{"b": [{Colour.red: 1}]}], r"the keys of \[0\]\.b\[0\] must be text"),
        ({1, 2}, "a set has no form in JSON"),
        ([b"x"], "a bytes has no form in JSON"),
        (2**64, "64-bit"),
        ("\ud800", "UTF-8"),
        (np.array([1 + 2j]), "of type complex128 has no form in JSON"),
        (np.ma.masked_array([1.0, 2.0], [0, 1]), "a MaskedArray"),
        (np.array([(1, 2.0)], dtype=[("x", "i4"), ("y", "f8")]), "has no form in JSON"),
        (np.array(["NaT"], dtype="M8[s]"), "unrepresentable"),
        (np.array([1], dtype=">i4"), "native-endianness"),
        (np.timedelta64(1, "s"), "a timedelta64"),
        (Parcel(weight=1.0, contents=object()), "a object has no form in JSON"),
        (lambda: None, "a function has no form in JSON"),
    ],
)
def test_what_json_does_not_have_is_refused_with_a_reason(value: object, reason: str) -> None:
    with pytest.raises(EncodingError, match=reason):
        encoded(value)


def test_a_structure_within_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(EncodingError, match="not JSON"):
        encoded(value)


@pytest.mark.parametrize("value", [b"a,b", bytearray(b"a,b"), memoryview(b"a,b"), memoryview(b"axxx,xxxb")[::4]])
def test_bytes_need_a_media_type(value: object) -> None:
    if not isinstance(value, memoryview) or value.contiguous:
        assert encoded(value, "text/csv") == b"a,b"
    with pytest.raises(EncodingError, match="must declare its media_type"):
        encoded(value)


def test_a_media_type_that_is_not_json_needs_bytes() -> None:
    with pytest.raises(EncodingError, match="declared as text/csv, so the model must return bytes or a file"):
        encoded("a,b", "text/csv")
    assert encoded({"type": "Point"}, "application/geo+json") == b'{"type":"Point"}'
    assert encoded(b"{}", "application/json") == b"{}"


def test_files_are_the_runs_own(tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / "inner").mkdir(parents=True)
    (work / "inner" / "a.txt").write_text("a")
    (tmp_path / "outside.txt").write_text("b")
    (work / "link.txt").symlink_to(work / "inner" / "a.txt")
    (work / "way out").symlink_to(tmp_path)

    def given(path: str | Path) -> object:
        return encode(Path(path), media_type="text/plain", nan="refuse", directory=work)

    assert given("inner/a.txt") == given(work / "inner" / "a.txt") == work / "inner" / "a.txt"
    for path in (
        "../outside.txt",
        tmp_path / "outside.txt",
        "link.txt",
        "way out/outside.txt",
        "inner",
        "missing",
        ".",
    ):
        with pytest.raises(EncodingError, match="cannot be the result"):
            given(path)


def test_numpy_is_not_imported_for_those_who_do_not_use_it() -> None:
    code = (
        "import sys; from pathlib import Path; from etagere.encoding import encode;"
        "encode({'a': [None, 1.5]}, media_type=None, nan='refuse', directory=Path()); print('numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("media_type", ["application/json", "Application/JSON; charset=utf-8", "application/geo+json"])
def test_json_by_any_name(media_type: str) -> None:
    assert is_json(media_type)
    assert not is_json(media_type.replace("json", "xml").replace("JSON", "xml"))
