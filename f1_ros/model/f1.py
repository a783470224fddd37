"""The F1 network: prefix, foresight, flow. Read `config.py`, `gemma.py` and `tokenizer.py` first.

One inference, in order:

    codes = model.tokenizer.encode(frames)                            each history frame once; keep its codes
    history = model.history_embeds(model.tokenizer.var_input(codes).unflatten(0, (B, T)))
    prefix = model.prefix(images, image_mask, tokens, mask, history)  understanding and generation expert
    foresight = model.foresight(prefix, generator)                    generation expert, scale by scale; may be skipped
    actions = model.sample_actions(prefix, state, noise)              action expert, num_steps times

Letters in shapes: B batch, T history frames, L tokens of a frame over all scales, C code width, F foresight tokens,
V codebook size, n language tokens, d state width, A action width, W an expert's width.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from f1_ros.model.config import F1Config
from f1_ros.model.flow import integrate, time_embedding
from f1_ros.model.gemma import Expert, KVCache, attention_bias, run_experts
from f1_ros.model.guided import guided
from f1_ros.model.losses import noised
from f1_ros.model.phases import ForesightOutput, Prefix, TrainOutputs
from f1_ros.model.sampling import sample_codes
from f1_ros.model.tokenizer import VisualTokenizer
from f1_ros.model.towers import TemporalConv, VisionEncoder


class F1Model(nn.Module):
    """The network of one `F1Config`, with random weights from torch's global generator.

    Modules are named by part; `names.py` knows the release's names for them.
    Without a world model (`use_world_model` false) `tokenizer` and `gen` do not exist, `history` is None
    everywhere, and `foresight` is not to be called.
    """

    def __init__(self, config: F1Config) -> None:
        super().__init__()
        self.config = config
        self.vision = VisionEncoder(config.vision, config.und.hidden_size)
        self.und = Expert(config.und, language=True)
        self.act = Expert(config.act)
        if config.gen is not None and config.vae is not None:
            width, channels, tokens = config.gen.hidden_size, config.vae.z_channels, config.frame_tokens
            std = math.sqrt(1 / width / 3)
            self.tokenizer = VisualTokenizer(config.vae, config.scales)
            self.gen = Expert(config.gen)
            self.temporal_conv = TemporalConv(channels, config.temporal_conv_kernel_size)
            self.wm_embeddings = nn.Linear(channels, width)
            self.wm_hist_pos_embs = nn.Parameter(torch.randn(1, tokens - 1, channels) * std)
            self.wm_sos_token_embs = nn.Parameter(torch.randn(1, 1, width) * std)
            self.wm_cond_pos_embs = nn.Parameter(torch.randn(1, tokens, width) * std)
            self.wm_output_position_embedding = nn.Parameter(torch.randn(1, tokens, width) * std)
            self.lvl_embed = nn.Embedding(len(config.scales), width)
            nn.init.normal_(self.lvl_embed.weight, std=std)
            self.mask_embedding = nn.Buffer(torch.randn(1, 1, channels) * std)
            self.wm_out_layer_norm = nn.LayerNorm(width)
            self.wm_out_proj = nn.Linear(width, config.vae.vocab_size)
        width = config.act.hidden_size
        self.state_proj = nn.Linear(config.max_state_dim, width)
        self.action_in_proj = nn.Linear(config.max_action_dim, width)
        self.action_time_mlp_in = nn.Linear(2 * width, width)
        self.action_time_mlp_out = nn.Linear(width, width)
        self.action_out_proj = nn.Linear(width, config.max_action_dim)

    def history_embeds(self, var_inputs: Tensor) -> Tensor:
        """VAR inputs of the T history frames (B, T, L - 1, C), oldest first -> (B, L - 1, C)."""
        out: Tensor = self.temporal_conv(var_inputs) + self.wm_hist_pos_embs
        return out

    def prefix(
        self,
        images: Tensor,
        image_mask: Tensor,
        language_tokens: Tensor,
        language_mask: Tensor,
        history: Tensor | None = None,
    ) -> Prefix:
        """Read everything there is to see: one joint pass of the understanding and the generation expert.

        Args:
            images: (B, cameras, 3, S, S) in [-1, 1]. A camera that does not exist is left out.
            image_mask: (B, cameras) bool; a masked camera keeps its place but is not looked at.
            language_tokens: (B, n) integers, padded on the right.
            language_mask: (B, n) bool, false for padding.
            history: (B, L - 1, C) of `history_embeds`; None without history.
        """
        seen, keypoints = self.vision(images)
        prefix = self.read(seen.flatten(1, 2), image_mask, self.words(language_tokens), language_mask, history)
        prefix.keypoints = keypoints
        return prefix

    def words(self, language_tokens: Tensor) -> Tensor:
        """Language tokens (B, n) integers -> what the understanding expert reads, (B, n, W)."""
        out: Tensor = self.und.embed_tokens(language_tokens) * math.sqrt(self.config.und.hidden_size)
        return out

    def read(
        self,
        seen: Tensor,
        image_mask: Tensor,
        words: Tensor,
        language_mask: Tensor,
        history: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Prefix:
        """The joint pass of `prefix`, from what the tower saw (B, cameras * tokens, W) and the words (B, n, W).

        Args:
            seen, words: of `vision` and `words`.
            image_mask, language_mask, history: see `prefix`.
            cache: where keys and values go; None: into a new one with room for all that follows.
        """
        config = self.config
        streams = [(self.und, torch.cat([seen, words], dim=1))]
        per_image = seen.shape[1] // image_mask.shape[1]
        valid = torch.cat([image_mask.repeat_interleave(per_image, dim=1), language_mask], dim=1)
        understood = valid.shape[1]
        if config.use_world_model:
            imagined = self._generation_tokens(valid.shape[0], history)
            streams.append((self.gen, imagined))
            valid = torch.cat([valid, valid.new_ones(imagined.shape[:2])], dim=1)
        tokens = valid.shape[1]
        positions = valid.cumsum(1) - 1
        visible = valid[:, None, None, :]  # (B, 1, 1, N)
        if config.use_world_model:  # the last token is foresight's first: only it may look at itself
            first_part = torch.arange(tokens, device=valid.device) < tokens - 1
            visible = visible & (first_part | ~first_part[:, None])  # (B, 1, N, N)
        shielded = config.use_world_model and not config.action_sees_history
        if shielded:  # nor may it reach the action expert by way of what was understood
            imagines = torch.arange(tokens, device=valid.device) >= understood
            visible = visible & (imagines[:, None] | ~imagines)
        if cache is None:
            capacity = tokens + config.foresight_tokens + config.chunk_size + 1
            cache = KVCache(config.und.num_hidden_layers, capacity)
        wanted = 1 if config.use_world_model else 0
        last = run_experts(streams, positions, attention_bias(visible), cache, keep=True, outputs=wanted)
        return self.go_on(cache, valid, positions[:, -1:], (understood, tokens), last)

    def go_on(
        self, cache: KVCache, valid: Tensor, end: Tensor, imagined: tuple[int, int], last: Tensor | None = None
    ) -> Prefix:
        """What foresight and flow go on from.

        Args:
            cache: keys and values of the tokens seen so far.
            valid: (B, cached tokens) bool.
            end: (B, 1) RoPE position of the prefix's own last token.
            imagined: which cached tokens the generation expert's prefix is, first and end.
            last: output of the generation expert at the prefix's last token.
        """
        ahead = torch.arange(self.config.foresight_tokens, device=valid.device)
        shielded = self.config.use_world_model and not self.config.action_sees_history
        return Prefix(
            cache=cache,
            valid=valid,
            positions=end + ahead,
            offset=end + max(len(ahead), 1),
            hidden=imagined if shielded else (0, 0),
            last=last,
            keypoints=None,
        )

    def foresight(
        self,
        prefix: Prefix,
        generator: torch.Generator | None = None,
        top_k: int = 900,
        top_p: float = 0.95,
        greedy: bool = False,
        teacher: Tensor | None = None,
        dropped: Tensor | None = None,
    ) -> ForesightOutput:
        """Predict the next view's tokens, scale by scale, and add them to the prefix's cache.

        Args:
            prefix: extended in place.
            generator: for sampling.
            top_k: draw from this many likeliest codes.
            top_p: ... and of those from the ones that hold this share of the probability.
            greedy: take the likeliest code instead.
            teacher: (B, F) the future frame's own codes: each scale is predicted from these instead of from the
                predicted ones, in one pass (training only; F1's first stage).
            dropped: (B, F - 1) bool, teacher inputs to replace by the mask embedding.
        """
        if teacher is not None:
            return self._teacher_forced(prefix, teacher, dropped)
        f_hat = self.tokenizer.empty(prefix.valid.shape[0])
        codes: list[Tensor] = []
        logits = [self.foresight_logits(prefix.last)]
        for k in range(self.config.num_resolutions):
            if k > 0:
                following, f_hat = self.foresight_step(prefix, k, codes[-1], f_hat)
                logits.append(following)
            codes.append(sample_codes(logits[-1].detach(), top_k, top_p, generator, greedy))
        return ForesightOutput(torch.cat(codes, dim=1), torch.cat(logits, dim=1))

    def foresight_step(self, prefix: Prefix, k: int, codes: Tensor, f_hat: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of scale k > 0 from the codes of the scale before it; extends the prefix by that scale's tokens.

        Args:
            prefix: extended in place.
            k: the scale.
            codes: (B, p_(k-1)^2) of scale k - 1.
            f_hat: (B, C, P, P) what the scales before that one add up to.

        Returns:
            Logits (B, p_k^2, V), and f_hat with scale k - 1.
        """
        with torch.no_grad():  # the tokenizer is frozen: no gradient belongs there
            f_hat = self.tokenizer.accumulate(f_hat, codes, k - 1)
            inputs = self.tokenizer.next_input(f_hat, k - 1)
        sizes = [side * side for side in self.config.scales[: k + 1]]
        hidden = self._extend(prefix, self._scale_tokens(inputs, k, k + 1), sum(sizes[:k]), block_sizes=sizes[k:])
        return self.foresight_logits(hidden), f_hat

    def velocity(self, prefix: Prefix, state: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The flow's velocity at x_t (B, chunk, A), given the state (B, d): (B, chunk, A).

        t: (B,) times, or (B, chunk) where each step has its own.
        """
        return self.velocity_at(prefix, state, x_t, self.embed_time(t))

    def embed_time(self, t: Tensor) -> Tensor:
        """Times (B,) or (B, chunk) -> their embeddings (B, 1 or chunk, W) float64 for the action expert."""
        time = time_embedding(t, self.config.act.hidden_size)
        return time[:, None] if t.ndim == 1 else time

    def velocity_at(self, prefix: Prefix, state: Tensor, x_t: Tensor, time: Tensor) -> Tensor:
        """`velocity`, from the times as `embed_time` gives them."""
        bias, positions = self._suffix_layout(prefix)
        return self._velocity(prefix, self.state_proj(state), x_t, time, bias, positions)

    def sample_actions(
        self,
        prefix: Prefix,
        state: Tensor,
        noise: Tensor,
        num_steps: int | None = None,
        *,
        committed: Tensor | None = None,
        near: int = 0,
        on_near: Callable[[Tensor], None] | None = None,
        guide: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Follow the flow from noise x_1 (B, chunk, A) to actions x_0 by `num_steps` Euler steps.

        `committed`, `near` and `on_near`: see `flow.integrate`. `guide`: plan (B, n, A) and weights (n,), see
        `guided.guided`; not with `committed` or `near`, whose steps have times of their own.
        """
        bias, positions = self._suffix_layout(prefix)
        state_token = self.state_proj(state)

        def velocity(x: Tensor, t: Tensor) -> Tensor:
            return self._velocity(prefix, state_token, x, self.embed_time(t), bias, positions)

        steps = num_steps or self.config.num_steps
        follow = velocity if guide is None else guided(velocity, *guide)
        return integrate(follow, noise, steps, committed=committed, near=near, on_near=on_near)

    def train_outputs(
        self,
        images: Tensor,
        image_mask: Tensor,
        language_tokens: Tensor,
        language_mask: Tensor,
        history: Tensor | None,
        state: Tensor,
        actions: Tensor,
        noise: Tensor,
        time: Tensor,
        *,
        generator: torch.Generator | None = None,
        greedy: bool = False,
        teacher: Tensor | None = None,
        skip_foresight: bool = False,
    ) -> TrainOutputs:
        """One training pass of the joint objective, foresight sampled inside it as at inference.

        Args:
            images, image_mask, language_tokens, language_mask, history: see `prefix`.
            state: (B, d).
            actions: (B, chunk, A), what the flow should end at; or (B draws, chunk, A) where draws differ in that.
            noise: (B draws, chunk, A): `draws` noise draws share each row's prefix, a row's draws side by side.
            time: (B draws,), see `losses.sample_time`; or (B draws, chunk), see `flow.step_times`.
            generator, greedy, teacher: see `foresight`.
            skip_foresight: predict no foresight; the action expert then sees none.
        """
        prefix = self.prefix(images, image_mask, language_tokens, language_mask, history)
        logits = None
        if self.config.use_world_model and not skip_foresight:
            logits = self.foresight(prefix, generator, greedy=greedy, teacher=teacher).logits
        keypoints = prefix.keypoints
        draws = noise.shape[0] // state.shape[0]
        if draws > 1:
            prefix, state = prefix.repeat(draws), state.repeat_interleave(draws, 0)
            if actions.shape[0] != noise.shape[0]:
                actions = actions.repeat_interleave(draws, 0)
        x_t, target = noised(actions, noise, time)
        error = self.velocity(prefix, state, x_t, time) - target
        return TrainOutputs(error.square(), logits, keypoints)

    def _generation_tokens(self, batch: int, history: Tensor | None) -> Tensor:
        """Start token, then history (B, L - 1, C): (B, L, W), or (B, 1, W) without history."""
        x = self.wm_sos_token_embs.expand(batch, -1, -1)
        if history is not None and self.config.use_history:
            x = torch.cat([x, self.wm_embeddings(history)], dim=1)
        x = x + self.wm_cond_pos_embs[:, : x.shape[1]]
        first_scale = self.wm_output_position_embedding[:, :1] + self.lvl_embed.weight[0]
        return torch.cat([x[:, :-1], x[:, -1:] + first_scale], dim=1)

    def _scale_tokens(self, inputs: Tensor, first: int, end: int) -> Tensor:
        """Inputs of scales first .. end - 1 (B, tokens, C) -> generation tokens (B, tokens, W)."""
        sizes = [side * side for side in self.config.scales]
        start = sum(sizes[:first])
        level = torch.cat([self.lvl_embed.weight[k].expand(sizes[k], -1) for k in range(first, end)])
        position = self.wm_output_position_embedding[:, start : start + inputs.shape[1]]
        out: Tensor = self.wm_embeddings(inputs) + position + level
        return out

    def _extend(self, prefix: Prefix, tokens: Tensor, start: int, block_sizes: list[int]) -> Tensor:
        """Run generation tokens (B, N, W), the foresight tokens from `start` on, into the prefix's cache.

        Each block sees itself, the blocks before it and the prefix. Returns the outputs, (B, N, W).
        """
        batch, count = tokens.shape[:2]
        # From fills alone, so that no value has to cross to a device: a training step can then be captured as a graph.
        block = torch.cat([tokens.new_full((size,), i) for i, size in enumerate(block_sizes)])  # (N,)
        among = (block[:, None] >= block).expand(batch, 1, -1, -1)  # (B, 1, N, N)
        before = prefix.valid[:, None, None, :].expand(-1, -1, count, -1)
        visible = torch.cat([before, among], dim=-1)
        positions = prefix.positions[:, start : start + count]
        bias = attention_bias(visible)
        hidden = run_experts([(self.gen, tokens)], positions, bias, prefix.cache, keep=True, outputs=count)
        prefix.valid = torch.cat([prefix.valid, prefix.valid.new_ones(batch, count)], dim=1)
        assert hidden is not None
        return hidden

    def _teacher_forced(self, prefix: Prefix, teacher: Tensor, dropped: Tensor | None) -> ForesightOutput:
        """All scales after the first in one pass, each from the true codes of the scales before it."""
        count = self.config.num_resolutions
        sizes = [side * side for side in self.config.scales[:count]]
        hidden = prefix.last
        assert hidden is not None
        if count > 1:
            with torch.no_grad():
                inputs = self.tokenizer.var_input(teacher[:, : sum(sizes[:-1])])  # (B, F - 1, C)
                if dropped is not None:
                    inputs = torch.where(dropped[..., None], self.mask_embedding, inputs)
            rest = self._extend(prefix, self._scale_tokens(inputs, 1, count), 1, block_sizes=sizes[1:])
            hidden = torch.cat([hidden, rest], dim=1)
        logits = self.foresight_logits(hidden)
        return ForesightOutput(logits.argmax(-1), logits)

    def foresight_logits(self, hidden: Tensor | None) -> Tensor:
        """Outputs of the generation expert (B, N, W) -> (B, N, V), in the head's own precision, autocast or not."""
        assert hidden is not None
        with torch.autocast(hidden.device.type, enabled=False):
            out: Tensor = self.wm_out_proj(self.wm_out_layer_norm(hidden.to(self.wm_out_proj.weight.dtype)))
        return out

    def _suffix_layout(self, prefix: Prefix) -> tuple[Tensor, Tensor]:
        """Attention bias (B, 1, s, M) and positions (B, s) of the s = 1 + chunk tokens of the action expert.

        All see the valid prefix, less what is hidden from them, and foresight; the state token sees itself, action
        tokens see state and actions.
        """
        tokens = 1 + self.config.chunk_size
        step = torch.arange(tokens, device=prefix.valid.device)
        among = (step[:, None] > 0) | (step == 0)  # (s, s)
        place = torch.arange(prefix.valid.shape[1], device=prefix.valid.device)
        seen = prefix.valid & ((place < prefix.hidden[0]) | (place >= prefix.hidden[1]))
        before = seen[:, None, None, :].expand(-1, -1, tokens, -1)
        visible = torch.cat([before, among.expand(before.shape[0], 1, -1, -1)], dim=-1)
        return attention_bias(visible), prefix.offset + step

    def _velocity(
        self, prefix: Prefix, state_token: Tensor, x_t: Tensor, time: Tensor, bias: Tensor, positions: Tensor
    ) -> Tensor:
        action = self.action_in_proj(x_t)  # (B, chunk, W)
        time = time.to(action.dtype).expand_as(action)
        mixed = self.action_time_mlp_out(F.silu(self.action_time_mlp_in(torch.cat([action, time], dim=-1))))
        tokens = torch.cat([state_token[:, None], mixed], dim=1)
        wanted = self.config.chunk_size
        hidden = run_experts([(self.act, tokens)], positions, bias, prefix.cache, keep=False, outputs=wanted)
        assert hidden is not None
        out: Tensor = self.action_out_proj(hidden)
        return out
