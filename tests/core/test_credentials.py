"""Keys and tokens are covered, and what only looks a little like them is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etagere.core.credentials import PREFIX, covered

KEY = PREFIX + "Ab-_" * 10 + "xyz"
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl-_"


@given(before=st.text(), after=st.text("\x00\n\x1b \"'.,;&=\\é"))
@pytest.mark.parametrize("secret", [KEY, KEY[:-8], TOKEN, TOKEN.rpartition(".")[0], TOKEN.rpartition(".")[0] + "."])
def test_a_secret_is_covered_wherever_it_stands(secret: str, before: str, after: str) -> None:
    assert secret not in covered(f"{before}{secret}{after}")


@pytest.mark.parametrize(
    "text", ["etagere_requests_total", "/srv/etagere_data/run", "etagere keys add", "heyJude.py", "eyJ", "a.b.c", ""]
)
def test_other_text_is_left_as_it_is(text: str) -> None:
    assert covered(text) is text or covered(text) == text
