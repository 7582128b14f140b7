"""What tests and benchmarks run on: a scripted model server, an image in its world, ports, processes."""
