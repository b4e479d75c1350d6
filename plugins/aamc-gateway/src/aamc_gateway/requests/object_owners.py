"""The tenants and candidates of the objects that servers keep: files, uploads, batches, responses and conversations."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from aamc_gateway.access.access import Access
from aamc_gateway.access.callers import Caller, Refused
from aamc_gateway.access.shared import SharedState
from aamc_gateway.requests.sessions import Answered
from aamc_sdk.errors import StoreError

logger = logging.getLogger(__name__)
KEEP_S = 30 * 86400.0
"""Time for which an owner is remembered after the last answer that named the object; OpenAI keeps responses for as long."""
_SHARE_S = 1.0
"""Maximum time in seconds for which an answer waits until its object's owner is noted."""
_PATH = re.compile(r"/(?:files|uploads|(?:messages/)?batches|responses|conversations)(?:/(?!(?:compact|input_tokens)(?:\?|$))([^/?]+))?(?=[/?]|$)")
"""A path with the id of an object, without /v1."""
_DESCRIBED = re.compile(r"/(files|uploads|responses|conversations|(messages/)?batches)(/[^/?]+)?(\?|$)|/uploads/")
"""The paths whose answers describe objects, not the content of a file."""
OBJECT_FIELDS = ("previous_response_id", "conversation", "input_file_id")
"""Fields of a body that name an object."""
_MADE = ("id", "output_file_id", "error_file_id", "file")


class ObjectOwners:
    """Remembers which tenant's key made an object, and which candidate's server has it, and keeps it from the keys of other tenants.

    Keys without a tenant share one owner, ``""``. Objects that were made before the gateway had keys have none.
    """

    def __init__(self, shared: SharedState, access: Access) -> None:
        self._shared, self._access = shared, access

    async def check(self, caller: Caller, body: Mapping[str, Any], api: str = "", method: str = "POST") -> None:
        """Check that the objects that a request names, in its path or body, are the caller's.

        A key may use those of its tenant, and an admin key all. As long as no key has a tenant, all keys may use all.

        Raises:
            Refused: An object is another tenant's, or unknown; or the request lists the objects of all tenants.
        """
        if caller.admin or not caller.key_id:  # a gateway without keys has no tenants
            return
        found = _PATH.match(api)
        is_list = found is not None and found[1] is None and method != "POST"
        names = _named(body, api)
        if not (is_list or names) or not (caller.tenant or await self._access.has_tenants()):
            return
        if is_list:
            message = f"this list has the objects of all tenants, and {caller.name!r} is not an admin key; get each by its id, or use an admin key"
            raise Refused(message, status=403, kind="permission")
        for name in names:
            if (await self._owner_of(name))[0] != (caller.tenant or ""):
                message = f"there is no object {name!r:.200} that this key may use: it was not stored, is too old, or another tenant made it"
                raise Refused(message, status=404, kind="not_found")

    async def candidate_of(self, body: Mapping[str, Any], api: str) -> str | None:
        """Return the candidate whose server has an object that a request names, in its path or body; None if it is unknown."""
        for name in _named(body, api):
            if (answered := await self.find(name)) is not None:
                return answered.candidate
        return None

    async def find(self, name: str) -> Answered | None:
        """Return the candidate that gave a stored response; None if it is unknown. :meth:`check` says whether a caller may use it."""
        _, candidate = await self._owner_of(name)
        return None if candidate is None else Answered(candidate, 0.0)

    async def note(self, caller: Caller, candidate: str, ids: Iterable[Any], parent: str | None = None) -> None:
        """Remember that a caller's request made some objects at a candidate's server, unless they are another tenant's.

        Objects of a parent, such as the files of a batch, are those of its tenant, also where an admin looks at it first.
        """
        for name in _ids(ids):
            try:
                await asyncio.wait_for(self._note(name, caller, candidate, parent), _SHARE_S)
            except (StoreError, asyncio.TimeoutError) as error:  # the answer is paid, and must not be lost for this
                logger.warning("the tenant and model of %r cannot be noted, so later requests cannot use it: %s", name, error)

    async def note_answer(self, caller: Caller, candidate: str, api: str, answer: Mapping[str, Any]) -> None:
        """Remember the objects that an answer of a path describes; not those in the content of a file, which anyone can write."""
        if _DESCRIBED.match(api):
            found = _PATH.match(api)
            await self.note(caller, candidate, map(answer.get, _MADE), None if found is None else found[1])

    async def _note(self, name: str, caller: Caller, candidate: str, parent: str | None) -> None:
        tenant = caller.tenant or "" if caller.key_id else None
        if parent is not None:
            found, _ = await self._owner_of(parent)
            if found is None and caller.admin:  # it existed before, and may be any tenant's
                return
            tenant = tenant if found is None else found
        if (await self._owner_of(name))[0] in (None, tenant):
            await self._shared.put(f"owner:{name}", orjson.dumps([tenant, candidate]), KEEP_S)

    async def _owner_of(self, name: str) -> tuple[str | None, str | None]:
        """Return the tenant and the candidate of an object; None for each that is unknown."""
        found = await self._shared.get(f"owner:{name}")
        tenant, candidate = (None, None) if found is None else orjson.loads(found)
        return tenant, candidate


def _named(body: Mapping[str, Any], api: str) -> list[str]:
    """Return the ids of the objects that a request names, in its path or body."""
    found = _PATH.match(api)
    return _ids([*(found.groups() if found else ()), *map(body.get, OBJECT_FIELDS)])


def _ids(values: Iterable[Any]) -> list[str]:
    """Return the ids among values that are ids or objects with one."""
    ids = (value.get("id") if isinstance(value, Mapping) else value for value in values)
    return [name for name in ids if isinstance(name, str) and name]
