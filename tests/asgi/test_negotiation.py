from __future__ import annotations

import pytest

from etagere.asgi.negotiation import Wanted, negotiate

CHROME = b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (None, Wanted.representation),
        (b"", Wanted.representation),
        (b"*/*", Wanted.representation),
        (b"application/json", Wanted.representation),
        (b"application/*;q=0.2", Wanted.representation),
        (CHROME, Wanted.page),
        (b"text/html", Wanted.page),
        (b"text/html, application/json", Wanted.representation),
        (b"text/html;q=0.5, */*;q=0.6", Wanted.representation),
        (b"text/*", Wanted.nothing),
        (b"text/csv", Wanted.nothing),
        (b"application/json;q=0, */*", Wanted.nothing),
        (b"application/json;q=2", Wanted.nothing),
        (b"*/*;q=x", Wanted.nothing),
        (b"*/*;q=1.x", Wanted.nothing),
        (b"TEXT/HTML;q=1.0;level=1", Wanted.page),
    ],
)
def test_a_page_only_where_html_is_named_and_preferred(accept: bytes | None, wanted: Wanted) -> None:
    assert negotiate(accept, "application/json") is wanted


def test_a_model_that_gives_html_gives_it() -> None:
    assert negotiate(CHROME, "text/html") is Wanted.representation


def test_parameters_of_the_models_media_type_do_not_matter() -> None:
    assert negotiate(b"text/csv", "text/csv; charset=utf-8") is Wanted.representation
