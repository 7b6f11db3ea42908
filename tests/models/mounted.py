"""A host application that mounts the models of `conversation.py` under a prefix."""

from __future__ import annotations

from fastapi import FastAPI
from tests.models.conversation import app as models

host = FastAPI(lifespan=models.lifespan)
host.mount("/science/models", models)


@host.get("/hello")
def hello() -> str:
    return "hello"
