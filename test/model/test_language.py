"""Instructions as tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from f1_ros.errors import CheckpointError
from f1_ros.model.language import LanguageTokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Word pieces with PaliGemma's special tokens and its start token before every text."""
    from tokenizers import Tokenizer, pre_tokenizers, processors
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    words = ("<pad>", "<eos>", "<bos>", "<unk>", "\n", "pick", "the", "cube")
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split("\n", "isolated"), pre_tokenizers.Split(" ", "removed")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    folder = tmp_path_factory.mktemp("language")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>").save_pretrained(folder)
    (folder / "config.json").write_text(
        '{"model_type": "f1"}'
    )  # beside it in a policy directory, unknown to transformers
    return folder


def test_texts_end_with_a_newline_and_are_padded_on_the_right(folder: Path) -> None:
    tokens, mask = LanguageTokenizer(folder, 7, 8)(["pick the cube", "cube\n", ""])
    assert tokens.tolist() == [[2, 5, 6, 7, 4, 0, 0], [2, 7, 4, 0, 0, 0, 0], [2, 4, 0, 0, 0, 0, 0]]
    assert mask.tolist() == [[True] * 5 + [False] * 2, [True] * 3 + [False] * 4, [True] * 2 + [False] * 5]


def test_unknown_words_have_a_token(folder: Path) -> None:
    assert LanguageTokenizer(folder, 4, 8)(["the cat"])[0].tolist() == [[2, 6, 3, 4]]


def test_long_text_is_cut(folder: Path) -> None:
    tokens, mask = LanguageTokenizer(folder, 3, 8)(["pick the cube"])
    assert tokens.tolist() == [[2, 5, 6]]
    assert mask.all()


def test_token_beyond_the_embedding_is_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="token 7, the network's embedding has 6 rows"):
        LanguageTokenizer(folder, 8, 6)(["pick the cube"])


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_missing_or_damaged_file_is_named(folder: Path, tmp_path: Path, name: str) -> None:
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / file).write_bytes((folder / file).read_bytes())
    (tmp_path / name).write_text('{"version": ')
    with pytest.raises(CheckpointError, match=name):
        LanguageTokenizer(tmp_path, 8, 8)
    (tmp_path / name).unlink()
    with pytest.raises(CheckpointError, match=f"there is no {name}"):
        LanguageTokenizer(tmp_path, 8, 8)
