"""A living system, simulated: what does the optimizer gain in 24 windows of 40 tasks, and what do others?"""
