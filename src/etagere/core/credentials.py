"""What shows who asks, as it looks: so that it can be covered where it should not stand."""

from __future__ import annotations

import re

PREFIX = "etagere_"
"""What API keys begin with."""

_COVER = "***"
# Keys have 43 characters more, of which some may be missing. A token begins with '{"' in base64url (RFC 7519 §3).
_SECRETS = re.compile(rf"{PREFIX}[\w-]{{30,}}|eyJ[\w-]{{10,}}\.[\w-]{{10,}}(?:\.[\w-]*)?", re.ASCII)


def covered(text: str) -> str:
    """The text without what looks like an API key or a JSON Web Token."""
    return _SECRETS.sub(_COVER, text) if PREFIX in text or "eyJ" in text else text
