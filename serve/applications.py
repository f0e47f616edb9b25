"""The Ray Serve applications of a cluster: deployed, found, deleted. Serve itself is shared by all clusters."""

from __future__ import annotations

import contextlib
import socket

from ray import serve
from ray.serve.context import _get_global_client

from daycache_ray.words.naming import http_application_name, predictor_application_name

HOST = "127.0.0.1"
"""Where Serve listens when this starts it. A Serve that runs already keeps its own host and port."""


def deploy_http(name: str) -> str:
    """Serve a cluster's HTTP door and return its URL; a second cluster's lies below `/<name>`.

    Raises:
        RuntimeError: Serve could not start the application; its message says why.
    """
    from daycache_ray.serve.http_api import build_app

    host, port = _start()
    prefix = "/" if not _other_http_applications(name) else f"/{name}"
    serve.run(build_app(name), name=http_application_name(name), route_prefix=prefix)
    return f"http://{host}:{port}{prefix.rstrip('/')}"


def deploy_predictor(name: str) -> None:
    """Serve a cluster's network; it has no HTTP route, only handles."""
    from daycache_ray.serve.predictor import build_app

    _start()
    serve.run(build_app(name), name=predictor_application_name(name), route_prefix=None)


def delete_applications(name: str) -> None:
    """Take a cluster's applications off a Serve that runs."""
    applications = serve.status().applications
    for application in (http_application_name(name), predictor_application_name(name)):
        if application in applications:
            with contextlib.suppress(Exception):  # a Serve that is going down anyway
                serve.delete(application)


def _start() -> tuple[str, int]:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        free_port = probe.getsockname()[1]
    serve.start(proxy_location="HeadOnly", http_options={"host": HOST, "port": free_port})
    client = _get_global_client()
    assert client is not None, "serve.start has just made it"
    return client.http_config.host or HOST, client.http_config.port


def _other_http_applications(name: str) -> list[str]:
    own = http_application_name(name)
    return [other for other in serve.status().applications if other.endswith("-http") and other != own]
