"""`plateseal custody`: the owner's keys, and what is done with them."""

from __future__ import annotations

from agent.cli.lazy import Place, group

app = group(
    "The owner's tools. Keep them, and the keys they make, away from every device.",
    {
        "keys": Place(
            "agent.cli.custody.keys:keys",
            "Make recipient keys for the epochs to come, and the signed keyring that devices seal to.",
        ),
        "open": Place(
            "agent.cli.custody.open:open_",
            "Open the reads that fit, after entering it in the audit log. Without a filter, all of them.",
        ),
        "index": Place(
            "agent.cli.custody.index:index",
            "Enter the store's new reads in the index in the owner's folder, so that a plate is found in seconds.",
        ),
        "hold": Place(
            "agent.cli.custody.hold:hold",
            "Hold reads for a case, so that they open with the case's key when their epoch's key is destroyed.",
        ),
        "destroy": Place(
            "agent.cli.custody.destroy:destroy",
            "Destroy the private keys of old epochs: their reads become unreadable, wherever copies of them are.",
        ),
        "destroyed": Place(
            "agent.cli.custody.destroyed:destroyed",
            "Write down which keys are destroyed and which reads are held, for `receiver drop-epoch`.",
        ),
        "close": Place(
            "agent.cli.custody.close:close",
            "Close a case: destroy its key, so that what was held for it opens no more unless its epoch's key does.",
        ),
        "passphrase": Place(
            "agent.cli.custody.passphrase:passphrase",
            "Put the owner's key files under another passphrase: every epoch's, every case's, and the owner's own.",
        ),
        "copy": Place(
            "agent.cli.custody.copy:copy",
            "Copy the owner's folder byte for byte, read the copy back, and open every key in it.",
        ),
        "audit": Place(
            "agent.cli.custody.audit:audit",
            "Verify the audit log and print it: who, when, what, case, how many, why.",
        ),
        "export": Place(
            "agent.cli.custody.export:export",
            "Export one read for a court, with everything to verify it by other people's tools.",
        ),
    },
)
