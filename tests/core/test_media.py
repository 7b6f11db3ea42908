from __future__ import annotations

import pytest

from etagere.core.media import FORMATS, coded_name, compresses, format_name


@pytest.mark.parametrize(
    ("media_type", "worth"),
    [
        ("application/json", True), ("text/csv; charset=utf-8", True), ("image/svg+xml", True),
        ("application/geo+json", True), ("application/vnd.apache.arrow.stream", True), ("APPLICATION/JSON", True),
        ("application/vnd.apache.parquet", False), ("image/png", False), ("application/octet-stream", False),
        ("application/gzip", False),
    ],
)  # fmt: skip
def test_what_is_compressed_already_is_not_compressed_again(media_type: str, worth: bool) -> None:
    assert compresses(media_type) is worth


def test_the_name_of_a_coded_variant() -> None:
    assert [coded_name("csv", coding) for coding in ("identity", "gzip", "zstd")] == ["csv", "csv.gz", "csv.zst"]


@pytest.mark.parametrize(
    ("media_type", "name"),
    [
        ("text/csv; charset=utf-8", "csv"),
        ("application/x-netcdf", "nc"),
        ("chemical/x-pdb", "pdb"),
        ("application/vnd.example.a+b", "vndexampleab"),
        ("x/-", "bin"),
    ],
)
def test_every_media_type_has_a_name(media_type: str, name: str) -> None:
    assert format_name(media_type) == name


def test_no_two_types_have_one_name() -> None:
    assert len(set(FORMATS.values())) == len(FORMATS)
