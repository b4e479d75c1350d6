"""A broken check of the installation is caught by the check that is meant for it."""

from offering import failed

from aamc_sdk.interfaces import Diagnosis


def test_checks_are_checked(offer):
    name = "it returns diagnoses"
    assert failed(offer("check", lambda: [Diagnosis("disk", "full", "broken", "delete runs")]), "check") == set()
    assert failed(offer("check", lambda: [Diagnosis("disk", "full", "broken")]), "check") == {name}
    assert failed(offer("check", lambda: [Diagnosis("disk", "full", "bad", "delete runs")]), "check") == {name}
    assert failed(offer("check", lambda: ["full"]), "check") == {name}
    assert failed(offer("check", lambda: None), "check") == {name}
