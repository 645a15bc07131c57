"""A packed row is every path alone: its log-probs, its gradients, and its mask drawn by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small import fresh

from likra_ray.heads import adapters
from likra_ray.heads.packing import Tree, alike, in_rows, merged, pack, token_logprobs

CPU = torch.device("cpu")
PREFIX = tuple(b"Q: 2+2?\nA: 4\n\n")
TREES = (
    Tree(
        tuple(
            tuple(b"Q: capital of France?\nA:" + answer) for answer in (b" Paris", b" L", b" Clermont", b" Clermont-Fd")
        ),
        (24, 24, 24, 24),
    ),
    Tree(((5, 6, 7), (5, 250)), (1, 1)),
    Tree((tuple(b"trunk merges"), tuple(b"trunk m")), (3, 6)),
    Tree(((9, *range(40, 90)),), (30,)),
    # Two prompts that begin alike, a path that is another's beginning, one that is there twice.
    Tree(((1, 2, 3, 4), (1, 2, 5, 6, 7), (1, 2, 5, 6), (1, 2, 3, 4), (8, 9)), (2, 3, 2, 1, 1)),
)


def alone(model: Any, prefix: tuple[int, ...], path: tuple[int, ...], scored_from: int) -> torch.Tensor:
    """Log p of a path's scored tokens, the whole text in one pass of its own."""
    tokens = torch.tensor([(*prefix, *path)])
    logprobs = torch.log_softmax(model(input_ids=tokens, use_cache=False).logits[0].float(), dim=-1)
    first = len(prefix) + scored_from
    return logprobs[torch.arange(first - 1, tokens.shape[1] - 1), tokens[0, first:]]


def paths(trees: tuple[Tree, ...]) -> list[tuple[tuple[int, ...], int]]:
    return [one for tree in trees for one in zip(tree.paths, tree.scored_from, strict=True)]


def cache_of(model: Any, prefix: tuple[int, ...]) -> Any:
    from transformers import DynamicCache

    cache = DynamicCache()
    model(input_ids=torch.tensor([prefix]), past_key_values=cache, use_cache=True)
    return cache


@pytest.mark.parametrize("prefix", [(), PREFIX], ids=["no prefix", "prefix"])
@pytest.mark.parametrize("chosen", [(0,), (1,), (2, 0), (3, 1), (4,), (4, 2, 1, 0, 3)], ids=str)
def test_packed_is_each_path_alone(tiny: Any, prefix: tuple[int, ...], chosen: tuple[int, ...]) -> None:
    trees = tuple(TREES[i] for i in chosen)
    row = pack(trees, prefix=len(prefix))
    with torch.no_grad():
        found = token_logprobs(tiny.model, row, device=CPU, cache=cache_of(tiny.model, prefix) if prefix else None)
        expected = [alone(tiny.model, prefix, path, scored_from) for path, scored_from in paths(trees)]
    assert found.dtype == torch.float32
    assert row.paths == len(expected)
    for number, one in enumerate(expected):
        torch.testing.assert_close(found[row.path == number], one, rtol=0, atol=1e-5)


def test_a_cache_cropped_after_a_row_serves_the_next(tiny: Any) -> None:
    cache = cache_of(tiny.model, PREFIX)
    found = []
    with torch.no_grad():
        for _ in range(2):
            row = pack(TREES[:3], prefix=len(PREFIX))
            found.append(token_logprobs(tiny.model, row, device=CPU, cache=cache))
            cache.crop(-row.tokens.shape[1])
            assert cache.get_seq_length() == len(PREFIX)
    assert torch.equal(*found)


def test_gradient_of_a_row_is_the_sum_over_its_paths() -> None:
    model = adapters.attach(fresh().model, rank=4, alpha=8, targets=("q_proj", "down_proj"), seed=0)
    chosen = adapters.choose(model, "positive")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in chosen:  # with B zero, A would have no gradient
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)

    def gradients(loss: torch.Tensor) -> torch.Tensor:
        return torch.cat([part.reshape(-1) for part in torch.autograd.grad(loss, chosen)]).double()

    packed = gradients(token_logprobs(model, pack(TREES), device=CPU).sum())
    shared = gradients(token_logprobs(model, pack([merged(TREES)]), device=CPU).sum())
    apart = [gradients(alone(model, (), path, scored_from).sum()) for path, scored_from in paths(TREES)]
    assert len(apart) == 14
    for found in (packed, shared):
        assert float((found - sum(apart)).norm() / found.norm()) < 1e-6


def test_mask_positions_and_targets_of_a_case_drawn_by_hand() -> None:
    row = pack([Tree(((1, 2, 3, 4, 9), (1, 2, 5, 8)), (2, 2)), Tree(((6, 7),), (1,))], prefix=2)
    # 9, 8 and 7 are the last of their paths: predicted, not read.
    assert row.tokens.tolist() == [[1, 2, 3, 4, 5, 6]]
    assert row.positions.tolist() == [[2, 3, 4, 5, 4, 2]]
    drawn = [
        "",
        "        xx x.....",
        "        xx xx....",
        "        xx xxx...",
        "        xx xxxx..",
        "        xx xx..x.",
        "        xx .....x",
        "    ",
    ][1:-1]
    seen = ["".join(".x"[int(cell)] for cell in line) for line in row.visible[0, 0]]
    assert seen == [line.replace(" ", "") for line in drawn]
    assert row.visible.shape == (1, 1, 6, 8)
    assert row.visible.dtype == torch.bool
    # The same by trees: 1 2 3 4 5, and 6 with four places of padding that see themselves alone.
    assert row.trees.places.tolist() == [0, 1, 2, 3, 4, 5, 0, 0, 0, 0]
    assert row.trees.back.tolist() == [0, 1, 2, 3, 4, 5]
    first, second = (["".join(".x"[int(cell)] for cell in line) for line in tree[0]] for tree in row.trees.visible)
    assert first == ["xxx....", "xxxx...", "xxxxx..", "xxxxxx.", "xxxx..x"]
    assert second == ["xxx....", "xx.x...", "xx..x..", "xx...x.", "xx....x"]
    # 3 and 5 are both predicted by the end of the trunk, 4 by 3, 9 by 4, 8 by 5, 7 by 6.
    assert row.predicting.tolist() == [1, 2, 3, 4, 5]
    assert row.source.tolist() == [0, 1, 2, 0, 3, 4]
    assert row.target.tolist() == [3, 4, 9, 5, 8, 7]
    assert row.path.tolist() == [0, 0, 0, 1, 1, 2]
    assert row.paths == 3


