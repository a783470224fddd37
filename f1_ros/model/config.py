"""The shape of an F1 network, read from `config.json`.

The layout is the release's own (`und_expert_config`, `gen_expert_config`, `act_expert_config`, ...), so that its
configurations load as they are. Keys that upstream's Hugging Face sections carry without effect (`eos_token_id`,
`attention_dropout`, ...) are ignored there; the sections that are ours (`vae`, a `keypoint_conv` vision tower) refuse
unknown keys. What is new against upstream:

    und_expert_config.vision_config.model_type   "keypoint_conv": see `KeypointConvConfig`
    gen_expert_config.use_history                false: the generation expert sees no history
    gen_expert_config.action_sees_history        false: history reaches the action expert through foresight alone
    gen_expert_config.vae.{ch_mult, num_res_blocks, patch, norm_groups}   a smaller visual tokenizer
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from f1_ros.errors import ConfigError
from f1_ros.model.parts import (
    REMEDY,
    ExpertConfig,
    KeypointConvConfig,
    SiglipConfig,
    TokenizerConfig,
    positive,
    require,
)

__all__ = ["ExpertConfig", "F1Config", "KeypointConvConfig", "SiglipConfig", "TokenizerConfig"]


@dataclass(frozen=True)
class F1Config:
    """The whole network.

    Attributes:
        vision: the vision tower of the understanding expert.
        und: understanding expert.  gen: generation expert.  act: action expert.
        vae: the visual tokenizer.
        scales: sides of the tokenizer's token maps, coarse to fine, the first 1.
        num_resolutions: scales that foresight predicts.
        temporal_conv_kernel_size: T, frames of history.
        use_world_model: false: no generation expert, no tokenizer, no history, no foresight.
        use_history: false: the generation expert starts from its start token alone.
        action_sees_history: false: neither the action nor the understanding expert sees the generation expert's prefix
            (start token and history), so that what moved reaches the actions through the foresight tokens alone.
        chunk_size: actions in a chunk.
        max_state_dim: width of the state vector.  max_action_dim: width of an action vector.
        tokenizer_max_length: language tokens.
        num_steps: Euler steps of flow matching.
    """

    vision: SiglipConfig | KeypointConvConfig
    und: ExpertConfig
    act: ExpertConfig
    gen: ExpertConfig | None = None
    vae: TokenizerConfig | None = None
    scales: tuple[int, ...] = ()
    num_resolutions: int = 0
    temporal_conv_kernel_size: int = 4
    use_world_model: bool = True
    use_history: bool = True
    action_sees_history: bool = True
    chunk_size: int = 50
    max_state_dim: int = 32
    max_action_dim: int = 32
    tokenizer_max_length: int = 48
    num_steps: int = 10

    def __post_init__(self) -> None:
        positive(
            "config",
            chunk_size=self.chunk_size,
            max_state_dim=self.max_state_dim,
            max_action_dim=self.max_action_dim,
            tokenizer_max_length=self.tokenizer_max_length,
            num_steps=self.num_steps,
            temporal_conv_kernel_size=self.temporal_conv_kernel_size,
        )
        require(self.act.hidden_size % 2 == 0, f"action expert's width {self.act.hidden_size} is odd")
        for name, expert in (("gen", self.gen), ("act", self.act)):
            if expert is None:
                continue
            for key in ("num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim"):
                ours, theirs = getattr(expert, key), getattr(self.und, key)
                require(
                    ours == theirs,
                    f"{name}_expert_config.{key} is {ours}, but {theirs} in the understanding expert: "
                    "experts attend jointly, so these must agree",
                )
        if not self.use_world_model:
            require(self.gen is None and self.vae is None, "use_world_model is false with a generation expert")
            return
        require(self.gen is not None and self.vae is not None, "use_world_model is true without gen_expert_config.vae")
        positive(
            "gen_expert_config",
            num_resolutions=self.num_resolutions,
            **{f"pn[{i}]": side for i, side in enumerate(self.scales)},
        )
        require(
            len(self.scales) >= 2 and self.scales[0] == 1 and list(self.scales) == sorted(set(self.scales)),
            f"gen_expert_config.pn is {self.scales}, expected two or more rising sides, the first 1",
        )
        require(
            1 <= self.num_resolutions <= len(self.scales),
            f"gen_expert_config.num_resolutions is {self.num_resolutions}, expected 1 to {len(self.scales)}",
        )

    @property
    def image_size(self) -> int:
        """Side of the square camera images, px."""
        return self.vision.image_size

    @property
    def frame_size(self) -> int:
        """Side of the square history frames, px."""
        return self.scales[-1] * self.vae.downsample if self.vae is not None else 0

    @property
    def frame_tokens(self) -> int:
        """L: tokens of a frame, over all scales."""
        return sum(s * s for s in self.scales)

    @property
    def generation_tokens(self) -> int:
        """Tokens of the generation expert in the prefix: the start token and, with history, L - 1 of history."""
        if not self.use_world_model:
            return 0
        return self.frame_tokens if self.use_history else 1

    @property
    def foresight_tokens(self) -> int:
        """F: tokens that foresight predicts, over its `num_resolutions` scales."""
        return sum(s * s for s in self.scales[: self.num_resolutions])

    @classmethod
    def from_json(cls, path: Path | str) -> F1Config:
        """Read a `config.json`.

        Raises:
            ConfigError: naming the file and the key, if it is missing, not JSON, or not a valid configuration.
        """
        path = Path(path)
        try:
            tree = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ConfigError(
                f"{path}: cannot be read as JSON: {error}.", remedy="Restore the network's config.json."
            ) from error
        try:
            return cls.from_dict(tree)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error.problem}", remedy=error.remedy) from error

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> F1Config:
        """Read upstream's layout (see the module's docstring).

        Raises:
            ConfigError: naming the key.
        """
        require(isinstance(tree, Mapping), "it is not an object")
        und = _section(tree, "und_expert_config")
        text = _section(und, "text_config", "und_expert_config.")
        act = _section(tree, "act_expert_config")
        world = tree.get("use_world_model", True)
        require(isinstance(world, bool), f"use_world_model is {world!r}, expected true or false")
        values: dict[str, Any] = {
            key: tree[key]
            for key in ("chunk_size", "max_state_dim", "max_action_dim", "tokenizer_max_length", "num_steps")
            if key in tree
        }
        if world:
            gen = _section(tree, "gen_expert_config")
            values["gen"] = _expert(gen, "gen_expert_config")
            values["vae"] = _strict(
                TokenizerConfig, _section(gen, "vae", "gen_expert_config."), "vae", ignore=("test_mode", "vae_ckpt")
            )
            values["scales"] = _scales(_get(gen, "pn", "gen_expert_config"))
            values["num_resolutions"] = _get(gen, "num_resolutions", "gen_expert_config")
            values["temporal_conv_kernel_size"] = _get(gen, "temporal_conv_kernel_size", "gen_expert_config")
            values["use_history"] = gen.get("use_history", True)
            values["action_sees_history"] = gen.get("action_sees_history", True)
            for key in ("use_history", "action_sees_history"):
                require(isinstance(values[key], bool), f"gen_expert_config.{key} is not true or false")
        config = cls(
            vision=_vision(_section(und, "vision_config", "und_expert_config.")),
            und=_expert(text, "und_expert_config.text_config"),
            act=_expert(act, "act_expert_config"),
            use_world_model=world,
            **values,
        )
        projected = und["vision_config"].get("projection_dim", config.und.hidden_size)
        require(
            projected == config.und.hidden_size,
            f"vision_config.projection_dim is {projected}, the understanding expert's width {config.und.hidden_size}",
        )
        width = tree.get("proj_width", config.act.hidden_size)
        require(
            width == config.act.hidden_size,
            f"proj_width is {width}, but the action expert's width is {config.act.hidden_size}",
        )
        return config

    def to_dict(self) -> dict[str, Any]:
        """Upstream's layout; `from_dict` gives an equal configuration back."""
        vision: dict[str, Any] = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self.vision).items()}
        vision["model_type"] = "siglip_vision_model" if isinstance(self.vision, SiglipConfig) else "keypoint_conv"
        vision["projection_dim"] = self.und.hidden_size
        tree: dict[str, Any] = {
            "model_type": "f1",
            "und_expert_config": {
                "model_type": "paligemma",
                "hidden_size": self.und.hidden_size,
                "projection_dim": self.und.hidden_size,
                "text_config": {"model_type": "gemma", **asdict(self.und)},
                "vision_config": vision,
            },
            "act_expert_config": {"model_type": "gemma", **asdict(self.act)},
            "use_world_model": self.use_world_model,
            "chunk_size": self.chunk_size,
            "max_state_dim": self.max_state_dim,
            "max_action_dim": self.max_action_dim,
            "tokenizer_max_length": self.tokenizer_max_length,
            "resize_imgs_with_padding": [self.image_size, self.image_size],
            "proj_width": self.act.hidden_size,
            "num_steps": self.num_steps,
        }
        if self.gen is not None and self.vae is not None:
            tree["gen_expert_config"] = {
                "model_type": "gemma",
                **asdict(self.gen),
                "pn": "_".join(map(str, self.scales)),
                "num_resolutions": self.num_resolutions,
                "temporal_conv_kernel_size": self.temporal_conv_kernel_size,
                "temporal_conv_stride": self.temporal_conv_kernel_size,
                "use_history": self.use_history,
                **({} if self.action_sees_history else {"action_sees_history": False}),  # upstream knows no such key
                "vae": {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self.vae).items()},
            }
        return tree


