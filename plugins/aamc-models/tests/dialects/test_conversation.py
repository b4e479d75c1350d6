"""What is classified."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from aamc_models.dialects import Conversation, conversation_of, new_messages, transcript_of


def said(*contents: Any, dialect: str = "chat", **fields: Any) -> Conversation:
    return conversation_of(dialect, {"messages": [{"role": "user", "content": content} for content in contents], **fields})


def test_human_messages_are_in_their_order() -> None:
    conversation = said("one", "two", "three", "four")
    assert (conversation.human, conversation.first) == (("one", "two", "three", "four"), "one")


def test_system_prompts_and_answers_are_not_classified(requests: dict[str, Any]) -> None:
    assert conversation_of("chat", requests["chat"]).human == ("What is this?", "Thanks. And here?")
    assert conversation_of("chat", requests["chat"]).system == "Be brief."


@pytest.mark.parametrize("dialect", ["chat", "messages", "responses"])
def test_what_an_agent_adds_later_is_no_part_of_the_system_prompt_by_which_a_conversation_is_known(dialect: str) -> None:
    turn = [{"role": "user", "content": "Hi"}, {"role": "system", "content": "Agents: a, b"}]
    field = "input" if dialect == "responses" else "messages"
    conversations = [conversation_of(dialect, {field: [{"role": "developer", "content": "Be brief."}, *turn * n]}) for n in (1, 2)]
    assert [each.system for each in conversations] == ["Be brief."] * 2
    title = {"role": "system", "content": "Generate a concise title for this conversation"}
    assert conversation_of(dialect, {field: [*turn, title]}).side_request == "title"


@pytest.mark.parametrize("dialect", ["messages", "responses"])
def test_results_of_tools_are_not_classified(dialect: str, requests: dict[str, Any]) -> None:
    conversation = conversation_of(dialect, requests[dialect])
    assert (conversation.human, conversation.system) == (("What is this?", "And here?"), "Be brief.")
    assert (conversation.tools, conversation.images, conversation.json, conversation.max_tokens) == (True, True, True, 3000)


PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aaaa"}}
PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "aaaa"}}


@pytest.mark.parametrize(
    ("dialect", "body", "images", "files"),
    [
        ("messages", {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": [PICTURE]}]}]}, True, False),
        ("messages", {"messages": [{"role": "user", "content": [PDF]}]}, False, True),
        ("messages", {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "text"}]}]}, False, False),
        (
            "chat",
            {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_data": "data:application/pdf;base64,aaaa"}}]}]},
            False,
            True,
        ),
        ("chat", {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "aaaa"}}]}]}, False, True),
        ("chat", {"messages": [{"role": "user", "content": [{"type": "audio_url", "audio_url": {"url": "x"}}]}]}, False, True),
        ("chat", {"messages": [{"role": "user", "content": [{"type": "video_url", "video_url": {"url": "x"}}]}]}, False, True),
        ("chat", {"messages": [{"role": "tool", "tool_call_id": "a", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, True, False),
        (
            "responses",
            {"input": [{"type": "function_call_output", "call_id": "a", "output": [{"type": "input_image", "image_url": "x"}]}]},
            True,
            False,
        ),
        (
            "responses",
            {"input": [{"type": "computer_call_output", "call_id": "a", "output": {"type": "computer_screenshot", "image_url": "x"}}]},
            True,
            False,
        ),
        ("responses", {"input": [{"role": "user", "content": [{"type": "input_file", "file_data": "aaaa"}]}]}, False, True),
        ("responses", {"input": [{"type": "image_generation_call", "id": "a", "result": "aaaa"}, {"role": "user", "content": "a"}]}, True, False),
        ("chat", {"messages": [{"role": "assistant", "content": "", "images": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, True, False),
    ],
)
def test_images_and_files_are_found_in_results_and_answers_too(dialect: str, body: dict[str, Any], images: bool, files: bool) -> None:
    conversation = conversation_of(dialect, body)
    assert (conversation.images, conversation.files) == (images, files)


def test_a_prompt_of_text_is_classified_and_one_of_tokens_not() -> None:
    assert conversation_of("completions", {"prompt": ["Once"]}).human == ("Once",)
    assert conversation_of("completions", {"prompt": [1, 2, 3]}).human == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<system-reminder>\nToday is Monday.\n</system-reminder>\nSort a list", "Sort a list"),
        ("<environment_context>\n  <cwd>/x</cwd>\n</environment_context>", ""),
        ("<user_instructions>Use tabs</user_instructions>\n\nfix the bug", "fix the bug"),
        ("<command-name>/review</command-name>\n<command-message>review</command-message>\n<command-args>the parser</command-args>", "the parser"),
        ("<local-command-stdout>ok</local-command-stdout>", ""),
        ("<bash-input>ls</bash-input><bash-stdout>a</bash-stdout><bash-stderr></bash-stderr>", ""),
        ("Caveat: The messages below were generated by the user while running local commands. DO NOT respond", ""),
        ("[Request interrupted by user for tool use]", ""),
        ("<task>\nadd a test\n</task>\n<environment_details>\nfiles\n</environment_details>", "add a test"),
        ("[read_file for 'a.py'] Result:\nx = 1", ""),
        ("<user_query>\nrename it\n</user_query>", "rename it"),
        ('<ide_selection file="a.py">x</ide_selection>why?', "why?"),
        ("# AGENTS.md instructions for /repo\n\n<INSTRUCTIONS>\nUse tabs\n</INSTRUCTIONS>", ""),
        ("# AGENTS.md instructions for /repo", ""),
        ("This is the Qwen Code. We are setting up the context for our chat.\nToday's date is Monday.", ""),
        ("You are performing a CONTEXT CHECKPOINT COMPACTION. Create a handoff summary.", ""),
        ("Another language model started to solve this problem and produced a summary of its thinking process.", ""),
        ("[Your previous response had no visible output. Please continue and produce a user-visible response.]", ""),
        ("I have *added these files to the chat* so you can go ahead and edit them.\n\na.py\n```\nx = 1\n```", ""),
        ("Here are summaries of some files present in my git repository.", ""),
    ],
)
def test_the_envelopes_of_coding_agents_are_left_out(text: str, words: str) -> None:
    conversation = said("before", text)
    assert (("before", words) if words else ("before",)) == conversation.human


def test_examples_that_aider_writes_as_messages_are_left_out() -> None:
    examples = (
        "Change get_factorial() to use math.factorial",
        "I switched to a new code base. Please don't consider the above files or try to edit them.",
    )
    conversation = said(*examples, "fix the bug", "and that one")
    assert (conversation.human, conversation.first) == (("fix the bug", "and that one"), "fix the bug")


@pytest.mark.parametrize("content", ["<INSTRUCTIONS>Prove it.</INSTRUCTIONS>", "[Request interrupted by user for tool use]"])
def test_where_nothing_but_envelopes_is_left_the_last_message_is_classified_as_it_came(content: str) -> None:
    empty = [{"type": "tool_result", "tool_use_id": "a", "content": "ok"}]
    for dialect, contents, first in (
        ("chat", ["<task></task>", content], "<task></task>"),
        ("messages", [[{"type": "text", "text": content}], empty], content),
    ):
        conversation = said(*contents, dialect=dialect)
        assert (conversation.human, conversation.first) == ((content,), first)


def test_reminders_beside_results_of_tools_change_neither_the_first_message_nor_the_classified_one() -> None:
    instruction = [{"type": "text", "text": "<INSTRUCTIONS>Prove it.</INSTRUCTIONS>"}]
    result = [{"type": "tool_result", "tool_use_id": "a", "content": "ok"}, {"type": "text", "text": "<system-reminder>Hurry.</system-reminder>"}]
    for conversation in (said(instruction, dialect="messages"), said(instruction, result, dialect="messages")):
        assert (conversation.human, conversation.first) == (("<INSTRUCTIONS>Prove it.</INSTRUCTIONS>",), "<INSTRUCTIONS>Prove it.</INSTRUCTIONS>")


@pytest.mark.parametrize(
    "text", ["what does <context>x</context> mean", "a < b and b > c", "<b>bold</b>", "close <system-reminder> please", "<task> ..."]
)
def test_a_persons_own_tags_stay(text: str) -> None:
    assert (text,) == said(text).human


def test_reminders_in_blocks_of_their_own_are_left_out() -> None:
    blocks = [{"type": "text", "text": "<system-reminder>x</system-reminder>"}, {"type": "text", "text": "Sort a list"}]
    assert said(blocks, dialect="messages").human == ("Sort a list",)


def test_tags_that_are_never_closed_take_linear_time() -> None:
    text = "<system-reminder><environment_context>" * 50_000  # in quadratic time, this would not end
    assert (text,) == said(text).human


def test_an_element_is_found_wherever_it_begins() -> None:
    for before in range(49_990, 50_010):
        assert said("x" * before + "<system-reminder>no</system-reminder>").human == ("x" * before,)


@pytest.mark.parametrize("text", ["<" * 2_000_000, "<task>x</task>" * 140_000], ids=["signs", "wrappers"])
def test_a_hostile_text_leaves_other_threads_their_turn(text: str) -> None:
    assert any(longest_wait_beside(text) < 0.5 for _ in range(20))  # a busy machine may make the other thread wait, but not each time


def longest_wait_beside(text: str) -> float:
    """Return the longest wait of another thread for its turn while a text is read, as a share of the processor time that this takes."""
    waits, began, ended = [0.0], threading.Event(), threading.Event()

    def wait() -> None:
        began.set()
        while not ended.is_set():
            start = time.process_time()
            time.sleep(0.001)
            waits.append(time.process_time() - start)

    other = threading.Thread(target=wait)
    other.start()
    began.wait()
    start = time.process_time()
    said(text)
    took = time.process_time() - start
    ended.set()
    other.join()
    return max(waits) / took


TITLES = [
    ("", "Please write a 5-10 word title for the following conversation:\n\nUser: hi"),
    ("Summarize this coding conversation in under 50 characters.\nCapture the main task", "User: hi"),
    ("Analyze if this message indicates a new conversation topic. If it does, extract a 2-3 word title that captures the new topic.", "hi"),
    ("", "### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat history."),
    ("", "### Task:\nGenerate 1-3 broad tags categorizing the main themes of the chat history"),
    ("You are a title generator. You output ONLY a thread title.", "hi"),
    ("", "Provide a concise, 5-word-or-less title for the conversation, using title case conventions."),
    ("Generate a concise, sentence-case title (3-7 words) that captures the main topic or goal of this coding session.", "hi"),
    ("", "### Task:\nSuggest 3-5 relevant follow-up questions that the user might ask next, based on the chat history"),
    ("You are coming up with a succinct title and git branch name for a coding session based on the provided description.", "hi"),
    ("Generate a short title based on the first message a user begins a conversation with.", "hi"),
    ("", "Summarize the conversation into a title within 10 characters"),
    ("", "Generate a title for the user's conversation"),
    ("", "Generate a brief title for our chat session"),
    ("", "Write a very short title for this conversation"),
    ("", "Generate a title for the following chat message"),
    ("", "Please generate a git branch name for this session"),
    ("You are a chat title generator.", "hi"),
    ("", "Analyze the given short conversation and extract a concise chat title that summarizes the conversation."),
]


@pytest.mark.parametrize(("system", "text"), TITLES)
def test_side_requests_are_recognised(system: str, text: str) -> None:
    messages = [{"role": "system", "content": system}, {"role": "user", "content": text}]
    assert conversation_of("chat", {"messages": messages}).side_request in ("title", "summary")
    tools = [{"type": "function", "function": {"name": "f"}}]
    assert conversation_of("chat", {"messages": messages, "tools": tools}).side_request == ""


@pytest.mark.parametrize(
    "text",
    [
        "Write a title for my blog post about cats",
        "Summarize the article below in three sentences",
        "Your task is to create a detailed summary of the conversation so far, paying close attention to the user's explicit requests",
        "What is a good name for a variable?",
        "How do I create a thread in Python? Give me the name of the module.",
        "Write a Python function that takes a name and returns a greeting message",
        "Generate a SQL schema with user name, email and session token columns",
        "Write a C++ class Student with name, age and a method printing a message",
        "Write a blog post with the title 'How chat changed the world'",
        "Create a React form with fields name, email and message",
        "Write an essay of 2000 words, with a title, on the topic of quantum error correction",
        "Provide the name of the theorem discussed in this topic and prove it rigorously",
        "Summarize the chat protocol RFC 1459 in 10 detailed sections",
        "Write a kernel module; extract the name of each thread and print it",
        "Write a short title for the chat application that I build",
        "Build a title generator for blog posts in Python",
        "Summarize this thread in 3 sentences: Hi all, I am moving to Berlin",
        "Summarize the message below in one sentence",
        "Summarize my discussion with the landlord in one sentence",
        "You are a YouTube title generator. Give me ten titles for a video about cats.",
        "You are a title generator for blog posts. Give me ten titles for a post about cats.",
        "Suggest follow-up questions that I can ask the speaker in a discussion of chat applications",
        "Summarize the discussion in 2000 words",
        "Summarize the conversation between Romeo and Juliet in act 2 in one sentence",
        "Provide a title for the session. Then solve the integral of x^2 e^x.",
        "Suggest tags for this thread, then refactor the code below",
        "Come up with a title for this thread-safe queue",
        "Why does my prompt 'Generate a concise title for this conversation' return JSON?",
    ],
)
def test_a_persons_request_is_no_side_request(text: str) -> None:
    assert said(text).side_request == ""


@pytest.mark.parametrize(
    "system",
    [
        "You are a chat assistant. After each answer, generate a short title for the conversation.",
        "You are a helpful bot. At the end of the chat, summarize the conversation in one sentence.",
        "You write movie scripts. Always provide a title for the dialogue.",
        "You are a support bot. Always write the customer's name at the start of each message.",
        "You are a support bot. Give the customer's name in the first message of a conversation.",
    ],
)
def test_an_applications_instructions_are_no_side_request(system: str) -> None:
    messages = [{"role": "system", "content": system}, {"role": "user", "content": "Solve this problem"}]
    assert conversation_of("chat", {"messages": messages}).side_request == ""


HOSTILE = [
    "Fix the title of my chart. Its axis must output " + ", ".join(str(1700000000000 + number) for number in range(9)),
    "output " + "1-word1-word-" * 800,
    "generate " * 1_200,
    "generate" + ", 1-word" * 1_400,
    "generate a title" + " for the title of the chat of the" * 300,
    "summarize the chat " + "of the topic the chat " * 500,
    "suggest follow-up questions " * 200 + "based on the " * 300,
    "title" + "you are a " * 1_000,
]
"""Texts that take hours where a pattern can match a word in several ways."""


def test_a_hostile_text_is_searched_in_time() -> None:
    program = f"""
