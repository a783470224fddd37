"""What upstream calls a tensor, and what we call it.

Our modules are named by part; the files keep the release's names, so that a released checkpoint and ours are read by
the same code. Three generations of names are read, one is written:

    transformers 4.48-4.51  paligemma.language_model.model.layers...,  paligemma.vision_tower.vision_model...  (written)
    transformers 4.52 on    paligemma.model.language_model.layers...,  paligemma.model.vision_tower.vision_model...
    transformers 5          as before, without `vision_model`
"""

from __future__ import annotations

import re

_MIXTURE = "model.paligemma_with_expert."

# Ours -> upstream's, by prefix; the first that fits counts.
_PREFIXES: tuple[tuple[str, str], ...] = (
    ("vision.tower.model.", _MIXTURE + "paligemma.vision_tower.vision_model."),
    ("vision.tower.", "model.keypoint_tower."),
    ("vision.projector.", _MIXTURE + "paligemma.multi_modal_projector.linear."),
    ("und.", _MIXTURE + "paligemma.language_model.model."),
    ("gen.", _MIXTURE + "gemma_wm_expert.model."),
    ("act.", _MIXTURE + "gemma_expert.model."),
    ("tokenizer.quantize.phi.", "model.vae.quantize.quant_resi.qresi_ls."),
    ("tokenizer.", "model.vae."),
    ("", "model."),
)

# Newer namings -> the one that is written.
_NEWER: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"^(.*paligemma)(?:\.model)?\.language_model\.(?!model\.|lm_head\.)"), r"\1.language_model.model."),
    (re.compile(r"^(.*paligemma)\.model\.(?=vision_tower\.|multi_modal_projector\.)"), r"\1."),
    (re.compile(r"^(.*paligemma)\.lm_head\."), r"\1.language_model.lm_head."),
    (re.compile(r"^(.*paligemma\.vision_tower)\.(?!vision_model\.)"), r"\1.vision_model."),
)

# Tensors of a released checkpoint that the network does not use, and why. None of them is ever allocated.
_UNUSED: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"^model\.paligemma_with_expert\.gemma(_wm)?_expert\.lm_head\.weight$"),
        "an expert's output head: F1 reads actions and foresight through action_out_proj and wm_out_proj",
    ),
    (
        re.compile(r"^model\.paligemma_with_expert\.paligemma\.language_model\.lm_head\.weight$"),
        "the language head: F1 "
        "writes no text (tied to embed_tokens; read in its place where a file dropped embed_tokens)",
    ),
    (re.compile(r"^model\.lvl_1L$"), "a table of each token's scale: follows from the configuration"),
    (re.compile(r"^(model\.)?vae\.quantize\.ema_vocab_hit_SV$"), "usage counts from the tokenizer's own training"),
)

EMBED_TOKENS = _MIXTURE + "paligemma.language_model.model.embed_tokens.weight"
LANGUAGE_HEAD = _MIXTURE + "paligemma.language_model.lm_head.weight"


def upstream_name(ours: str) -> str:
    """Our name of a tensor -> the name that files carry."""
    for mine, theirs in _PREFIXES:
        if ours.startswith(mine):
            return theirs + ours[len(mine) :]
    raise AssertionError("the last prefix is empty and fits every name")


def canonical_name(stored: str) -> str:
    """A name of any generation -> the one that is written. Other names come back as they are."""
    for pattern, replacement in _NEWER:
        stored = pattern.sub(replacement, stored)
    return stored


def unused_reason(canonical: str) -> str | None:
    """Why a tensor of a released checkpoint is not read; None if it is not one of those."""
    return next((reason for pattern, reason in _UNUSED if pattern.match(canonical)), None)
