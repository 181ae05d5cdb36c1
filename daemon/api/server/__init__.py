"""Uvicorn in a thread of its own, and the protocol that bounds slow clients."""
