"""Where the answer starts, for tokenizers of every kind that a base may bring."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from likra_ray.heads.tokens import ANSWER_SEPARATOR, encode, leading_tokens

TEXTS = [
    "Question: what is the capital of France?\nAnswer: Paris",
    "Question: what is the capital of Greece?\nAnswer: Athens",
    "the answer is the capital of the country, the capital",
    "Question: which metal is magnetic?\nAnswer: iron and nickel",
]
PAIRS = [
    ("Question: what is the capital of France?\nAnswer:", "Paris"),
    ("Question: what is the capital of France?\nAnswer:", "Paris is the capital of the country"),
    ("Question: what is the capital of Greece?\nAnswer:", "A"),
    ("Question: what is ασήμι, 銀?\nAnswer:", "🙂 silver"),
    ("the country", "iron"),
    ("two lines\n\n", "and one\nmore"),
    ("Q:", "  two spaces"),
    ("", "the capital"),
]


def fast(tokenizer: Tokenizer, **special: str) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def byte_level(*, add_prefix_space: bool = False, specials: tuple[str, ...] = ()) -> Tokenizer:
    """Byte-level BPE, as GPT-2, Llama 3 and SmolLM have it, with some 60 merges."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=list(specials),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def with_template(template: str, specials: tuple[str, ...]) -> PreTrainedTokenizerFast:
    tokenizer = byte_level(specials=specials)
    ids = [(special, tokenizer.token_to_id(special)) for special in specials]
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=ids)
    return fast(tokenizer)


def plain_bytes() -> PreTrainedTokenizerFast:
    return fast(byte_level())


def prefix_space() -> PreTrainedTokenizerFast:
    return fast(byte_level(add_prefix_space=True))


def begins() -> PreTrainedTokenizerFast:
    return with_template("<s> $A", ("<s>",))


def begins_and_ends() -> PreTrainedTokenizerFast:
    return with_template("<s> $A </s>", ("<s>", "</s>"))


def merges_across() -> PreTrainedTokenizerFast:
    """No pre-tokenizer, so `: `, newline + space and letters across the space become one token."""
    text = sorted({char for pair in PAIRS for char in " ".join(pair)} | {" "})
    vocabulary = {char: index for index, char in enumerate(text)}
    merges = [(":", " "), ("\n", " "), ("y", " "), (" ", " "), ("\n", "\n"), ("\n\n", " ")]
    for left, right in merges:
        vocabulary.setdefault(left + right, len(vocabulary))
    return fast(Tokenizer(models.BPE(vocab=vocabulary, merges=merges)))


def unigram() -> PreTrainedTokenizerFast:
    """As SentencePiece has it: spaces become a visible mark before the word, one is put before the text."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.UnigramTrainer(
        vocab_size=90, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False, initial_alphabet=["▁", "\n"]
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return fast(tokenizer, unk_token="<unk>")


def metaspace() -> PreTrainedTokenizerFast:
    """As Llama 2 and Gemma were converted: Metaspace, with BOS."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    trainer = trainers.BpeTrainer(vocab_size=150, special_tokens=["<unk>", "<s>"], show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.add_special_tokens([AddedToken("<s>", special=True)])
    begin = ("<s>", tokenizer.token_to_id("<s>"))
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[begin])
    return fast(tokenizer, unk_token="<unk>", bos_token="<s>")


TOKENIZERS: dict[str, tuple[Callable[[], PreTrainedTokenizerFast], int]] = {
    "byte-level BPE": (plain_bytes, 0),
    "byte-level BPE, prefix space": (prefix_space, 0),
    "BOS": (begins, 1),
    "BOS and EOS": (begins_and_ends, 1),
    "merges across the boundary": (merges_across, 0),
    "unigram": (unigram, 0),
    "metaspace": (metaspace, 1),
}


@pytest.fixture(params=TOKENIZERS)
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return TOKENIZERS[request.param][0]()


def plain_ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


@pytest.mark.parametrize("name", TOKENIZERS)
def test_leading_tokens_are_what_the_tokenizer_puts_first(name: str) -> None:
    make, count = TOKENIZERS[name]
    assert len(leading_tokens(make())) == count


def usable(tokenizer: Any) -> list[tuple[str, str]]:
    """An empty prompt can only be followed where something comes first."""
    return [pair for pair in PAIRS if pair[0] or leading_tokens(tokenizer)]


def test_tokens_are_those_of_the_running_text(tokenizer: Any) -> None:
    pairs = usable(tokenizer)
    leading = leading_tokens(tokenizer)
    for (prompt, answer), encoded in zip(pairs, encode(tokenizer, pairs), strict=True):
        whole = plain_ids(tokenizer, prompt + ANSWER_SEPARATOR + answer)
        assert list(encoded.tokens) == [*leading, *whole]


