"""The masked autoencoder: embed, encode, fuse, decode."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hydromae.batch import Batch
from hydromae.config import Config
from hydromae.data.scaling import Scaling
from hydromae.masking import Hidden, visible
from hydromae.modalities import MODALITIES
from hydromae.model.address import SEPARATIONS, Address, drawn, joined_places, nearest
from hydromae.model.decoder import Decoder, Head
from hydromae.model.distribution import around, laid
from hydromae.model.encoder import Embedding, Fusion, Stack, contrast, footprint_features, pack
from hydromae.model.layers import Context
from hydromae.model.priors import FEATURES, PRIORS, Priors
from hydromae.model.streams import Predictions, Stream


class HydroMAE(nn.Module):
    """Multi-modal masked autoencoder of a water record.

    Parameters
    ----------
    config : Config
    pixels : int
        Values in a map token (100 for 10 × 10 cells).
    """

    def __init__(self, config: Config, pixels: int = 100) -> None:
        super().__init__()
        self.config = config
        model = config.model
        self.joint = model.mixers == ("joint",)
        self.addresses, self.encoders, self.statics, self.queries = (nn.ModuleDict() for _ in range(4))
        self.embeddings, self.heads, self.decoders = (nn.ModuleDict() for _ in range(3))
        self.registers = nn.ParameterDict()
        for stream in model.shared:
            self._add_stream(stream, pixels)
        self.fusion = Fusion(model, len(model.streams)) if model.fusion_layers else None
        self.priors = Priors(SEPARATIONS) if model.priors else None
        depth = max(model.map_layers if MODALITIES[name].kind == "map" else model.series_layers for name in self.heads)
        maps = model.use_input + depth + model.fusion_layers
        chosen = model.use_fm_layers if model.use_fm_layers is not None else tuple(range(maps))
        self.chosen = chosen if model.use_weighted_fm else (maps - 1,)
        if model.use_weighted_fm:
            start = torch.zeros(max(1, model.decoder_layers), len(chosen))
            start[:, -1] = 2.0
            self.mix = nn.Parameter(start)

    def _add_stream(self, stream: tuple[str, ...], pixels: int) -> None:
        model, key, series = self.config.model, "+".join(stream), MODALITIES[stream[0]].kind == "series"
        width, slots = model.d_model, self.config.data.vector_patch_size if series else 1
        maps = sum(MODALITIES[name].kind == "map" for name in model.modalities)
        film = model.film and series
        self.addresses[key] = Address(width, slots, ordered="recurrent" not in model.mixers)
        self.encoders[key] = Stack(model, model.series_layers if series else model.map_layers, film)
        if self.joint:
            self.registers[key] = drawn(width)
        if model.static_tokens and (series or not self.joint):
            self.statics[key] = nn.Linear(width, width)
        if model.decoder_layers:
            self.queries[key] = Address(model.decoder_dim, slots, ordered=True)
            self.decoders[key] = Decoder(model)
        else:
            self.queries[key] = nn.Linear(width, model.decoder_dim)
        for name in stream:
            channels = len(MODALITIES[name].variables) if series else pixels
            prior = model.priors and name == "riverflow"
            extra = FEATURES * prior + (2 * maps if series and model.footprints else 0)
            self.embeddings[name] = Embedding(channels * slots, slots, extra, width, film)
            spread = 3 * model.components if series else 0
            self.heads[name] = Head(model.decoder_dim, width, channels, spread, len(PRIORS) * prior)

    def know(self, scaling: Scaling) -> HydroMAE:
        """Tell the priors in which units flow, rain and evaporation are scaled; the weights then carry it."""
        if self.priors is not None:
            names = ("riverflow", "precipitation", "potential_evaporation")
            pairs = [(scaling[n].mean, scaling[n].std) if n in scaling else (0.0, 1.0) for n in names]
            self.priors.constants.copy_(torch.tensor(pairs))
        return self

    def forward(self, batch: Batch, hidden: Hidden, wanted: Hidden | None = None) -> Predictions:
        """Predict the `wanted` tokens (the hidden ones where None) from what is observed and not hidden."""
        seen = visible(batch, hidden)
        contexts = {kind: nearest(p, self.config.model.neighbours) for kind, p in batch.places.items()}
        streams = self.embed(batch, seen, contexts)
        layers = self.encode(streams, contexts)
        memories, real, contrastive = self.fuse(streams, layers, batch)
        return self.decode(batch, streams, memories, real, self._choose(hidden, wanted), contrastive)

    def embed(self, batch: Batch, seen: dict[str, Tensor], contexts: dict[str, Context]) -> list[Stream]:
        """Values, flags, footprints, priors and addresses become tokens."""
        values = {name: torch.where(seen[name], batch.values[name], 0.0) for name in seen}
        slots_of = self.config.data.vector_patch_size
        above = None
        if self.config.model.footprints:
            above = footprint_features(values, seen, batch, slots_of)
        streams = []
        for names in self.config.model.shared:
            slots, sites, tokens = self.addresses["+".join(names)](batch.at(names[0]), batch.days)
            priors = None
            for name in names:
                extra = above if MODALITIES[name].kind == "series" else None
                if self.priors is not None and name == "riverflow":
                    context = contexts["series"]
                    if context.separation is None:
                        context = nearest(batch.at(name), sites.shape[1])
                    priors, doubts = self._ask_priors(values, seen, context)
                    extra = doubts[..., None, :] if extra is None else torch.cat([extra, doubts[..., None, :]], dim=-1)
                tokens = tokens + self.embeddings[name](values[name], seen[name], extra, slots)
            keep = torch.stack([seen[name].any(dim=-1) for name in names]).any(dim=0)
            streams.append(Stream(names, tokens, slots, sites, keep, priors))
        return streams

    def _ask_priors(self, values: dict[str, Tensor], seen: dict[str, Tensor], context: Context) -> tuple[Any, Tensor]:
        assert self.priors is not None
        with torch.autocast(values["riverflow"].device.type, enabled=False):
            flow, weather = values["riverflow"][..., 0], values["weather"]
            flow_seen, weather_seen = seen["riverflow"][..., 0], seen["weather"]
            rain, air = (weather[..., 0], weather_seen[..., 0]), (weather[..., 2], weather_seen[..., 2])
            value, there, doubts = self.priors(flow, flow_seen, *rain, *air, context)
        return (value, there), doubts

    def encode(self, streams: list[Stream], contexts: dict[str, Context]) -> list[list[Tensor]]:
        """Each stream through its own encoder; for every stream the outputs of all layers, the embedding first."""
        layers = []
        for stream in streams:
            context, condition = contexts[stream.kind], stream.sites[:, None]
            if self.joint:
                context, condition = self._pack(stream)
            layers.append([stream.tokens, *self.encoders[stream.key](stream.tokens, context, condition)])
        return layers

    def _pack(self, stream: Stream) -> tuple[Context, Tensor]:
        """Drop what is not visible; the register is always real. Gives each kept token its site's condition (0: none)."""
        size, _, sites = stream.keep.shape
        register = self.registers[stream.key].to(stream.tokens.dtype).expand(size, 1, -1)
        tokens = torch.cat([register, stream.tokens.flatten(1, 2)], dim=1)
        keep = torch.cat([stream.keep.new_ones(size, 1), stream.keep.flatten(1)], dim=1)
        stream.tokens, stream.place, stream.real = pack(tokens, keep)
        site = (stream.place - 1).clamp(min=0) % sites
        condition = stream.sites.gather(1, site[..., None].expand(-1, -1, stream.sites.shape[-1]))
        condition = condition * (stream.place > 0)[..., None]
        return Context(real=stream.real), condition

    def fuse(
        self, streams: list[Stream], layers: list[list[Tensor]], batch: Batch
    ) -> tuple[list[Tensor], Tensor | None, Tensor | None]:
        """Lay the streams end to end, with static tokens, and mix them; one memory for every decoder layer."""
        model = self.config.model
        dim = 1 if self.joint else 2
        deepest = max(len(outputs) for outputs in layers)
        needed = range(deepest) if model.use_weighted_fm else (deepest - 1,)
        levels = {
            i: [self._with_static(s, o[min(i, len(o) - 1)]) for s, o in zip(streams, layers, strict=True)]
            for i in needed
        }
        joined = [torch.cat(parts, dim=dim) for parts in levels.values()]
        context = self._joint_context(streams, batch)
        contrastive = None
        if self.fusion is not None:
            last = levels[deepest - 1]
            if model.contrastive_weight:
                contrastive = self._contrast(last, streams)
            joined += self.fusion(last, context, dim)
        count = max(1, model.decoder_layers)
        if not model.use_weighted_fm:
            return [joined[-1]] * count, context.real, contrastive
        maps = torch.stack([joined[i + (not model.use_input)] for i in self.chosen])
        return (
            list(torch.einsum("lm,m...->l...", self.mix.softmax(dim=-1).to(maps.dtype), maps)),
            context.real,
            contrastive,
        )

    def _with_static(self, stream: Stream, tokens: Tensor) -> Tensor:
        """Append a stream's static tokens: one a site, never hidden (a first day of the grid, or the end of a sequence)."""
        if stream.key not in self.statics:
            return tokens
        static = self.statics[stream.key](stream.sites).to(tokens.dtype)
        return torch.cat([tokens, static], dim=1) if self.joint else torch.cat([static[:, None], tokens], dim=1)

    def _joint_context(self, streams: list[Stream], batch: Batch) -> Context:
        if not self.joint and self.fusion is None:
            return Context()
        if not self.joint:
            return nearest(joined_places([batch.at(s.names[0]) for s in streams]), self.config.model.neighbours)
        if all(stream.real is None for stream in streams):
            return Context()
        parts = []
        for stream in streams:
            real = stream.keep.new_ones(stream.tokens.shape[:2]) if stream.real is None else stream.real
            static = stream.sites.shape[1] if stream.key in self.statics else 0
            parts += [real, real.new_ones(real.shape[0], static)]
        return Context(real=torch.cat(parts, dim=1))

    def _contrast(self, tokens: list[Tensor], streams: list[Stream]) -> Tensor:
        assert self.fusion is not None
        summaries = []
        for index, (part, stream) in enumerate(zip(tokens, streams, strict=True)):
            real = None
            if stream.real is not None:
                static = stream.real.new_ones(part.shape[0], part.shape[1] - stream.real.shape[1])
                real = torch.cat([stream.real, static], dim=1)
            alone = self.fusion.alone(part, index, Context(real=real)).float()  # sums over many tokens
            share = torch.ones_like(alone[..., :1]) if real is None else real[..., None].to(alone.dtype)
            summaries.append((alone * share).flatten(1, -2).sum(dim=1) / share.flatten(1, -2).sum(dim=1))
        return contrast(summaries, self.config.model.contrastive_temperature)

    def _choose(self, hidden: Hidden, wanted: Hidden | None) -> Hidden:
        if wanted is not None:
            return wanted
        ratio = self.config.model.prediction_ratio
        if not self.training or ratio >= 1:
            return hidden
        return {n: h & (torch.rand(h.shape, device=h.device) < ratio) for n, h in hidden.items()}

    def decode(
        self,
        batch: Batch,
        streams: list[Stream],
        memories: list[Tensor],
        real: Tensor | None,
        wanted: Hidden,
        contrastive: Tensor | None,
    ) -> Predictions:
        """Answers for the wanted tokens, laid back on the grid."""
        mean, gaussians, first = {}, {}, 0
        for stream in streams:
            asked = torch.stack([wanted[name] for name in stream.names]).any(dim=0)
            own = slice(first, first + stream.sites.shape[1])
            first = own.stop
            tokens = self._answer(batch, stream, memories, real, asked, own)
            # A repeated index would add its gradients in no fixed order; spread over the days every index is alone.
            slots = stream.slots[:, None].expand(-1, asked.shape[1], -1, -1, -1)[asked]
            for name in stream.names:
                these = wanted[name][asked]
                priors = None
                if stream.priors is not None and name == "riverflow":
                    priors = (stream.priors[0][wanted[name]], stream.priors[1][wanted[name]])
                value, raw = self.heads[name](tokens[these], slots[these], priors)
                mean[name] = value.new_zeros(batch.values[name].shape).index_put((wanted[name],), value)
                if raw is not None:
                    gaussians[name] = laid(around(value, raw), wanted[name], batch.values[name].shape)
        return Predictions(mean, gaussians, wanted, contrastive)

    def _answer(
        self, batch: Batch, stream: Stream, memories: list[Tensor], real: Tensor | None, asked: Tensor, own: slice
    ) -> Float[Tensor, "N D"]:
        """One vector for every asked token, in the order of `asked.nonzero()`."""
        lead = int(bool(self.statics)) if not self.joint else 0
        if not self.config.model.decoder_layers:
            return self.queries[stream.key](memories[-1][:, lead:, own][asked])
        query = self.queries[stream.key](batch.at(stream.names[0]), batch.days)[2]
        return self.decoders[stream.key](query, asked, memories, real, own, lead)
