"""The routes of the gateway."""

from __future__ import annotations

from typing import Literal

import attrs

from aamc_gateway.arena import arena_handler as arena
from aamc_gateway.dashboard import endpoints as dashboard
from aamc_gateway.dashboard import sign_in
from aamc_gateway.feedback.client_feedback import feedback
from aamc_gateway.observe import endpoints as observation
from aamc_gateway.server.http import model_endpoints
from aamc_gateway.server.http.answers import RouteEndpoint
from aamc_gateway.server.http.model_endpoints import ask_endpoint
from aamc_gateway.server.http.pass_through import PASSED, pass_through
from aamc_gateway.server.http.route_endpoint import explain_route


@attrs.frozen
class Route:
    """A path and its endpoint.

    Attributes:
        path: The path; ``{name}`` stands for a part, ``{name:path}`` for the rest.
        methods: The methods that it answers.
        endpoint: Answers the requests.
        scope: Who may call it: holders of a key, of an admin key or the dashboard's cookie, or anyone.
    """

    path: str
    methods: tuple[str, ...]
    endpoint: RouteEndpoint
    scope: Literal["user", "admin", "public"] = "user"


def all_routes() -> list[Route]:
    """Return the routes, those of the gateway's other packages included."""
    return [
        Route("/v1/chat/completions", ("POST",), ask_endpoint("chat", "chat")),
        Route("/v1/messages", ("POST",), ask_endpoint("messages", "messages")),
        Route("/v1/messages/count_tokens", ("POST",), model_endpoints.count_tokens),
        Route("/v1/responses", ("POST",), ask_endpoint("responses", "responses")),
        Route("/v1/completions", ("POST",), ask_endpoint("completions", "completions")),
        Route("/v1/embeddings", ("POST",), ask_endpoint("chat", "embeddings")),
        Route("/v1/models", ("GET",), model_endpoints.models),
        Route("/v1/models/{name:path}", ("GET",), model_endpoints.model),
        *(Route(path, methods, pass_through) for path, methods in PASSED),
        Route("/v1/route", ("POST",), explain_route),
        Route("/v1/feedback", ("POST",), feedback),
        Route("/v1/arena/{id}", ("GET",), arena.match),
        Route("/v1/arena/{id}/vote", ("POST",), arena.vote),
        Route("/", ("GET",), dashboard.root, "public"),
        Route("/dashboard", ("GET",), dashboard.index, "public"),
        Route("/dashboard/static/{name}", ("GET",), dashboard.static_file, "public"),
        Route("/dashboard/session", ("GET",), sign_in.session, "public"),
        Route("/dashboard/login", ("POST",), sign_in.login, "public"),
        Route("/dashboard/logout", ("POST",), sign_in.logout, "public"),
        Route("/admin/overview", ("GET",), dashboard.overview_figures, "admin"),
        Route("/admin/decisions", ("GET",), dashboard.recent_decisions, "admin"),
        Route("/admin/decisions/{id}", ("GET",), dashboard.decision_figures, "admin"),
        Route("/admin/posteriors", ("GET",), dashboard.posterior_figures, "admin"),
        Route("/admin/trials", ("GET",), dashboard.trial_figures, "admin"),
        Route("/admin/spending", ("GET",), dashboard.spending_figures, "admin"),
        Route("/admin/feedback", ("POST",), feedback, "admin"),
        Route("/admin/arena", ("GET",), arena.next_match, "admin"),
        Route("/admin/arena/{id}/vote", ("POST",), arena.vote, "admin"),
        Route("/metrics", ("GET",), observation.metrics, "public"),
        Route("/healthz", ("GET",), observation.healthz, "public"),
        Route("/readyz", ("GET",), observation.readyz, "public"),
    ]
