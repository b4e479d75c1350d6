"""Traces of episodes: as a document, in the decision log, in the terminal, and as a page of HTML."""

from aamc_router_r1.trace.document import document
from aamc_router_r1.trace.log import decision_of, document_of, logged
from aamc_router_r1.trace.page import page
from aamc_router_r1.trace.terminal import line

__all__ = ["decision_of", "document", "document_of", "line", "logged", "page"]
