"""`plateseal spool`: what waits on a unit, whether it is whole, and what was set aside."""

from __future__ import annotations

from agent.cli.lazy import Place, group

app = group(
    "Look at the sealed reads that wait on a unit, and at those set aside.",
    {
        "list": Place(
            "agent.cli.spool.list:list_spool",
            "Count what waits and what is set aside, with the oldest read's time and the reasons. Changes nothing.",
        ),
        "verify": Place(
            "agent.cli.spool.verify:verify",
            "Check every pending envelope: its form, its digest and the unit's signature. "
            "Names the bad ones; changes nothing.",
        ),
        "release": Place(
            "agent.cli.spool.release:release",
            "Bring an envelope that was set aside back to the pending ones, if it is whole. "
            "Upload must be stopped meanwhile.",
        ),
    },
)
