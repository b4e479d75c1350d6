"""The tenants of the objects that servers keep: files, uploads, batches and responses."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from aamc_gateway.access.callers import Caller, Refused
from aamc_sdk.errors import StoreError

if TYPE_CHECKING:
    from aamc_gateway.access.shared import SharedState

logger = logging.getLogger(__name__)
KEEP_S = 30 * 86400.0
"""Time for which an owner is remembered after the last answer that named the object; OpenAI keeps responses for as long."""
_SHARE_S = 1.0
"""Maximum time in seconds for which an answer waits until its object's owner is noted."""
_PATH = re.compile(r"/(?:files|uploads|(?:messages/)?batches|responses)(?:/(?!(?:compact|input_tokens)(?:\?|$))([^/?]+))?(?=[/?]|$)")
"""A path with the id of an object, without /v1."""
_DESCRIBED = re.compile(r"/(files|uploads|responses|(messages/)?batches)(/[^/?]+)?(\?|$)|/uploads/")
"""The paths whose answers describe objects, not the content of a file."""
_NAMED = ("previous_response_id", "conversation", "input_file_id")
_MADE = ("id", "output_file_id", "error_file_id", "file")


class ObjectOwners:
    """Remembers which tenant's key made an object, and keeps it from the keys of others."""

    def __init__(self, shared: SharedState) -> None:
        self._shared = shared

    async def check(self, caller: Caller, body: Mapping[str, Any], api: str = "", method: str = "POST") -> None:
        """Check that the objects that a request names, in its path or body, are the caller's.

        A key with a tenant may use those of its tenant, any other key all but those of tenants, and an admin key all.

        Raises:
            Refused: An object is another tenant's, or unknown and the key has a tenant; or the request lists the objects of all tenants.
        """
        if caller.admin or not caller.key_id:  # a gateway without keys has no tenants
            return
        found = _PATH.match(api)
        if found is not None and found[1] is None and method == "GET" and caller.tenant is not None:
            raise Refused(
                f"the key {caller.name!r} has a tenant, and this list holds the objects of all; get each by its id, or use an admin key",
                status=403,
                kind="permission",
            )
        for name in _ids([*(found.groups() if found else ()), *map(body.get, _NAMED)]):
            if await self._owner(name) != caller.tenant:
                message = f"there is no object {name!r:.200} of this key's tenant: another tenant's key made it, or it was too long ago"
                raise Refused(message, status=404, kind="not_found")

    async def note(self, caller: Caller, ids: Iterable[Any]) -> None:
        """Remember that a caller's request made some objects, unless they are another tenant's."""
        if caller.tenant is None:
            return
        for name in _ids(ids):
            try:
                await asyncio.wait_for(self._note(name, caller.tenant), _SHARE_S)
            except (StoreError, asyncio.TimeoutError) as error:  # the answer is paid, and must not be lost for this
                logger.warning("the tenant of %r cannot be noted, so its keys cannot use it: %s", name, error)

    async def note_answer(self, caller: Caller, api: str, answer: Mapping[str, Any]) -> None:
        """Remember the objects that an answer of a path describes; not those in the content of a file, which anyone can write."""
        if _DESCRIBED.match(api):
            await self.note(caller, map(answer.get, _MADE))

    async def _note(self, name: str, tenant: str) -> None:
        if await self._owner(name) in (None, tenant):
            await self._shared.put(f"owner:{name}", tenant.encode(), KEEP_S)

    async def _owner(self, name: str) -> str | None:
        found = await self._shared.get(f"owner:{name}")
        return None if found is None else found.decode()


def _ids(values: Iterable[Any]) -> list[str]:
    """Return the ids among values that are ids or objects with one."""
    ids = (value.get("id") if isinstance(value, Mapping) else value for value in values)
    return [name for name in ids if isinstance(name, str) and name]
