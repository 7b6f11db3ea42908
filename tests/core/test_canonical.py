"""The canonical URI and the id."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etagere.core.canonical import (
    MAX_FIELDS,
    decode,
    encode,
    model_key,
    query_string,
    resource_id,
    resource_uri,
    split,
    tenant_of,
)
from etagere.core.media import FORMATS, format_name, is_media_type
from etagere.errors import MalformedRequest

PAGE = (Path(__file__).parents[2] / "docs" / "identity.md").read_text()

GOLDEN = {
    "/heat@1": "spsr7s4cu4rmzbfoyvohq4pvrledbavg",
    "/heat@1?alpha=0.4&length=1&steps=1000": "hxy7d3lcte6bf3uuildqxpbl54nf5db2",
    "/m@2.0?s=%C3%A9%20%26": "zy5ftx73hh7ukgo62evomvp6m4gtcisj",
}


@pytest.mark.parametrize(("uri", "id"), GOLDEN.items())
def test_ids_never_change(uri: str, id: str) -> None:
    assert resource_id(uri) == id
    assert re.fullmatch("[a-z2-7]{32}", id)


def test_a_tenant_has_ids_of_its_own() -> None:
    uris = [resource_uri("m", "1", "x=1", tenant) for tenant in ("", "a", "b", "a/b", "a%2Fb", "é")]
    assert len({resource_id(uri) for uri in uris}) == len(uris)
    assert [tenant_of(uri) for uri in uris] == ["", "a", "b", "a/b", "a%2Fb", "é"]
    assert {model_key(uri) for uri in uris} == {"m@1"}
    assert model_key("/heat@1.2") == "heat@1.2"


def test_the_uri_has_a_query_only_where_there_are_parameters() -> None:
    assert resource_uri("m", "1", "") == "/m@1"
    assert resource_uri("m", "1", "a=1") == "/m@1?a=1"


def test_everything_but_unreserved_characters_is_encoded() -> None:
    assert encode("AZaz09-._~") == "AZaz09-._~"
    assert encode(" +&=%/?#[]é\n") == "%20%2B%26%3D%25%2F%3F%23%5B%5D%C3%A9%0A"
    assert query_string({"b": "1 2", "a": "", "Z": "é"}) == "Z=%C3%A9&a=&b=1%202"


@pytest.mark.parametrize("raw", [b"%", b"%4", b"%zz", b"a%2", b"%%41", b"%4g", b"%+1", b"%\xff1"])
def test_broken_percent_encoding_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=f"at byte {raw.index(b'%') + 1}$"):
        decode(raw)


@pytest.mark.parametrize("raw", [b"%ff", b"\xff", b"%C3", b"%ED%A0%80", b"%C0%80", b"%F5%80%80%80", b"caf%E9"])
def test_bytes_that_are_not_utf_8_are_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"UTF-8: byte 0x[0-9A-F]{2}$"):
        decode(raw)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_encoding_is_undone_by_decoding(text: str) -> None:
    assert decode(encode(text).encode()) == text
    assert decode(re.sub("%..", lambda found: found[0].lower(), encode(text)).encode()) == text
    assert re.fullmatch("(?:[A-Za-z0-9._~-]|%[0-9A-F]{2})*", encode(text))


@given(st.text(alphabet="aé% &="), st.text(alphabet="aé% &="))
def test_encoding_is_injective(one: str, other: str) -> None:
    assert (one == other) is (encode(one) == encode(other))


def test_fields_are_split_at_ampersands_only() -> None:
    assert list(split(b"&a=1&&b;c=2=3&+d+=%2B+&e&")) == [(b"a", b"1"), (b"b;c", b"2=3"), (b" d ", b"%2B "), (b"e", b"")]
    assert list(split(b"")) == []


def test_there_may_be_so_many_fields() -> None:
    assert len(list(split(b"a=1&" * MAX_FIELDS + b"&" * 1_000_000))) == MAX_FIELDS
    with pytest.raises(MalformedRequest, match="5000"):
        list(split(b"a=1&" * (MAX_FIELDS + 1)))


def test_the_page_computes_the_id_with_coreutils() -> None:
    found = re.search(r"```sh\n(?P<script>printf.*?)```\n\n```text\n(?P<id>[a-z2-7]{32})\n```", PAGE, re.DOTALL)
    assert found is not None
    told = subprocess.run(["sh", "-c", found["script"]], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == found["id"]
    uri = re.search(r"printf %s '([^']+)'", found["script"])
    assert uri is not None
    assert resource_id(uri[1]) == found["id"]


def test_formats_have_names() -> None:
    assert format_name("text/csv; charset=utf-8") == "csv"
    assert format_name("Application/JSON") == "json"
    assert format_name("application/vnd.acme.mesh+xml") == "vndacmemeshxml"
    assert format_name("chemical/x-pdb") == "pdb"
    assert format_name("a/-") == "bin"
    assert len(set(FORMATS.values())) == len(FORMATS)


@pytest.mark.parametrize("text", ["", "json", "a/b/c", "a/b\r\nX: 1", "text/csv;", "text/csv; a", "text/ csv", "é/x"])
def test_what_is_no_media_type(text: str) -> None:
    assert not is_media_type(text)


def test_media_types() -> None:
    assert all(is_media_type(text) for text in [*FORMATS, "text/csv;charset=utf-8", 'a/b; c="d e"; f=g'])
