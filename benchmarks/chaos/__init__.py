"""A life of an image in which everything goes wrong that can, and a checker that looks at it from outside."""
