"""The life of an image as one page: what is read of it, and how it is told."""