from aamc_models.dialects import conversation_of
for text in {HOSTILE}:
    conversation_of("chat", {{"messages": [{{"role": "user", "content": text}}]}})
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        (
            "chat",
            {
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": "Hello"},
                    {"role": "assistant", "content": None, "tool_calls": []},
                    {"role": "tool", "tool_call_id": "1", "content": "5"},
                    {"role": "assistant", "content": "It is 5."},
                    {"role": "user", "content": [{"type": "text", "text": "Why?"}, {"type": "image_url", "image_url": {"url": "data:"}}]},
                ]
            },
        ),
        (
            "messages",
            {
                "system": "Be brief.",
                "messages": [
                    {"role": "user", "content": "Hello"},
                    {
                        "role": "assistant",
                        "content": [{"type": "thinking", "thinking": "hm"}, {"type": "tool_use", "id": "1", "name": "f", "input": {}}],
                    },
                    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "5"}]},
                    {"role": "assistant", "content": [{"type": "text", "text": "It is 5."}]},
                    {"role": "user", "content": "<system-reminder>Be kind.</system-reminder>Why?"},
                ],
            },
        ),
        (
            "responses",
            {
                "input": [
                    {"role": "user", "content": "Hello"},
                    {"type": "function_call_output", "call_id": "1", "output": "5"},
                    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "It is 5."}]},
                    {"role": "user", "content": [{"type": "input_text", "text": "Why?"}]},
                ]
            },
        ),
    ],
)
def test_a_transcript_has_the_texts_of_people_and_assistant(dialect: str, body: dict[str, Any]) -> None:
    assert transcript_of(dialect, body) == [("user", "Hello"), ("assistant", "It is 5."), ("user", "Why?")]


@pytest.mark.parametrize(
    ("dialect", "body", "new"),
    [
        ("chat", {"messages": [{"role": "user"}, {"role": "assistant"}, {"role": "user", "content": "b"}, {"role": "tool"}]}, 2),
        ("chat", {"messages": [{"role": "system"}, {"role": "user"}]}, 2),
        ("messages", {"system": "Be brief.", "messages": [{"role": "user"}, {"role": "assistant"}, {"role": "user"}]}, 1),
        ("responses", {"input": [{"role": "user"}, {"type": "reasoning"}, {"type": "function_call"}, {"type": "function_call_output"}]}, 1),
        ("responses", {"input": "Hello"}, 1),
        ("completions", {"prompt": "Hello"}, 1),
        ("chat", {}, 1),
    ],
)
def test_what_follows_the_last_answer_is_new(dialect: str, body: dict[str, Any], new: int) -> None:
    assert len(new_messages(dialect, body)) == new
