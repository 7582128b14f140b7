"""Every model that crosses a boundary: between a person, the workflows and the activities.

What is told and kept lives in histories for years: a field added later needs a default.
"""
