# Varnish in front of Etagere: /etc/varnish/default.vcl. What follows each subroutine is Varnish's own VCL.
# For targets of 60,000 bytes: varnishd -p http_req_size=72k -p http_req_hdr_len=64k -p workspace_client=256k
#                                       -p workspace_backend=256k
vcl 4.1;

backend default {
    .host = "127.0.0.1";
    .port = "8000";
    .first_byte_timeout = 60s;
}

sub vcl_recv {
    # A request that waits for a run would hold all others for the same URI, since Varnish sends only one of them on.
    if (req.http.Prefer ~ "(?i)\bwait\b") {
        return (pass);
    }
    # Varnish does not know this method, and would give the whole connection away.
    if (req.method == "QUERY") {
        return (pass);
    }
    # A stream of events is passed on as it comes.
    if (req.url ~ "^/r/[a-z2-7]+/events$") {
        return (pipe);
    }
}

sub vcl_backend_fetch {
    # Links are relative, so Etagere need not know the public name; without this it has to be in allowed_hosts.
    set bereq.http.Host = "localhost";
}

sub vcl_deliver {
    if (obj.hits > 0) {
        set resp.http.X-Cache = "HIT";
    } else {
        set resp.http.X-Cache = "MISS";
    }
}
