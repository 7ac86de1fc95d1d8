"""Training of the built-in models: rendering, data, networks, export, measurement.

Needs the extra `train` (PyTorch, Pillow). Nothing in the agent imports it.
"""
