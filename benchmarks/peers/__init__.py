"""The same work by other engines, each in a program of its own as its documentation would have it written.

`make bench-peers`, which gives them an environment of their own.
"""
