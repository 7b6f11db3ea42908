"""The ASGI side: requests in, responses out."""
