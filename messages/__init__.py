"""What people, workflows and activities tell each other, and the names they all go by.

Two that cross as well stand elsewhere: `configuration.Settings` and `workflows.image_state.ImageState`.
What is told and kept lives in histories for years: a field added later needs a default.
"""
