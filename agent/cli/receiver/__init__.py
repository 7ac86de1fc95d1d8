"""`plateseal receiver`: the reference receiver."""

from __future__ import annotations

from agent.cli.lazy import Place, group

app = group(
    "Run the reference receiver and enrol units with it.",
    {
        "init": Place(
            "agent.cli.receiver.init:init",
            "Make a bench receiver: CA, server certificate, receipt key, empty store. Overwrites nothing.",
        ),
        "enrol": Place(
            "agent.cli.receiver.enrol:enrol_device",
            "Enrol a unit and issue its TLS certificate; for a unit that is enrolled, renew it.",
        ),
        "renew": Place(
            "agent.cli.receiver.renew:renew",
            "Renew the receiver's own certificate, or those that units ask for; a running receiver takes them at once.",
        ),
        "receipt-key": Place(
            "agent.cli.receiver.receipt_key:receipt_key",
            "Change the key that signs receipts: prepare the next one, then take it; earlier receipts stay good.",
        ),
        "revoke": Place(
            "agent.cli.receiver.revoke:revoke",
            "End a unit's right to send, after a theft or a copied key. It takes effect at once and is not undone.",
        ),
        "operator": Place(
            "agent.cli.receiver.operator:operator",
            "Let a person see the fleet page: make a certificate that their browser imports, "
            "and the passphrase for that.",
        ),
        "serve": Place(
            "agent.cli.receiver.serve:serve",
            "Take envelopes from enrolled units until SIGTERM or Ctrl-C.",
        ),
        "verify": Place(
            "agent.cli.receiver.verify:verify",
            "Check every stored envelope, and name what is missing, altered, forged, reordered or replayed.",
        ),
        "drop-epoch": Place(
            "agent.cli.receiver.drop_epoch:drop_epoch",
            "Drop the reads of epochs whose keys are destroyed: the disk comes back, and receipts and chains stay.",
        ),
        "backup": Place(
            "agent.cli.receiver.backup:backup",
            "Copy a receiver, which may be running, into a new folder, and check the copy by reading it back.",
        ),
    },
)
