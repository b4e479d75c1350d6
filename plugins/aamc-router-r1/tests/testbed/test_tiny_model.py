"""The tokenizer of the proof's small model."""

from aamc_router_r1.training.replies import UNSURE
from aamc_router_r1.world import NAMES, UNSEEN_NAMES, FactWorld
from tiny_model import prompt_of, tiny_tokenizer

WORLD = FactWorld(1)
TOKENIZER = tiny_tokenizer(WORLD)


def test_every_name_is_its_two_syllables() -> None:
    assert {name: TOKENIZER.tokenize(name) for name in (*NAMES, *UNSEEN_NAMES)} == {
        name: [name[:2], f"##{name[2:]}"] for name in (*NAMES, *UNSEEN_NAMES)
    }


def test_prompts_demonstrations_and_replies_have_no_unknown_token() -> None:
    for task in WORLD.tasks(100, 2):
        text = prompt_of(task, 0.3) + "".join(segment.text for segment in task.demonstration()) + f"<information>{UNSURE}</information>"
        assert TOKENIZER.unk_token not in TOKENIZER.tokenize(text)
