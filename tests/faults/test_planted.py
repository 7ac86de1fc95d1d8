"""Each planted fault is named by the command, and its mend mends it; `python -m tests.faults` shows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.faults.planted.campaign import FAULTS, Wholes
from tests.faults.planted.fault import Fault, judge
from tests.faults.planted.site import Sites, whole_sites

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    """Give copies of one site, whose receiver runs."""
    with whole_sites(tmp_path_factory.mktemp("sites")) as found:
        yield found


@pytest.fixture(scope="module")
def wholes(sites: Sites) -> Wholes:
    """Say how each command ends where nothing is wrong."""
    return Wholes(sites)


def test_there_are_faults_of_a_unit_a_receiver_and_an_owner() -> None:
    """Sixty and more, each with a name of its own and with a mend."""
    assert len(FAULTS) >= 60
    assert [name for name, count in Counter(fault.name for fault in FAULTS).items() if count > 1] == []
    assert [fault.name for fault in FAULTS if not fault.words or not fault.mend] == []


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(
            fault, id=fault.name, marks=pytest.mark.needs(*fault.needs, *(["campaigns"] if number % 4 else []))
        )
        for number, fault in enumerate(FAULTS)
    ],
)
def test_a_fault_is_named_and_its_mend_mends_it(sites: Sites, wholes: Wholes, fault: Fault) -> None:
    """A command that was in order names it, and is in order again after what it said was done."""
    whole = wholes.of(fault)
    assert fault.check not in whole.findings if fault.check else whole.code == 0, whole
    with sites.copy() as site:
        verdict = judge(fault, site, whole)
    assert verdict.trouble == ""
