"""The spool as a state machine: whatever is done to it, it holds what a dictionary would hold, also across restarts."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from agent.errors import SpoolFullError
from agent.records import Envelope, SpoolState
from agent.spool.newest import parse_mark
from agent.spool.reserve import reserve_bytes
from agent.spool.spool import FileSpool
from tests.fakes.envelopes import make_envelope
from tests.fakes.files import FaultyFiles, PowerCutError
from tests.fakes.receipts import proof

KEY = Ed25519PrivateKey.generate()
ENVELOPES = [make_envelope(KEY, body=bytes(200 * (index + 1))) for index in range(8)]
ROOM = 4000
FOR_READS = ROOM - reserve_bytes(ROOM)
any_envelope = st.sampled_from(ENVELOPES)


class SpoolMachine(RuleBasedStateMachine):
    """Puts, shreds, quarantines and restarts in any order, with power cuts between any two steps."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="plateseal-spool-"))
        self.model: dict[str, SpoolState] = {}
        self.files = FaultyFiles()
        self.spool = self.open()

    def open(self) -> FileSpool:
        """Open the spool as both daemons do at their start."""
        self.files = FaultyFiles()
        spool = FileSpool(self.root / "spool", max_bytes=ROOM, files=self.files)
        spool.recover_puts()
        spool.recover_shreds()
        return spool

    def teardown(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.root)

    def used(self) -> int:
        """Return the bytes that the model holds."""
        return sum(len(envelope.data) for envelope in ENVELOPES if envelope.envelope_id in self.model)

    @rule(envelope=any_envelope)
    def put(self, envelope: Envelope) -> None:
        """Accepted unless there is no room; a set-aside one may be put anew."""
        state = self.model.get(envelope.envelope_id)
        fits = state is SpoolState.PENDING or self.used() + len(envelope.data) <= FOR_READS
        if state is SpoolState.QUARANTINE:
            return
        try:
            self.spool.put(envelope)
        except SpoolFullError:
            assert not fits
        else:
            assert fits
            self.model[envelope.envelope_id] = SpoolState.PENDING

    @rule(envelope=any_envelope)
    def shred(self, envelope: Envelope) -> None:
        """Takes a pending one away; anything else stays."""
        self.spool.shred(proof(envelope))
        if self.model.get(envelope.envelope_id) is SpoolState.PENDING:
            del self.model[envelope.envelope_id]

    @rule(envelope=any_envelope)
    def quarantine(self, envelope: Envelope) -> None:
        """Moves a pending one."""
        if self.model.get(envelope.envelope_id) is SpoolState.PENDING:
            self.spool.quarantine(envelope.envelope_id, reason="test")
            self.model[envelope.envelope_id] = SpoolState.QUARANTINE

    @rule(envelope=any_envelope)
    def release(self, envelope: Envelope) -> None:
        """Brings one back."""
        if self.model.get(envelope.envelope_id) is SpoolState.QUARANTINE:
            self.spool.release(envelope.envelope_id)
            self.model[envelope.envelope_id] = SpoolState.PENDING

    @rule()
    def restart(self) -> None:
        """A clean stop and start."""
        self.spool = self.open()

    @rule(envelope=any_envelope, step=st.integers(0, 4))
    def cut_power_in_a_put(self, envelope: Envelope, step: int) -> None:
        """Afterwards the envelope is whole or absent; whatever was accepted before is still there."""
        if envelope.envelope_id in self.model:
            return
        self.files.fail_at(step, None)
        with suppress(PowerCutError, SpoolFullError):
            self.spool.put(envelope)
        self.spool = self.open()
        if envelope.envelope_id in {entry.envelope_id for entry in self.spool.entries(SpoolState.PENDING)}:
            self.model[envelope.envelope_id] = SpoolState.PENDING

    @rule(envelope=any_envelope, step=st.integers(0, 5))
    def cut_power_in_a_shred(self, envelope: Envelope, step: int) -> None:
        """Afterwards the envelope is whole or gone."""
        if self.model.get(envelope.envelope_id) is not SpoolState.PENDING:
            return
        self.files.fail_at(step, None)
        with suppress(PowerCutError):
            self.spool.shred(proof(envelope))
        self.spool = self.open()
        if envelope.envelope_id not in {entry.envelope_id for entry in self.spool.entries(SpoolState.PENDING)}:
            del self.model[envelope.envelope_id]

    @rule(envelope=any_envelope, step=st.integers(0, 6), released=st.booleans())
    def cut_power_between_pending_and_quarantine(self, envelope: Envelope, step: int, *, released: bool) -> None:
        """On either way: afterwards the envelope is in one of them, whole."""
        state = self.model.get(envelope.envelope_id)
        if state is not (SpoolState.QUARANTINE if released else SpoolState.PENDING):
            return
        self.files.fail_at(step, None)
        with suppress(PowerCutError):
            if released:
                self.spool.release(envelope.envelope_id)
            else:
                self.spool.quarantine(envelope.envelope_id, reason="test")
        self.spool = self.open()
        (found,) = [
            state
            for state in SpoolState
            for entry in self.spool.entries(state)
            if entry.envelope_id == envelope.envelope_id
        ]
        self.model[envelope.envelope_id] = found

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        """Same ids in the same states, pending ones readable, never more bytes than allowed."""
        held = {entry.envelope_id: state for state in SpoolState for entry in self.spool.entries(state)}
        assert held == self.model
        for envelope in ENVELOPES:
            if held.get(envelope.envelope_id) is SpoolState.PENDING:
                assert self.spool.get(envelope.envelope_id) == envelope
        assert sum(entry.size_bytes for state in SpoolState for entry in self.spool.entries(state)) <= ROOM

    @invariant()
    def leaves_nothing_half_done(self) -> None:
        """Between two actions nothing lies in incoming or shredding; each envelope set aside has its reason."""
        for name in ("incoming", "shredding"):
            left = [path.name for path in (self.root / "spool" / name).iterdir()]
            assert [each for each in left if parse_mark(each) is None] == []
        names = {path.name for path in (self.root / "spool" / "quarantine").iterdir()}
        aside = {key for key, state in self.model.items() if state is SpoolState.QUARANTINE}
        assert names == aside | {f"{key}.reason" for key in aside}


TestSpoolMachine = SpoolMachine.TestCase
# Each example is a course of 25 steps.
TestSpoolMachine.settings = settings(max_examples=settings().max_examples // 4, stateful_step_count=25)
