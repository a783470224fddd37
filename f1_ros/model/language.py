"""The instruction as tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from f1_ros.errors import CheckpointError


class LanguageTokenizer:
    """A policy directory's language tokenizer (`tokenizer.json`, `tokenizer_config.json`; PaliGemma's for F1).

    Args:
        directory: the policy directory. Nothing is fetched.
        length: tokens that a text is padded or cut to (`F1Config.tokenizer_max_length`).
        vocab_size: rows of the network's token embedding (`F1Config.und.vocab_size`).

    Raises:
        CheckpointError: if the files are missing or damaged.
    """

    def __init__(self, directory: Path | str, length: int, vocab_size: int) -> None:
        # Imported here: it takes seconds, and a network can be used with tokens from elsewhere.
        from transformers import AutoTokenizer
        from transformers.utils import logging

        self.directory, self.length, self.vocab_size = Path(directory), length, vocab_size
        for name in ("tokenizer.json", "tokenizer_config.json"):
            if not (self.directory / name).is_file():
                raise CheckpointError(
                    f"{self.directory}: there is no {name}.",
                    remedy="Copy the language tokenizer's files into the policy directory.",
                )
        verbosity = logging.get_verbosity()
        logging.set_verbosity_error()  # it warns that config.json is of no model that it knows: it need not
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(str(self.directory), local_files_only=True)
        except Exception as error:  # the Rust tokenizer raises bare Exception on a damaged file
            raise CheckpointError(
                f"{self.directory}: tokenizer.json or tokenizer_config.json cannot be read: {error}.",
                remedy="Restore the language tokenizer's files.",
            ) from error
        finally:
            logging.set_verbosity(verbosity)

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Tokens (B, length) int64 and their mask (B, length) bool, padded on the right, each text ended by a newline.

        Raises:
            CheckpointError: if a token has no row in the network's embedding.
        """
        ended = [text if text.endswith("\n") else text + "\n" for text in texts]
        encoded = self._tokenizer(
            ended,
            padding="max_length",
            padding_side="right",
            truncation=True,
            max_length=self.length,
            return_tensors="pt",
        )
        tokens: Tensor = encoded["input_ids"]
        if int(tokens.max()) >= self.vocab_size:
            raise CheckpointError(
                f"{self.directory}: the language tokenizer gives token {int(tokens.max())}, the network's embedding "
                f"has {self.vocab_size} rows.",
                remedy="Use the language tokenizer that the network was trained with.",
            )
        return tokens, encoded["attention_mask"].to(torch.bool)
