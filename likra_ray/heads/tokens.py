"""Takes prompts and answers, returns token ids with the place where the answer starts.

The whole text ``prompt + " " + answer`` is tokenised at once, so that the ids are what the model sees in running
text, whatever the tokenizer merges across the boundary. The answer starts at the first token in which the whole
differs from the prompt tokenised alone: a token that holds characters of both belongs to the answer.

Under `Chat` a prompt is a user's turn and its answer the assistant's, in the words of the tokenizer's own template,
which brings all that stands before, between and behind them. What ends the assistant's turn is neither learnt nor
scored, as nothing is behind a plain answer.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from likra_ray.errors import InputError

ANSWER_SEPARATOR = " "
"""Between prompt and answer, in training, in scoring and in solved examples (paper's templates)."""

SHOT_SEPARATOR = "\n\n"
"""Between solved examples (lm-evaluation-harness's few-shot delimiter)."""


class Encoded(NamedTuple):
    """One text as the model reads it."""

    tokens: tuple[int, ...]
    """(L,) ids, what the tokenizer puts at the start (BOS or nothing) included, nothing at the end."""
    answer_start: int
    """Index of the answer's first token; at least 1."""


class Chat(NamedTuple):
    """A tokenizer, in whose place it stands, that reads prompts and answers as turns of its chat template."""

    tokenizer: Any


def chat(tokenizer: Any) -> Chat:
    """Raises InputError for a tokenizer without a chat template, or with one that writes today's date: its heads and
    tables would be others tomorrow under the same keys."""
    template = getattr(tokenizer, "chat_template", None)
    why = "has no chat template" if not template else "writes today's date" if "strftime_now" in str(template) else ""
    if why:
        whose = "the base's tokenizer" if not template else "the template of the base's tokenizer"
        raise InputError(where="search space", field="questions.chat", value=True, allowed=f"false: {whose} {why}")
    return Chat(tokenizer)


def encode(tokenizer: Any, pairs: Sequence[tuple[str, str]], *, shots: Sequence[tuple[str, str]] = ()) -> list[Encoded]:
    """(prompt, answer) texts to ids, each after the solved `shots`. tokenizer: or a Chat of one.

    Raises ValueError for an answer that leaves no token of its own, and for a template that changes it.
    """
    if isinstance(tokenizer, Chat):
        return _encode_turns(tokenizer.tokenizer, pairs, shots)
    solved = joined(shots)
    return encode_texts(tokenizer, [(solved + prompt, ANSWER_SEPARATOR + answer) for prompt, answer in pairs])


def joined(shots: Sequence[tuple[str, str]]) -> str:
    """Solved (prompt, answer) texts as they stand before a prompt; "" for none."""
    return "".join(prompt + ANSWER_SEPARATOR + answer + SHOT_SEPARATOR for prompt, answer in shots)


def _encode_turns(tokenizer: Any, pairs: Sequence[tuple[str, str]], shots: Sequence[tuple[str, str]]) -> list[Encoded]:
    asked = {prompt: [*_turns(shots), *_turns([(prompt, "")])[:1]] for prompt, _ in pairs}
    before = {prompt: before_answer(tokenizer, messages) for prompt, messages in asked.items()}
    for prompt, answer in pairs:
        if not _said(tokenizer, asked[prompt], answer).startswith(before[prompt] + answer):
            raise ValueError(f"the chat template changes the answer {answer!r} after {prompt[-60:]!r}")
    return encode_texts(tokenizer, [(before[prompt], answer) for prompt, answer in pairs], rendered=True)


_MARK = "The assistant's answer stands here."


def before_answer(tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> str:
    """All that the tokenizer's chat template puts before the answer to a conversation.

    Taken from the answered conversation, not from the template's generation prompt: some templates put more before an
    answer that is given than before one that is to be written (Qwen3: an empty thought). Raises ValueError for a
    template that shows no answer.
    """
    before, mark, _ = _said(tokenizer, messages, _MARK).rpartition(_MARK)
    if not mark:
        raise ValueError("the base's chat template does not show what the assistant answers")
    return before


def _said(tokenizer: Any, messages: Sequence[Mapping[str, str]], answer: str) -> str:
    """The conversation with an answer at its end, as text."""
    whole = [*messages, {"role": "assistant", "content": answer}]
    text: str = tokenizer.apply_chat_template(whole, tokenize=False)
    return text


def _turns(shots: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [
        {"role": role, "content": text}
        for texts in shots
        for role, text in zip(("user", "assistant"), texts, strict=True)
    ]


def encode_texts(tokenizer: Any, pairs: Sequence[tuple[str, str]], *, rendered: bool = False) -> list[Encoded]:
    """The same of (prompt, continuation) texts, where the continuation brings its own space or none.

    rendered: the texts are a chat template's, which brings BOS itself where there is one.
    """
    if not pairs:
        return []
    leading = [] if rendered else leading_tokens(tokenizer)
    prompts = list(dict.fromkeys(prompt for prompt, _ in pairs))
    ids_of_prompt = dict(zip(prompts, _ids(tokenizer, prompts), strict=True))
    wholes = _ids(tokenizer, [prompt + answer for prompt, answer in pairs])
    encoded = []
    for (prompt, answer), whole in zip(pairs, wholes, strict=True):
        start = len(os.path.commonprefix([ids_of_prompt[prompt], whole]))
        if start == len(whole):
            raise ValueError(f"answer {answer.lstrip()!r} leaves no token of its own after {prompt[-60:]!r}")
        tokens = (*leading, *whole)
        if len(leading) + start == 0:
            raise ValueError(f"answer {answer.lstrip()!r} starts at the first token: nothing predicts it")
        encoded.append(Encoded(tokens, len(leading) + start))
    return encoded


def leading_tokens(tokenizer: Any) -> list[int]:
    """What the tokenizer puts before a text by default: [BOS] or []."""
    plain = _ids(tokenizer, ["a"])[0]
    full = list(tokenizer(["a"])["input_ids"][0])
    for start in range(len(full) - len(plain) + 1):
        if full[start : start + len(plain)] == plain:
            return full[:start]
    raise ValueError(f"tokenizer {type(tokenizer).__name__} changes a text when it adds special tokens")


def _ids(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    return [list(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]
