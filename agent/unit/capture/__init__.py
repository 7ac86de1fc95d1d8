"""The capture daemon: frames in, sealed reads in the spool."""
