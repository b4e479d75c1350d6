"""The components of aamc-gmtrouter."""

from __future__ import annotations

from aamc_sdk import Component, hookimpl


@hookimpl
def aamc_routers() -> list[Component]:
    """Offer the personal router and simple routers to compare it with."""
    return [
        Component("gmtrouter", "aamc_gmtrouter.router:GMTRouter", "Predicts from a graph of a user's rated turns which model the user will prefer."),
        Component("bradley-terry", "aamc_gmtrouter.baselines:BradleyTerry", "The model that users prefer on average."),
        Component("user-elo", "aamc_gmtrouter.baselines:UserElo", "A user's Elo ratings, shrunk towards the ratings of all users."),
        Component("user-ridge", "aamc_gmtrouter.baselines:UserRidge", "Ridge regression over models, on a user's own feedback."),
    ]


@hookimpl
def aamc_datasets() -> list[Component]:
    """Offer the format of users' rated answers."""
    return [
        Component("interactions", "aamc_gmtrouter.interactions:Interactions", "Users' queries, the models that answered, and ratings of the answers.")
    ]
