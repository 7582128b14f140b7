"""Python itself imports it in every process of the worker, see ../points.py."""

from benchmarks.chaos.points import watch

watch()