def test_answer_starts_at_the_first_token_that_is_not_the_prompts(tokenizer: Any) -> None:
    """By characters: before the start stands the prompt only; at the start, more, or a token the prompt alone lacks."""
    pairs = usable(tokenizer)
    leading = len(leading_tokens(tokenizer))
    for (prompt, answer), encoded in zip(pairs, encode(tokenizer, pairs), strict=True):
        text = prompt + ANSWER_SEPARATOR + answer
        offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        before, first = offsets[: encoded.answer_start - leading], offsets[encoded.answer_start - leading]
        assert all(end <= len(prompt) for _, end in before), "a token of the answer is not scored"
        alone = [*leading_tokens(tokenizer), *plain_ids(tokenizer, prompt)]
        moved = encoded.tokens[encoded.answer_start] not in alone[encoded.answer_start : encoded.answer_start + 1]
        assert first[1] > len(prompt) or moved, "a token of the prompt alone is scored"
        assert 1 <= encoded.answer_start < len(encoded.tokens)


def test_a_token_across_the_boundary_belongs_to_the_answer() -> None:
    tokenizer = merges_across()
    (colon, newline) = encode(tokenizer, [("Q:", "iron"), ("two\n", "iron")])
    for encoded, merged in ((colon, ": "), (newline, "\n ")):
        assert tokenizer.convert_ids_to_tokens(encoded.tokens[encoded.answer_start]) == merged
    assert colon.answer_start == 1
    assert colon.tokens[1:] == tuple(plain_ids(tokenizer, ": iron"))


@pytest.mark.parametrize(
    ("answer", "scored"),
    [("Paris", 6), ("", 1), ("🙂", 5)],
)
def test_the_space_before_the_answer_is_scored_with_it(tiny: Any, answer: str, scored: int) -> None:
    [encoded] = encode(tiny.tokenizer, [("Q:", answer)])
    assert (encoded.answer_start, len(encoded.tokens) - encoded.answer_start) == (2, scored)


def test_many_pairs_are_encoded_as_each_alone(tokenizer: Any) -> None:
    pairs = usable(tokenizer)
    assert encode(tokenizer, pairs) == [encode(tokenizer, [pair])[0] for pair in pairs]
    assert encode(tokenizer, []) == []


def test_a_first_token_that_nothing_predicts_is_refused() -> None:
    with pytest.raises(ValueError, match="answer 'Paris' starts at the first token"):
        encode(plain_bytes(), [("", "Paris")])
    merged = fast(Tokenizer(models.BPE(vocab={"a": 0, " ": 1, "a ": 2, "a a": 3}, merges=[("a", " "), ("a ", "a")])))
    with pytest.raises(ValueError, match="nothing predicts it"):
        encode(merged, [("a", "a")])


def test_an_answer_without_a_token_of_its_own_is_refused() -> None:
    stripping = byte_level()
    stripping.normalizer = normalizers.Strip()
    with pytest.raises(ValueError, match="answer '' leaves no token of its own after 'the capital'"):
        encode(fast(stripping), [("the capital", "")])


def test_a_tokenizer_whose_special_tokens_change_the_text_is_refused() -> None:
    class Changing:
        """Adds special tokens by replacing what is there."""

        def __call__(self, texts: list[str], add_special_tokens: bool = True) -> dict[str, list[list[int]]]:
            return {"input_ids": [[7, 8] if add_special_tokens else [1] for _ in texts]}

    with pytest.raises(ValueError, match="Changing changes a text when it adds special tokens"):
        leading_tokens(Changing())


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_real_sentencepiece_model(kind: str, tmp_path: Path) -> None:
    """Trained on the spot and read as Llama's: BOS before, a mark for the space, bytes for what is unknown."""
    import sentencepiece
    from transformers import LlamaTokenizer

    (tmp_path / "text.txt").write_text("\n".join(" ".join(TEXTS).split("\n")), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text.txt"),
        model_prefix=str(tmp_path / "tokenizer"),
        vocab_size=380,
        model_type=kind,
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    os.remove(tmp_path / "text.txt")
    tokenizer = LlamaTokenizer.from_pretrained(tmp_path)
    leading = leading_tokens(tokenizer)
    assert leading in ([], [tokenizer.bos_token_id])
    pairs = [pair for pair in PAIRS if pair[0]]
    for (prompt, answer), encoded in zip(pairs, encode(tokenizer, pairs), strict=True):
        assert list(encoded.tokens) == [*leading, *plain_ids(tokenizer, f"{prompt} {answer}")]
        rest = tokenizer.decode(encoded.tokens[encoded.answer_start :])
        assert rest.strip() == answer.strip(), "the scored tokens are not the answer's"
