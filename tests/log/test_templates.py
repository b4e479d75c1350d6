"""Packing: contents come back unchanged, and decisions of one router take a fraction of their JSON."""

from __future__ import annotations

import json

import attrs
import pytest

from aamc_sdk import MetaController
from aamc_sdk.errors import StoreError
from aamc_sdk.log import Row, record_from
from aamc_sdk.log.rows.decision_row import decision_row
from aamc_sdk.log.rows.templates import MAX_ALIKE, MAX_TEMPLATES, Templates
from aamc_sdk.types import Feedback


@pytest.fixture
def rows():
    """Return rows of two hundred decisions by one router, with feedback."""
    with MetaController.build(router="random", store="memory:?store_text=true", seed=0) as controller:
        decisions = controller.route_batch([f"question {n} of Ann" for n in range(200)])
        controller.feedback_batch([Feedback(decision_id=decision.id, quality=0.5) for decision in decisions])
        controller.route("a question of Bob's", user="bob", session="s", tenant="acme")
        return controller.store.batch(0, 1000).rows


def test_every_content_comes_back_also_from_templates_that_were_read_again(rows):
    templates = Templates()
    packed = [templates.pack(row) for row in rows]
    again = Templates()
    again.extend(template for _, template in packed if template is not None)
    for row, (content, _) in zip(rows, packed, strict=True):
        assert templates.unpack(content) == again.unpack(content) == row.content


def test_decisions_of_one_router_take_a_fraction_and_one_template(rows):
    templates, decisions = Templates(), [row for row in rows if row.kind == "decision"]
    packed = [templates.pack(row)[0] for row in decisions]
    assert len(templates) == 1
    assert sum(map(len, packed)) < 0.25 * sum(len(row.content) for row in decisions)


def test_a_new_decision_finds_the_template_of_one_that_was_read(rows):
    read, written = Templates(), Templates()
    _, template = read.pack(rows[0])
    assert template is not None
    written.extend([template])
    new = decision_row(record_from(rows[1]), store_text=True)
    assert read.pack(new) == written.pack(rows[1])
    assert len(read) == len(written) == 1


def test_templates_hold_no_text_user_session_or_tenant(rows):
    templates = Templates()
    _, template = templates.pack(rows[-1])
    for personal in ("Bob", "bob", '"s"', "acme"):
        assert template is not None
        assert personal not in template.decode()


def test_the_number_of_templates_is_bounded_and_all_is_still_readable(rows):
    templates, row = Templates(), rows[0]
    for number in range(2 * MAX_TEMPLATES):
        fields = row.fields | {"decision": row.fields["decision"] | {"router": f"router {number}"}}
        other = Row(row.kind, row.id, row.decision_id, row.candidate, json.dumps(fields), row.time)
        packed, _ = templates.pack(other)
        assert templates.unpack(packed) == other.content
    assert len(templates) == MAX_TEMPLATES


def test_decisions_unlike_any_template_get_a_bounded_number_of_templates(rows):
    templates, row = Templates(), rows[0]
    for number in range(3 * MAX_ALIKE):
        noise = {str(key): hash((number, key)) / 7 for key in range(200)}
        fields = row.fields | {"decision": row.fields["decision"] | {"notes": noise}}
        other = attrs.evolve(row, content=json.dumps(fields), columns=None)
        packed, _ = templates.pack(other)
        assert templates.unpack(packed) == other.content
    assert len(templates) <= MAX_ALIKE


def test_contents_of_earlier_versions_are_text_and_returned_as_they_are():
    assert Templates().unpack('{"a": 1}') == '{"a": 1}'


@pytest.mark.parametrize("packed", [b"", b"\x05abc", b"\x01"])
def test_damaged_content_and_a_missing_template_are_errors(packed):
    with pytest.raises(StoreError, match="damaged"):
        Templates().unpack(packed)


@pytest.mark.parametrize("content", [b"{bad", b"\xff", b"{}"])
def test_a_damaged_template_is_named(content):
    templates = Templates()
    with pytest.raises(StoreError, match="entry 'template 1' is damaged"):
        templates.extend([content])
    assert not len(templates)
