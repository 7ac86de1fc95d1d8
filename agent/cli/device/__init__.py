"""`plateseal device`: the identity of a unit."""

from __future__ import annotations

from agent.cli.lazy import Place, group

app = group(
    "Make a unit's keys, rotate them, and ask for them to be enrolled.",
    {
        "init": Place(
            "agent.cli.device.init:init",
            "Make a unit's identity, on the unit: a signing key, a TLS key, and enrolment.json for its owner.",
        ),
        "rotate": Place(
            "agent.cli.device.rotate:rotate",
            "Give a unit a new signing key and TLS key, vouched for by the old one, while it runs.",
        ),
    },
)