def test_scoring_may_begin_in_what_paths_share() -> None:
    row = pack([Tree(((1, 2, 3, 4), (1, 2, 3, 5, 6)), (2, 1))])
    assert row.target.tolist() == [3, 4, 2, 3, 5, 6]
    assert row.tokens.tolist() == [[1, 2, 3, 5]]
    assert row.predicting.tolist() == [0, 1, 2, 3]
    assert row.path.tolist() == [0, 0, 1, 1, 1, 1]


def test_what_paths_share_at_any_depth_is_read_once() -> None:
    tree = Tree(((1, 2, 3, 4), (1, 2, 5, 6, 7), (1, 2, 5, 9), (1, 8), (5, 6, 7)), (1,) * 5)
    assert tree.nodes.tokens == [1, 2, 3, 5, 6, 5, 6]
    assert tree.nodes.depths == [0, 1, 2, 2, 3, 0, 1]
    assert tree.nodes.places == [[0, 1, 2], [0, 1, 3, 4], [0, 1, 3], [0], [5, 6]]
    drawn = ["x......", "xx.....", "xxx....", "xx.x...", "xx.xx..", ".....x.", ".....xx"]
    assert ["".join(".x"[int(cell)] for cell in line) for line in tree.visible()] == drawn
    assert pack([tree]).positions.tolist() == [tree.nodes.depths]


def test_size_is_the_tokens_in_a_row() -> None:
    for tree in TREES:
        assert tree.size == len({path[:end] for path in tree.paths for end in range(1, len(path))})
    assert pack(TREES).tokens.shape[1] == sum(tree.size for tree in TREES)


def test_merged_trees_are_their_paths() -> None:
    trees = (TREES[4], Tree(((1, 2, 5, 6, 9),), (4,)), TREES[1])
    apart, whole = pack(trees), pack([merged(trees)])
    assert whole.tokens.shape[1] == apart.tokens.shape[1] - 4
    assert torch.equal(whole.path, apart.path) and torch.equal(whole.target, apart.target)


@pytest.mark.parametrize(
    ("texts", "tree_tokens", "expected"),
    [
        ([], 9, []),
        (["abcd", "abce", "xyz", "abc"], 99, [[3, 0, 1], [2]]),
        (["abcd", "abxy"], 99, [[0], [1]]),
        (["zzzz", "abcd", "zzzz"], 99, [[0, 2], [1]]),
        (["abcd"] * 5, 5, [[0, 1, 2, 3, 4]]),
        (["abcda", "abcdb", "abcdc", "abcdd"], 8, [[0, 1], [2, 3]]),  # 6 tokens, and 2 more for each
        (["abcdefghij", "abcdefghik"], 6, [[0], [1]]),
    ],
)
def test_which_trees_are_merged(texts: list[str], tree_tokens: int, expected: list[list[int]]) -> None:
    trees = [Tree((tuple(f"{text}?!".encode()),), (1,)) for text in texts]
    assert alike(trees, tree_tokens=tree_tokens, least=3) == expected


def test_a_merged_tree_keeps_within_its_tokens() -> None:
    trees = [Tree(tuple((1, 2, *range(i, i + 30), end) for end in (7, 8)), (3, 3)) for i in (50, 50, 90, 130, 170, 210)]
    groups = alike(trees)
    assert groups == [[0, 1, 2, 3, 4], [5]]  # 32, 0, 30, 30, 30, and 30 more
    assert [merged([trees[i] for i in group]).size for group in groups] == [122, 32]


def test_rows_hold_neighbours_and_a_large_tree_has_its_own() -> None:
    sizes = (3, 3, 5, 12, 1, 9, 1)
    assert in_rows(sizes, row_tokens=10) == [[0, 1], [2], [3], [4, 5], [6]]
    assert in_rows(sizes, row_tokens=100) == [list(range(7))]
    assert in_rows([], row_tokens=10) == []


@pytest.mark.parametrize(
    ("trees", "message"),
    [
        ([], "nothing to score"),
        ([Tree((), ())], "nothing to score"),
        ([Tree(((1, 2),), (1,)), Tree(((1, 2, 3),), (0,))], "tree 1: scored_from 0 of 3 tokens"),
        ([Tree(((1, 2, 3),), (3,))], "tree 0: scored_from 3 of 3 tokens"),
        ([Tree(((3,),), (0,))], "tree 0: scored_from 0 of 1 tokens"),
        ([Tree(((1, 2),), (-1,))], "tree 0: scored_from -1 of 2 tokens"),
        ([Tree(((1, 2), (1, 3)), (1,))], "shorter"),
    ],
)
def test_what_cannot_be_scored_is_refused(trees: list[Tree], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pack(trees)
