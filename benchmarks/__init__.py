"""What Etagere costs, measured against a bare ASGI application on the same server."""
