"""Conversations in requests: people's words, which are classified, and the state that ties a conversation to the model that answered before."""
