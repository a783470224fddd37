"""The shapes of an F1 network's parts: experts, vision towers, visual tokenizer. `config.py` puts them together."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from f1_ros.errors import ConfigError

REMEDY = "Correct it in config.json; every key is described in f1_ros/model/config.py and parts.py."


def require(condition: bool, problem: str) -> None:
    """Refuse a configuration with a `ConfigError` unless the condition holds."""
    if not condition:
        raise ConfigError(f"Network configuration: {problem}.", remedy=REMEDY)


def epsilon(key: str, value: object) -> None:
    """Refuse a value that is no small positive number."""
    require(isinstance(value, float) and 0 < value < 1, f"{key} is {value!r}, expected a number in (0, 1)")


def positive(section: str, **values: int) -> None:
    """Refuse values that are no integers above 0."""
    for key, value in values.items():
        require(
            isinstance(value, int) and not isinstance(value, bool) and value > 0,
            f"{section}.{key} is {value!r}, expected an integer above 0",
        )


@dataclass(frozen=True)
class ExpertConfig:
    """One Gemma decoder of the mixture.

    Attributes:
        hidden_size: width of its tokens.
        intermediate_size: width inside its gated MLP.
        num_hidden_layers: layers; the same for all experts.
        num_attention_heads: query heads; the same for all experts.
        num_key_value_heads: key and value heads, a divisor of the query heads; the same for all experts.
        head_dim: width of a head, even (RoPE rotates its halves); the same for all experts.
        vocab_size: rows of the token embedding (understanding expert only).
        rms_norm_eps: epsilon of the RMS norms.
    """

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int = 256
    vocab_size: int = 257152
    rms_norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        sizes = asdict(self)
        sizes.pop("rms_norm_eps")
        positive("expert", **sizes)
        require(self.head_dim % 2 == 0, f"head_dim is {self.head_dim}, expected an even number")
        require(
            self.num_attention_heads % self.num_key_value_heads == 0,
            f"{self.num_attention_heads} attention heads do not divide among {self.num_key_value_heads} KV heads",
        )
        epsilon("rms_norm_eps", self.rms_norm_eps)


@dataclass(frozen=True)
class SiglipConfig:
    """A SigLIP vision transformer: `(image_size / patch_size)^2` tokens of `hidden_size`; transformers' defaults."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    image_size: int = 224
    patch_size: int = 16
    layer_norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        sizes = asdict(self)
        sizes.pop("layer_norm_eps")
        positive("vision_config", **sizes)
        epsilon("layer_norm_eps", self.layer_norm_eps)
        require(
            self.hidden_size % self.num_attention_heads == 0,
            f"vision width {self.hidden_size} does not divide among {self.num_attention_heads} heads",
        )
        require(
            self.image_size >= self.patch_size,
            f"vision image_size {self.image_size} is below its patch_size {self.patch_size}",
        )

    @property
    def tokens(self) -> int:
        """Tokens a camera."""
        return (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True)
class KeypointConvConfig:
    """A small convolutional tower: spatial-softmax keypoints in one token, a pooled grid in `grid^2` more.

    Attributes:
        hidden_size: width of its tokens before the projector.
        image_size: side of its square input, px; a multiple of 4.
        channels: channels of the two convolutions (6x6 stride 4, then 3x3).
        keypoints: number K of spatial-softmax keypoints.
        grid: side of the pooled grid.
        cameras: 1: all images share one tower; more: image i goes through tower i.
        views: which tower each image goes through, where there are more images than towers (an earlier frame of a
            camera goes through that camera's tower); empty: as `cameras` says.
    """

    hidden_size: int
    image_size: int = 96
    channels: tuple[int, int] = (32, 64)
    keypoints: int = 32
    grid: int = 4
    cameras: int = 1
    views: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        require(len(self.channels) == 2, f"vision_config.channels is {list(self.channels)}, expected two numbers")
        positive(
            "vision_config",
            hidden_size=self.hidden_size,
            image_size=self.image_size,
            channels0=self.channels[0],
            channels1=self.channels[1],
            keypoints=self.keypoints,
            grid=self.grid,
            cameras=self.cameras,
        )
        require(
            self.image_size % 4 == 0 and self.image_size // 4 >= self.grid,
            f"vision_config.image_size {self.image_size} is not a multiple of 4 that holds a {self.grid}-cell grid",
        )
        require(
            all(0 <= view < self.cameras for view in self.views),
            f"vision_config.views {list(self.views)} names a tower that is not among the {self.cameras}",
        )

    @property
    def tokens(self) -> int:
        """Tokens an image."""
        return 1 + self.grid**2

    @property
    def images(self) -> int | None:
        """How many images it takes, None for any number."""
        return len(self.views) or (self.cameras if self.cameras > 1 else None)


@dataclass(frozen=True)
class TokenizerConfig:
    """The visual tokenizer (VAR's multi-scale residual VQ-VAE).

    Attributes:
        vocab_size: codes in the codebook.
        z_channels: width of a code vector.
        ch: channels at full resolution.
        share_quant_resi: number of phi convolutions that the scales share.
        ch_mult: channel multiplier per resolution level; each level but the last halves the resolution.
        num_res_blocks: residual blocks a level (the decoder has one more).
        patch: pixels of a patch x patch square that go in as channels (and come out so); 1 is upstream's.
        norm_groups: groups of every group norm.
    """

    vocab_size: int = 4096
    z_channels: int = 32
    ch: int = 160
    share_quant_resi: int = 4
    ch_mult: tuple[int, ...] = (1, 1, 2, 2, 4)
    num_res_blocks: int = 2
    patch: int = 1
    norm_groups: int = 32

    def __post_init__(self) -> None:
        sizes = asdict(self)
        for i, multiplier in enumerate(sizes.pop("ch_mult")):
            sizes[f"ch_mult[{i}]"] = multiplier
        positive("vae", **sizes)
        require(len(self.ch_mult) > 0, "vae.ch_mult is empty")
        require(self.share_quant_resi >= 2, f"vae.share_quant_resi is {self.share_quant_resi}, expected 2 or more")
        require(
            self.ch % self.norm_groups == 0,
            f"vae.ch {self.ch} is not a multiple of vae.norm_groups {self.norm_groups}",
        )

    @property
    def downsample(self) -> int:
        """Pixels a side of one cell of the finest token map."""
        return int(self.patch * 2 ** (len(self.ch_mult) - 1))
