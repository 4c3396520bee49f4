"""The masked autoencoder: embed, encode, fuse, decode."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from hydromae.batching.antecedent import width
from hydromae.batching.batch import Batch
from hydromae.batching.masking import Hidden, visible
from hydromae.config import Config
from hydromae.model.blocks import Context
from hydromae.model.decoder import Decoder, Head
from hydromae.model.encoder import Embedding, Fusion, Stack, contrast, footprint_features
from hydromae.model.estimators import Priors
from hydromae.model.fused_ops import picked
from hydromae.model.mixture import around, laid
from hydromae.model.out_of_fold import StandIns
from hydromae.model.outputs import Own, Predictions, Stream
from hydromae.model.packing import Seats, side_by_side
from hydromae.model.positional import SEPARATIONS, Address, joined_places, nearest
from hydromae.model.rainfall_runoff import Runoff, Told
from hydromae.store.scaling import Scaling
from hydromae.variables import MODALITIES


class HydroMAE(nn.Module):
    """Multi-modal masked autoencoder of a water record.

    Args:
        pixels: Values in a map token (100 for 10 × 10 cells).

    Attributes:
        memories_alone: Whether a forward pass runs the memories and nothing else (`train.finetune`).
        stand_ins: Who speaks in training for rivers that the memories know too well.
    """

    def __init__(self, config: Config, pixels: int = 100) -> None:
        super().__init__()
        self.config, self.memories_alone = config, False
        self.stand_ins: StandIns | None = None
        model = config.model
        self.addresses, self.encoders, self.statics, self.queries = (nn.ModuleDict() for _ in range(4))
        self.embeddings, self.heads, self.decoders = (nn.ModuleDict() for _ in range(3))
        grids = "recurrent" in model.mixers or model.neighbours is not None
        self.drops = bool(model.decoder_layers) and not grids
        self.priors = Priors(SEPARATIONS, bool(model.runoff), bool(model.ahead)) if model.priors else None
        for stream in model.shared:
            self._add_stream(stream, pixels)
        self.fusion = Fusion(model, len(model.streams)) if model.fusion_layers else None
        self.runoff = None
        if model.runoff:
            channels = len(MODALITIES["weather"].variables)
            before = width(channels) if config.data.look_back_days else 0
            self.runoff = Runoff(model.runoff, model.ahead, model.d_model, channels, before, model.runoff_dropout)
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
        if model.static_tokens and (series or model.mixers != ("joint",)):
            self.statics[key] = nn.Linear(width, width)
        if model.decoder_layers:
            self.queries[key] = Address(model.decoder_dim, slots, ordered=True)
            self.decoders[key] = Decoder(model)
        else:
            self.queries[key] = nn.Linear(width, model.decoder_dim)
        for name in stream:
            channels = len(MODALITIES[name].variables) if series else pixels
            priors = self.priors if name == "riverflow" else None
            extra = (priors.features if priors else 0) + (2 * maps if series and model.footprints else 0)
            self.embeddings[name] = Embedding(channels * slots, slots, extra, width, film)
            spread = 3 * model.components if series else 0
            self.heads[name] = Head(model.decoder_dim, width, channels, spread, len(priors.names) if priors else 0)

    def know(self, scaling: Scaling) -> HydroMAE:
        """Tell the priors in which units flow, rain and evaporation are scaled; the weights then carry it."""
        if self.priors is not None:
            names = ("riverflow", "precipitation", "potential_evaporation")
            pairs = [(scaling[n].mean, scaling[n].std) if n in scaling else (0.0, 1.0) for n in names]
            self.priors.constants.copy_(torch.tensor(pairs))
        return self

    def train(self, mode: bool = True) -> HydroMAE:
        """Parts of which no weight learns have no dropout: the others then read what they say when the model answers."""
        super().train(mode)
        for part in self.children():
            held = list(part.parameters())
            if held and not any(parameter.requires_grad for parameter in held):
                part.eval()
        return self

    def forward(self, batch: Batch, hidden: Hidden, wanted: Hidden | None = None) -> Predictions:
        """Predict the `wanted` tokens (the hidden ones where None) from what is observed and not hidden."""
        seen = visible(batch, hidden)
        if self.memories_alone:
            return self.remember(batch, seen)
        contexts = {kind: nearest(p, self.config.model.neighbours) for kind, p in batch.places.items()}
        streams = self.embed(batch, seen, contexts)
        if not self.training:
            streams = self._on_wanted_days(streams, hidden if wanted is None else wanted)
        layers = self.encode(streams, contexts)
        memories, theirs, own, contrastive = self.fuse(streams, layers, batch)
        return self.decode(batch, streams, memories, theirs, own, self._choose(hidden, wanted), contrastive)

    def remember(self, batch: Batch, seen: dict[str, Tensor]) -> Predictions:
        """What the memories say, and no answers."""
        values = {name: torch.where(seen[name], batch.values[name], 0.0) for name in seen}
        told = []
        for names in self.config.model.shared:
            sites = self.addresses["+".join(names)](batch.at(names[0]), batch.days)[1]
            told += self._remember(names, values, seen, sites, batch)
        mean = {name: torch.zeros_like(value) for name, value in values.items()}
        return Predictions(mean, {}, {name: torch.zeros_like(part[..., 0]) for name, part in seen.items()}, None, told)

    def represent(self, batch: Batch, hidden: Hidden) -> Float[Tensor, "B T S D"]:
        """What the encoder makes of every day of every catchment (or group); 0 where a token that is not seen drops out."""
        seen = visible(batch, hidden)
        contexts = {kind: nearest(p, self.config.model.neighbours) for kind, p in batch.places.items()}
        streams = self.embed(batch, seen, contexts)
        memories, _, own, _ = self.fuse(streams, self.encode(streams, contexts), batch)
        mine = own[next(place for place, stream in enumerate(streams) if "riverflow" in stream.names)]
        return mine.seats.grid(memories[-1][mine.tokens])[:, mine.seats.lead :]

    def embed(self, batch: Batch, seen: dict[str, Tensor], contexts: dict[str, Context]) -> list[Stream]:
        """Values, flags, footprints, priors and addresses become tokens."""
        values = {name: torch.where(seen[name], batch.values[name], 0.0) for name in seen}
        slots_of = self.config.data.vector_patch_size
        above = None
        if self.config.model.footprints:
            above = footprint_features(values, seen, batch, slots_of)
        streams = []
        for names in self.config.model.shared:
            slots, sites, address = self.addresses["+".join(names)](batch.at(names[0]), batch.days)
            seats = self._seats([seen[name] for name in names])
            tokens, priors, told = picked(address, seats), None, self._remember(names, values, seen, sites, batch)
            for name in names:
                extra = above if MODALITIES[name].kind == "series" else None
                if self.priors is not None and name == "riverflow":
                    context = contexts["series"]
                    if context.separation is None:
                        context = nearest(batch.at(name), sites.shape[1])
                    priors, doubts = self._ask_priors(values, seen, context, told)
                    extra = doubts[..., None, :] if extra is None else torch.cat([extra, doubts[..., None, :]], dim=-1)
                there = None if extra is None else seats.of(extra)
                tokens = tokens + self.embeddings[name](
                    seats.of(values[name]), seats.of(seen[name]), there, slots, seats
                )
            streams.append(Stream(names, tokens, seats, slots, sites, priors, told))
        return streams

    def _remember(
        self, names: tuple[str, ...], values: dict[str, Tensor], seen: dict[str, Tensor], sites: Tensor, batch: Batch
    ) -> list[Told]:
        """What the memories say of a stream that holds weather and flow."""
        if self.runoff is None or not {"weather", "riverflow"} <= set(names):
            return []
        flow, flow_seen = values["riverflow"][..., 0], seen["riverflow"][..., 0]
        weather, watered = values["weather"], seen["weather"]
        given = (weather, watered, flow, flow_seen, batch.days, sites, batch.before, batch.gaps)
        told = self.runoff(*given)
        if self.stand_ins is None or batch.stand_in is None or not self.training:
            return told
        return self.stand_ins.instead(told, given, flow_seen, batch.stand_in)

    def _seats(self, seen: list[Tensor]) -> Seats:
        """Of the tokens of which anything is visible; of all where mixers need the whole grid, or answers are read there."""
        size, days, sites, _ = seen[0].shape
        if not self.drops:
            return Seats.all(size, days, sites, seen[0].device)
        return Seats.where(torch.stack([part.any(dim=-1) for part in seen]).any(dim=0))

    def _ask_priors(
        self, values: dict[str, Tensor], seen: dict[str, Tensor], context: Context, told: list[Told]
    ) -> tuple[Any, Tensor]:
        assert self.priors is not None
        with torch.autocast(values["riverflow"].device.type, enabled=False):
            flow, weather = values["riverflow"][..., 0], values["weather"]
            flow_seen, weather_seen = seen["riverflow"][..., 0], seen["weather"]
            rain, air = (weather[..., 0], weather_seen[..., 0]), (weather[..., 2], weather_seen[..., 2])
            said = [one.mean.detach() for one in told]  # a memory says what it says, whatever corrects it
            value, there, doubts = self.priors(flow, flow_seen, *rain, *air, context, said)
        return (value, there), doubts

    def encode(self, streams: list[Stream], contexts: dict[str, Context]) -> list[list[Tensor]]:
        """Each stream through its own encoder; for every stream the outputs of all layers, the embedding first."""
        return [
            [s.tokens, *self.encoders[s.key](s.tokens, s.seats, contexts[s.kind], s.sites, s.rows)] for s in streams
        ]

    def _on_wanted_days(self, streams: list[Stream], wanted: Hidden) -> list[Stream]:
        """Streams whose encoders return the days with a wanted token, where nothing after the encoders reads another day."""
        model = self.config.model
        if model.decoder_layers or model.fusion_layers or model.use_weighted_fm or self.statics:
            return streams
        narrowed = []
        for stream in streams:
            days = torch.stack([wanted[name].any(dim=2).any(dim=0) for name in stream.names]).any(dim=0)
            some = bool(days.any()) and not bool(days.all())
            narrowed.append(replace(stream, rows=days.nonzero()[:, 0]) if some else stream)
        return narrowed

    def fuse(
        self, streams: list[Stream], layers: list[list[Tensor]], batch: Batch
    ) -> tuple[list[Tensor], Seats, list[Own], Tensor | None]:
        """Lay the streams end to end, with static tokens, and mix them.

        Returns:
            memories (list of Float[M, D]): One for every decoder layer.
            theirs: Where their tokens sit, the sites of all streams side by side.
            own: Which part of them is each stream's.
            contrastive (Float[] or None)
        """
        model = self.config.model
        own = self._own(streams)
        theirs = side_by_side([part.seats for part in own])
        deepest = max(len(outputs) for outputs in layers)
        needed = range(deepest) if model.use_weighted_fm else (deepest - 1,)
        levels = {
            i: [self._with_static(s, o[min(i, len(o) - 1)]) for s, o in zip(streams, layers, strict=True)]
            for i in needed
        }
        joined, contrastive = [torch.cat(parts) for parts in levels.values()], None
        if self.fusion is not None:
            last = levels[deepest - 1]
            if model.contrastive_weight:
                contrastive = self._contrast(last, own)
            places = joined_places([batch.at(s.names[0]) for s in streams])
            joined += self.fusion(last, theirs, nearest(places, model.neighbours))
        if not model.use_weighted_fm:
            return [joined[-1]] * max(1, model.decoder_layers), theirs, own, contrastive
        maps = torch.stack([joined[i + (not model.use_input)] for i in self.chosen])
        mixed = torch.einsum("lm,m...->l...", self.mix.softmax(dim=-1).to(maps.dtype), maps)
        return list(mixed), theirs, own, contrastive

    def _own(self, streams: list[Stream]) -> list[Own]:
        own, first = [], 0
        for stream in streams:
            seats = stream.seats
            if stream.rows is not None:
                seats = Seats.all(seats.shape[0], len(stream.rows), seats.shape[2], seats.flat.device)
            if self.statics:
                seats = seats.behind_statics() if stream.key in self.statics else seats.behind(1)
            own.append(Own(slice(first, first + len(seats.flat)), seats))
            first = own[-1].tokens.stop
        return own

    def _with_static(self, stream: Stream, tokens: Tensor) -> Tensor:
        """A stream's tokens and its static ones: one a site, never hidden, in a row before the first day."""
        if stream.key not in self.statics:
            return tokens
        return torch.cat([tokens, self.statics[stream.key](stream.sites).flatten(0, 1).to(tokens.dtype)])

    def _contrast(self, tokens: list[Tensor], own: list[Own]) -> Tensor:
        assert self.fusion is not None
        summaries = []
        for index, (part, where) in enumerate(zip(tokens, own, strict=True)):
            alone = self.fusion.alone(part, index, where.seats, Context()).float()  # sums over many tokens
            windows, size = where.seats.windows, where.seats.shape[0]
            total = alone.new_zeros(size, alone.shape[1]).index_add(0, windows, alone)
            summaries.append(total / torch.bincount(windows, minlength=size).clamp(min=1)[:, None])
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
        theirs: Seats,
        own: list[Own],
        wanted: Hidden,
        contrastive: Tensor | None,
    ) -> Predictions:
        """Answers for the wanted tokens, laid back on the grid."""
        mean, gaussians = {}, {}
        for stream, mine in zip(streams, own, strict=True):
            asked = torch.stack([wanted[name] for name in stream.names]).any(dim=0)
            seats = Seats.where(asked)
            tokens = self._answer(batch, stream, memories, theirs, mine, asked)
            for name in stream.names:
                these, here = tokens, seats
                if len(stream.names) > 1:
                    these, here = tokens[wanted[name][asked]], Seats.where(wanted[name])
                priors = None
                if stream.priors is not None and name == "riverflow":
                    priors = (stream.priors[0][wanted[name]], stream.priors[1][wanted[name]])
                value, raw = self.heads[name](these, stream.slots, here, priors)
                mean[name] = value.new_zeros(batch.values[name].shape).index_put((wanted[name],), value)
                if raw is not None:
                    gaussians[name] = laid(around(value, raw), wanted[name], batch.values[name].shape)
        told = [one for stream in streams for one in stream.told]
        return Predictions(mean, gaussians, wanted, contrastive, told)

    def _answer(
        self,
        batch: Batch,
        stream: Stream,
        memories: list[Tensor],
        theirs: Seats,
        own: Own,
        asked: Bool[Tensor, "B T S"],
    ) -> Float[Tensor, "N D"]:
        """One vector for every asked token, in their order."""
        seats = Seats.where(asked if stream.rows is None else asked[:, stream.rows])
        if not self.config.model.decoder_layers:
            held = own.seats.grid(memories[-1][own.tokens])[:, own.seats.lead :]
            return self.queries[stream.key](picked(held, seats))
        query = self.queries[stream.key](batch.at(stream.names[0]), batch.days)[2]
        behind = seats.behind(own.seats.lead)
        return self.decoders[stream.key](picked(query, seats), behind, memories, theirs, own)
