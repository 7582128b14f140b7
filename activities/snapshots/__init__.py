"""Snapshots of a living image."""
