"""A language tokenizer for small policies: one token a word, in the files that `AutoTokenizer` reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Sequence as PreTokenizers
from tokenizers.pre_tokenizers import Split
from transformers import PreTrainedTokenizerFast

from f1_ros.errors import ConfigError

SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>")
NEWLINE = "\n"


def save_word_tokenizer(folder: Path, words: Sequence[str]) -> None:
    """Write tokenizer.json and tokenizer_config.json with PaliGemma's ids for padding (0), end (1) and start (2).

    Raises:
        ConfigError: if a word stands twice or holds a blank.
    """
    if len(set(words)) != len(words) or any(len(word.split()) != 1 for word in words):
        raise ConfigError("words: each must stand once and hold no blank.", remedy="Correct the list of words.")
    vocabulary = {token: i for i, token in enumerate((*SPECIAL, NEWLINE, *words))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = PreTokenizers([Split(NEWLINE, "isolated"), Split(" ", "removed")])
    folder.mkdir(parents=True, exist_ok=True)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", unk_token="<unk>"
    ).save_pretrained(folder)
