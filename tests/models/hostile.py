"""Models whose every text tries to be markup or script."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

import etagere

SCRIPT = "</script></textarea></title><script>owned = 1; document.title = 'owned'</script>"
LOADER = '"\'><img src=x onerror="owned = 2"><svg onload="owned = 3">'
LINK = "javascript:owned=4"

app = etagere.Etagere()


class Inner(BaseModel):
    text: str = SCRIPT


@app.model(version="1", examples=[{"text": SCRIPT + LOADER}])
def hostile(
    text: Annotated[str, Field(description=SCRIPT + LOADER)] = LOADER,
    choice: Annotated[
        Literal["javascript:owned=4", "\"'><script>owned=5</script>"] | None, Field(description=LINK)
    ] = None,
    inner: Inner = Inner(),  # noqa: B008
    refuse: bool = False,
    steps: int = 0,
) -> dict[str, object]:
    """</p><script>owned = 6</script><img src=x onerror="owned = 7">

    {{ 7 * 7 }} <a href="javascript:owned=8">a link</a>
    """
    etagere.progress(0.5, SCRIPT + LOADER)
    if refuse:
        raise etagere.Refused(SCRIPT + LOADER + LINK)
    return {
        SCRIPT: LOADER,
        "link": LINK,
        LOADER: [1.5, 2.5, 3.5],
        "nested": {SCRIPT: [{LOADER: SCRIPT, "deep": [LINK]}, {"other": [text]}]},
    }


@app.model(version="1", media_type="image/svg+xml")
def picture() -> bytes:
    """A picture with a script in it."""
    drawn = b'<script>top.owned = 9</script><path d="M0 0h2v1z"/>'
    return b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 2 1">%b</svg>' % drawn


@app.model(version="1", media_type="text/plain")
def words() -> bytes:
    """Text that is markup."""
    return (SCRIPT + LOADER).encode()
