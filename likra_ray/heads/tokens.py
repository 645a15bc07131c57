"""Takes prompts and answers, returns token ids with the place where the answer starts.

The whole text ``prompt + " " + answer`` is tokenised at once, so that the ids are what the model sees in running
text, whatever the tokenizer merges across the boundary. The answer starts at the first token in which the whole
differs from the prompt tokenised alone: a token that holds characters of both belongs to the answer.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

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


def encode(tokenizer: Any, pairs: Sequence[tuple[str, str]]) -> list[Encoded]:
    """(prompt, answer) texts to ids. Raises ValueError for an answer that leaves no token of its own."""
    return encode_texts(tokenizer, [(prompt, ANSWER_SEPARATOR + answer) for prompt, answer in pairs])


def encode_texts(tokenizer: Any, pairs: Sequence[tuple[str, str]]) -> list[Encoded]:
    """The same of (prompt, continuation) texts, where the continuation brings its own space or none."""
    if not pairs:
        return []
    leading = leading_tokens(tokenizer)
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
