"""The settings: defaults < `Etagere(**settings)` < `etagere.toml` < `ETAGERE_*` environment < command line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import ByteSize, Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


class Settings(BaseSettings):
    """One schema for every way of setting; sizes are bytes, times are seconds."""

    model_config = SettingsConfigDict(
        env_prefix="ETAGERE_", toml_file="etagere.toml", extra="forbid", frozen=True, validate_default=True
    )

    data: Path = Field(Path(".etagere"), description="The data directory; one service at a time.")
    host: str = Field("127.0.0.1", description="The address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="The port to listen on; 0 chooses a free one.")
    runs: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, le=1024, description="Runs at once.")
    allowed_hosts: tuple[str, ...] = Field((), description="More names that may stand in Host; '*' allows all.")
    max_pending: int = Field(1000, ge=1, description="Runs that may be pending before new ones get 503.")
    max_target: int = Field(60_000, ge=256, le=60_000, description="The longest request target, in bytes.")
    max_result: ByteSize = Field(ByteSize(GIB), description="The largest result of a run.")
    cache_size: ByteSize = Field(ByteSize(10 * GIB), description="What the cache may hold on disk.")
    memory_cache_size: ByteSize = Field(ByteSize(64 * MIB), description="Bodies in use that are held in memory.")
    access_log: bool = Field(False, description="Log each request.")
    dev: bool = Field(False, description="Reload on change; the source's hash joins the versions.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over file; what the command line gives is passed as init and comes first."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @classmethod
    def layered(cls, defaults: dict[str, Any], overrides: dict[str, Any]) -> Settings:
        """The settings with an application's `defaults` below and the command line's `overrides` above the rest."""
        found = cls(**overrides)
        missing = {name: value for name, value in defaults.items() if name not in found.model_fields_set}
        return cls(**{**missing, **overrides}) if missing else found
