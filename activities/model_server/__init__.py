"""Asking a model server."""
