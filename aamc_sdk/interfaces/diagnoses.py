"""The results of checks of the installation."""

from __future__ import annotations

import attrs

from aamc_sdk.errors import ConfigError

OK, WARNING, BROKEN = "ok", "warning", "broken"
STATUSES = (OK, WARNING, BROKEN)


@attrs.frozen
class Diagnosis:
    """The state of one thing that the SDK works with.

    Attributes:
        subject: The thing, such as ``"torch"``.
        state: Its state in a line.
        status: ``"ok"``; ``"warning"`` if work is possible with less; ``"broken"`` if something needed does not work.
        advice: What to do; ``""`` if nothing.

    Raises:
        ConfigError: The status is another word.
    """

    subject: str
    state: str
    status: str = OK
    advice: str = ""

    def __attrs_post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ConfigError(f"the status of a diagnosis must be one of {', '.join(STATUSES)}, not {self.status!r}")