def _section(tree: Mapping[str, Any], key: str, where: str = "") -> Mapping[str, Any]:
    value = tree.get(key)
    require(isinstance(value, Mapping), f"section {where}{key} is missing or not an object")
    assert isinstance(value, Mapping)
    return value


def _get(section: Mapping[str, Any], key: str, where: str) -> Any:
    require(key in section, f"{where}.{key} is missing")
    return section[key]


def _expert(section: Mapping[str, Any], where: str) -> ExpertConfig:
    """Read a Gemma section; settings that would change the network in ways upstream does not know are refused."""
    names = {f.name for f in fields(ExpertConfig)}
    for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"):
        _get(section, key, where)
    for key in ("hidden_act", "hidden_activation"):
        value = section.get(key) or "gelu_pytorch_tanh"
        require(value == "gelu_pytorch_tanh", f"{where}.{key} is {value!r}, only gelu_pytorch_tanh is known")
    theta = section.get("rope_theta", 10000.0)
    require(theta == 10000, f"{where}.rope_theta is {theta}, only 10000 is known")
    require(not section.get("attention_bias", False), f"{where}.attention_bias is set, F1 has none")
    try:
        return ExpertConfig(**{k: v for k, v in section.items() if k in names})
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.problem}", remedy=error.remedy) from error


