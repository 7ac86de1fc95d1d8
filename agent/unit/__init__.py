"""The daemons, and the only place on the device that builds adapters."""
