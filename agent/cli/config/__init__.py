"""`plateseal config`: a fleet's files, checked, shown, and signed into one bundle per camera unit."""

from __future__ import annotations

from agent.cli.lazy import Place, group

app = group(
    "Check a fleet's configuration, show where each value comes from, sign it.",
    {
        "check": Place(
            "agent.cli.config.check:check",
            "Check every file of a fleet, or one unit's file, and name all mistakes at once. "
            "Exits 0 only if there are none.",
        ),
        "show": Place(
            "agent.cli.config.show:show",
            "Print what holds for one unit, and the file and line that each value comes from.",
        ),
        "schema": Place(
            "agent.cli.config.schema:schema",
            "Print the JSON Schema of a layer's files, from which editors complete and check.",
        ),
        "plates": Place(
            "agent.cli.config.plates:plates",
            "List the countries and states whose formats of number plates are known, or the formats of those that are "
            "named.",
        ),
        "sign": Place(
            "agent.cli.config.sign:sign",
            "Sign units' configurations: one file per camera unit, in minisign's format, with a serial number.",
        ),
        "verify": Place(
            "agent.cli.config.verify:verify",
            "Check a bundle as the unit does, and say in one line why it would be refused.",
        ),
    },
)
