"""What a full-size F1 checkpoint holds, from the network itself, without its 17 GB."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch

from f1_ros.model.config import ExpertConfig, F1Config, SiglipConfig, TokenizerConfig
from f1_ros.model.f1 import F1Model
from f1_ros.model.names import EMBED_TOKENS, LANGUAGE_HEAD, unused_reason, upstream_name

_GEMMA_VOCABULARY = 257152

# The released model: PaliGemma-3B, two 300 M experts, VAR's tokenizer.
FULL_SIZE = F1Config(
    vision=SiglipConfig(
        hidden_size=1152, intermediate_size=4304, num_hidden_layers=27, num_attention_heads=16, patch_size=14
    ),
    und=ExpertConfig(2048, 16384, 18, 8, 1, 256, _GEMMA_VOCABULARY),
    gen=ExpertConfig(1024, 4096, 18, 8, 1, 256, _GEMMA_VOCABULARY),
    act=ExpertConfig(1024, 4096, 18, 8, 1, 256, _GEMMA_VOCABULARY),
    vae=TokenizerConfig(),
    scales=(1, 2, 3, 4, 5, 6, 8, 10, 13, 16),
    num_resolutions=4,
)


@cache
def tensor_shapes(config: F1Config) -> dict[str, tuple[int, ...]]:
    """Every tensor that a network stores, by our name; it is built on the meta device, which takes no memory."""
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in F1Model(config).state_dict().items()}


def unreached(name: str, config: F1Config) -> bool:
    """Whether neither output nor loss depends on this parameter.

    The understanding expert gives keys and values only, so that the rest of its last layer and its norm do nothing.
    """
    if not config.use_history and name.startswith(("temporal_conv.", "wm_hist_pos_embs")):
        return True
    last = f"und.layers.{config.und.num_hidden_layers - 1}."
    if name.startswith("und.norm."):
        return True
    return name.startswith(last) and not name.startswith(
        (last + "input_layernorm.", last + "self_attn.k_proj.", last + "self_attn.v_proj.")
    )


@dataclass(frozen=True)
class Manifest:
    """Names and shapes of a released checkpoint.

    Attributes:
        loaded: tensors that the network reads.
        unused: tensors that the release also stores and the network never allocates.
        reasons: why each of those is not read.
    """

    loaded: dict[str, tuple[int, ...]]
    unused: dict[str, tuple[int, ...]]
    reasons: dict[str, str]


def manifest(config: F1Config = FULL_SIZE) -> Manifest:
    """The checkpoint of a network, which is built on the meta device: it takes no memory.

    The tokenizer stands in it twice, as in the release: `model.vae.` inside the policy's file, `vae.` as the
    tokenizer's own file (or the policy's other name for it).
    """
    loaded = {upstream_name(name): shape for name, shape in tensor_shapes(config).items()}
    unused: dict[str, tuple[int, ...]] = {LANGUAGE_HEAD: loaded[EMBED_TOKENS]}
    unused["model.paligemma_with_expert.gemma_expert.lm_head.weight"] = (config.act.vocab_size, config.act.hidden_size)
    if config.gen is not None and config.vae is not None:
        head = (config.gen.vocab_size, config.gen.hidden_size)
        unused["model.paligemma_with_expert.gemma_wm_expert.lm_head.weight"] = head
        unused["model.lvl_1L"] = (1, config.frame_tokens)
        unused["model.vae.quantize.ema_vocab_hit_SV"] = (len(config.scales), config.vae.vocab_size)
    for tensors in (loaded, unused):
        twins = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.vae.")}
        tensors.update(twins)
    return Manifest(loaded, unused, {name: unused_reason(name) or "" for name in unused})
