"""A causal language model small enough to train on a CPU: made from a configuration, with a tokenizer made from the world's own texts.

It is an LFM2 (short convolutions and attention), which learns to look words up in its prompt in far fewer steps than attention alone.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from aamc_router_r1.config import preference_of
from aamc_router_r1.data import RoutingTask
from aamc_router_r1.protocol import render_prompt
from aamc_router_r1.training.replies import UNSURE
from aamc_router_r1.world import ALPHAS, DOMAINS, GENERALIST_QUALITY, LEVELS, ROUNDS, SYLLABLES, FactWorld
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import Lfm2Config, Lfm2ForCausalLM, PreTrainedTokenizerFast

PAD, END, UNKNOWN = "[PAD]", "[EOS]", "[UNK]"
CONSULT = "</think>\n<search>"
"""The end of reasoning and the start of a consultation, one token."""
TAGS = (CONSULT, *tuple(f"<{slash}{tag}>" for tag in ("think", "search", "information", "answer") for slash in ("", "/")))
_WORD = re.compile(r"\d+\.\d+|\w+|[^\w\s]")


def tiny_tokenizer(world: FactWorld) -> PreTrainedTokenizerFast:
    """Return a tokenizer of the world's words. A model's name is two tokens, its syllables; each fixed phrase is one.

    The reply of a model that does not know is such a phrase too: with its word ``not``, the name ``noti`` would be unknown.
    """
    tasks = world.tasks(64, 1)
    prompts = [prompt_of(task, ALPHAS[number % len(ALPHAS)]) for number, task in enumerate(tasks)]
    name = f"(?:{'|'.join(SYLLABLES)}){{2}}"
    words = [*(f"item{entity}" for entity in range(world.entities)), *DOMAINS, *(f"{level:.2f}" for level in (*LEVELS, GENERALIST_QUALITY))]
    variable = re.compile(rf"\b(?:{'|'.join(sorted(words, key=len, reverse=True))}|{name}|\d+\.\d+|\d+)\b")
    phrases = sorted({run.strip() for prompt in prompts for run in variable.split(prompt) if len(run.split()) > 3}, key=len, reverse=True)
    rest = " ".join([*prompts, *(segment.text for task in tasks for segment in task.demonstration())])
    for fixed in (*phrases, *TAGS):
        rest = rest.replace(fixed, " ")
    others = {word for word in _WORD.findall(rest) if not re.fullmatch(name, word)}
    vocabulary = [PAD, END, UNKNOWN, *sorted({*words, *others, *SYLLABLES, *(f"##{syllable}" for syllable in SYLLABLES)})]
    tokenizer = Tokenizer(models.WordPiece({word: place for place, word in enumerate(vocabulary)}, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(_WORD.pattern), "isolated")])
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    tokenizer.add_tokens([AddedToken(fixed, normalized=False) for fixed in (*TAGS, UNSURE, *phrases)])
    made: PreTrainedTokenizerFast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, unk_token=UNKNOWN)  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    return made


def prompt_of(task: RoutingTask, alpha: float) -> str:
    """Return the prompt of a task that states a weight of the cost, as training renders it."""
    return render_prompt(task.question, task.specs, task.quality, rounds=ROUNDS, preference=preference_of(alpha))


def tiny_model(vocabulary: int, seed: int, width: int = 64) -> Lfm2ForCausalLM:
    """Return an untrained model with layers of convolution and of attention, which has induction heads from the start."""
    torch.manual_seed(seed)
    config = Lfm2Config(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=2 * width,
        layer_types=["conv", "full_attention"] * 2,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        conv_L_cache=4,
        conv_bias=True,
        block_auto_adjust_ff_dim=False,
        max_position_embeddings=2048,
        initializer_range=0.05,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=1,
    )
    model = Lfm2ForCausalLM(config)
    give_induction_heads(model, width)
    return model


def give_induction_heads(model: Lfm2ForCausalLM, width: int) -> None:
    """Set weights so that the first attention finds the place where the last two tokens stood before, and reads on from there.

    Pretrained language models have such induction heads (Olsson et al., arXiv 2209.11895); learning them from nothing would take most of the
    time of a training. Half of the width holds the token, the rest its two predecessors, which the convolution shifts there.
    """
    half, quarter, eighth = width // 2, width // 4, width // 8
    with torch.no_grad():
        embedding = model.model.embed_tokens.weight
        embedding[:, :half].normal_(0, 0.3)
        embedding[:, half:].normal_(0, 0.01)
        to_short = torch.linalg.qr(torch.randn(half, half)).Q[:quarter]
        shift, heads = model.model.layers[0].conv, model.model.layers[1].self_attn
        shift.in_proj.bias[: 2 * width] = 1.0  # the gates are open
        inner = shift.in_proj.weight[2 * width :]
        inner[half : half + quarter, :half] += 2 * to_short
        inner[half + quarter :, :half] += 2 * to_short
        shift.conv.weight.mul_(0.2)
        shift.conv.weight[half : half + quarter, 0, -2] += 1.0
        shift.conv.weight[half + quarter :, 0, -3] += 1.0
        shift.out_proj.weight += torch.eye(width)
        for head in range(2):
            rows = slice(head * quarter, head * quarter + eighth)
            more = slice(head * quarter + eighth, (head + 1) * quarter)
            part = slice(head * eighth, (head + 1) * eighth)
            heads.q_proj.weight[rows, :half] += 2 * to_short[part]
            heads.q_proj.weight[more, half : half + quarter] += torch.eye(quarter)[part]
            heads.k_proj.weight[rows, half : half + quarter] += 2 * torch.eye(quarter)[part]
            heads.k_proj.weight[more, half + quarter :] += torch.eye(quarter)[part]
        heads.v_proj.weight[:half, :half] += torch.eye(half)
        heads.out_proj.weight[:half, :half] += 3 * torch.eye(half)
        heads.q_layernorm.weight.fill_(2.0)
        heads.k_layernorm.weight.fill_(2.0)


def make_tiny_policy(folder: Path, world: FactWorld, *, seed: int = 0, width: int = 64) -> None:
    """Write a small language model and its tokenizer to a folder, ready for ``orchestrator.model``."""
    tokenizer = tiny_tokenizer(world)
    tiny_model(len(tokenizer), seed, width).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
