"""Does not import."""

from __future__ import annotations

import etagere

app = etagere.Etagere()
scale = 1 / (len("") * 2)
