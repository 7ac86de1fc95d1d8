"""`plateseal models`: which models there are, checking their files against the manifest, and getting one."""

from __future__ import annotations

from agent.cli.lazy import Place, group

app = group(
    "List, verify and fetch models. Only `fetch` uses the network.",
    {
        "list": Place(
            "agent.cli.models.list:list_models",
            "List the models of the manifest in order of preference, and which of them are here.",
        ),
        "verify": Place(
            "agent.cli.models.verify:verify",
            "Check model files against the digests of the manifest.",
        ),
        "fetch": Place(
            "agent.cli.models.fetch:fetch",
            "Download a model once, check it against its published digest, and put it where every command finds it.",
        ),
    },
)