def _vision(section: Mapping[str, Any]) -> SiglipConfig | KeypointConvConfig:
    kind = section.get("model_type", "siglip_vision_model")
    if kind == "keypoint_conv":
        tower: KeypointConvConfig = _strict(
            KeypointConvConfig, section, "vision_config", ignore=("model_type", "projection_dim")
        )
        return tower
    require(
        kind == "siglip_vision_model",
        f"vision_config.model_type is {kind!r}, known are siglip_vision_model and keypoint_conv",
    )
    for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"):
        _get(section, key, "und_expert_config.vision_config")
    names = {f.name for f in fields(SiglipConfig)}
    return SiglipConfig(**{k: v for k, v in section.items() if k in names})


def _strict(cls: type[Any], section: Mapping[str, Any], where: str, ignore: tuple[str, ...]) -> Any:
    names = {f.name for f in fields(cls)}
    for key in section:
        require(key in names or key in ignore, f"{where}.{key} is not a known key (known: {', '.join(sorted(names))})")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in section.items() if k in names}
    try:
        return cls(**values)
    except TypeError as error:
        raise ConfigError(f"Network configuration: {where}: {error}.", remedy=REMEDY) from error


def _scales(pn: Any) -> tuple[int, ...]:
    """Upstream writes the scales as "1_2_3" or "1-2-3"."""
    try:
        return tuple(int(part) for part in str(pn).replace("-", "_").split("_"))
    except ValueError as error:
        raise ConfigError(
            f"Network configuration: gen_expert_config.pn is {pn!r}, expected sides such as 1_2_3_4.", remedy=REMEDY
        ) from error
