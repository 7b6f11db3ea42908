"""Fields that mean nothing here change nothing of an answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness import Answer, Server

from etagere import keys
from etagere.core.clients import Role

MODELS = Path(__file__).parents[1] / "models" / "access.py"
ADDRESSED = [
    "Forwarded",
    "X-Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Proto",
    "X-Forwarded-Scheme",
    "X-Forwarded-Server",
    "X-Forwarded-Ssl",
    "X-Forwarded-Prefix",
    "X-Forwarded-Path",
    "X-Forwarded-Uri",
    "X-Forwarded-By",
    "X-Real-IP",
    "X-Client-IP",
    "X-Remote-IP",
    "X-Remote-Addr",
    "X-Remote-Host",
    "X-Originating-IP",
    "X-Original-For",
    "X-Cluster-Client-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "CF-IPCountry",
    "CF-Ray",
    "CF-Visitor",
    "Fastly-Client-IP",
    "Fly-Client-IP",
    "Client-IP",
    "Via",
    "X-Via",
    "X-ProxyUser-IP",
    "X-Host",
    "X-Original-Host",
    "X-HTTP-Host-Override",
    "X-Backend-Host",
    "Host-Override",
    "Base-Url",
    "X-Base-Url",
    "Proxy-Host",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-Original-URI",
    "X-Request-URI",
    "X-Override-URL",
    "X-Path",
    "Request-Uri",
    "Uri",
    "Url",
    "X-Url",
    "Redirect",
    "X-Accel-Redirect",
    "X-Accel-Expires",
    "X-Accel-Buffering",
    "X-Sendfile",
    "X-Sendfile-Type",
    "X-Lighttpd-Send-File",
    "X-Script-Name",
]
SAID = [
    "X-HTTP-Method",
    "X-HTTP-Method-Override",
    "X-Method-Override",
    "X-Http-Verb",
    "Method-Override",
    "X-Requested-With",
    "X-CSRF-Token",
    "X-User",
    "X-User-Id",
    "X-User-Name",
    "X-Username",
    "X-Remote-User",
    "Remote-User",
    "X-Auth-User",
    "X-Auth-Token",
    "X-Auth-Request-User",
    "X-Authenticated-User",
    "X-API-Key",
    "Api-Key",
    "X-Access-Token",
    "X-Token",
    "X-JWT-Assertion",
    "X-Admin",
    "X-Role",
    "X-Roles",
    "X-Groups",
    "X-Tenant",
    "X-Tenant-Id",
    "X-Organization",
    "X-Account",
    "X-Client",
    "X-Client-Id",
    "X-Client-Cert",
    "X-SSL-Client-Cert",
    "X-SSL-Client-Verify",
    "X-Amzn-Oidc-Data",
    "X-Goog-Iap-Jwt-Assertion",
    "X-MS-Client-Principal",
    "Proxy-Authorization",
    "Cookie",
    "Cookie2",
    "From",
    "Referer",
    "Origin",
    "User-Agent",
    "DNT",
    "Sec-GPC",
    "Sec-CH-UA",
    "Sec-CH-UA-Mobile",
    "Sec-CH-UA-Platform",
    "Sec-Fetch-Dest",
    "Sec-Fetch-User",
    "Save-Data",
    "Viewport-Width",
    "Width",
    "DPR",
    "Downlink",
    "ECT",
    "RTT",
    "Device-Memory",
    "Accept-Language",
    "Accept-Charset",
    "Accept-Datetime",
    "Accept-CH",
    "Accept-Post",
    "Accept-Patch",
    "Content-Language",
    "Content-Location",
    "Content-Disposition",
    "Pragma",
    "Warning",
    "Age",
    "Date",
    "Expires",
    "Last-Modified",
    "If-Modified-Since",
    "If-Unmodified-Since",
    "ETag",
    "Vary",
    "Surrogate-Capability",
    "Surrogate-Control",
    "CDN-Loop",
    "Max-Forwards",
    "Upgrade-Insecure-Requests",
    "Early-Data",
    "Link",
    "Location",
    "Server",
    "X-Powered-By",
    "X-Debug",
    "X-Debug-Token",
    "Debug",
    "X-Test",
    "X-Format",
    "X-Version",
    "Api-Version",
    "Accept-Version",
    "X-Cache",
    "X-Cache-Key",
    "X-Varnish",
    "X-No-Cache",
    "X-Purge",
    "Fastly-Debug",
    "X-Timer",
    "X-Request-Id",
    "X-Correlation-Id",
    "X-Trace-Id",
    "X-B3-TraceId",
    "X-B3-SpanId",
    "X-Amzn-Trace-Id",
    "X-Cloud-Trace-Context",
    "traceparent",
    "tracestate",
    "baggage",
    "uber-trace-id",
    "X-Wap-Profile",
    "X-Att-Deviceid",
    "X-Nonexistent",
    "Idempotency-Key",
    "Depth",
    "Destination",
    "Overwrite",
]
NAMES = [*ADDRESSED, *SAID]
VALUES = ("evil.example", "127.0.0.1", "/keyed?x=1", "POST")
ROUTES = (
    "/shared?x=5",
    "/shared@1?x=5",
    "/r/{id}",
    "/r/{id}/status",
    "/keyed?x=5",
    "/nonesuch",
    "/",
    "/-/openapi.json",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("data")
    keys.add(data / "keys.json", "alice", Role.client, None, None, time.time())
    with Server.serve(MODELS, data) as server:
        yield server


def told(answer: Answer) -> tuple[int, list[tuple[str, str]], bytes]:
    headers = [(name, value) for name, value in answer.headers.items() if name.lower() not in ("date", "connection")]
    return answer.status, headers, answer.body


def test_there_are_many() -> None:
    assert len({name.lower() for name in NAMES}) == len(NAMES) >= 150


@pytest.mark.parametrize("route", ROUTES)
def test_they_change_nothing(server: Server, route: str) -> None:
    id = server.result("/shared?x=5").etag[1:33]
    target = route.format(id=id)
    plain = told(server.get(target))
    for number, name in enumerate(NAMES):
        value = VALUES[number % len(VALUES)]
        if name.startswith("If-") or name in ("Date", "Expires", "Last-Modified"):
            value = "Sun, 06 Nov 1994 08:49:37 GMT"
        assert told(server.request("GET", target, {name: value})) == plain, f"{name}: {value}"
    everything = dict.fromkeys(NAMES[:90], VALUES[0])
    assert told(server.request("GET", target, everything)) == plain
