"""Callers of the gateway."""

from __future__ import annotations

import attrs

from aamc_gateway.access.refusals import Refused
from aamc_gateway.access.settings import Limits
from aamc_sdk.errors import nearest


@attrs.frozen(kw_only=True)
class Caller:
    """The caller of a request.

    Attributes:
        key_id: The id of its key, which is not a secret; ``""`` while the gateway has no keys.
        name: The name of its key.
        tenant: The tenant that the key belongs to; None for none.
        user: The user that the key belongs to; None if requests may name their users.
        admin: Whether it opens the dashboard and ``/metrics``, and may give feedback and vote as an admin.
        models: Names of the candidates and orchestrators that it may use; empty for all.
        limits: The key's budgets and limits.
        scope: Begins the keys of values that are remembered for it: its tenant and key.
    """

    key_id: str = ""
    name: str = ""
    tenant: str | None = None
    user: str | None = None
    admin: bool = False
    models: frozenset[str] = frozenset()
    limits: Limits = attrs.field(factory=Limits)
    scope: str = attrs.field(init=False)

    @scope.default
    def _scope(self) -> str:
        return f"{self.tenant or ''}/{self.key_id}/"

    def may_use(self, model: str) -> bool:
        """Return whether it may use a candidate or an orchestrator."""
        return not self.models or model in self.models

    def check_model(self, model: str) -> None:
        """Check that it may use a candidate or an orchestrator.

        Raises:
            Refused: It may not.
        """
        if not self.may_use(model):
            allowed = ", ".join(sorted(self.models))
            hint = f"the key {self.name!r} may not use the model {model!r}{nearest(model, self.models)}; it may use {allowed}"
            raise Refused(hint, status=403, kind="permission")

    def check_admin(self) -> None:
        """Check that it is an admin key.

        Raises:
            Refused: It may not.
        """
        if not self.admin:
            raise Refused(f"the key {self.name!r} is not an admin key; make one with: aamc keys add NAME --admin", status=403, kind="permission")
