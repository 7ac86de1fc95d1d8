"""Configuration: what a unit may be told, checked in full before anything starts.

Secrets never stand in a configuration, only the paths of files that hold them.
"""
