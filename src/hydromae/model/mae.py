"""The masked autoencoder: embed, encode, fuse, decode."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from hydromae.batching.antecedent import antecedent_width
from hydromae.batching.batch import Batch
from hydromae.batching.masking import Hidden, visible
from hydromae.config import Config
from hydromae.model.blocks import Context
from hydromae.model.decoder import Decoder, Head
from hydromae.model.encoder import BlockStack, Embedding, Fusion, contrastive_loss, footprint_features
from hydromae.model.estimators import Estimators
from hydromae.model.fused_ops import gather
from hydromae.model.mixture import mixture_around, scatter_mixture
from hydromae.model.out_of_fold import OutOfFoldLSTMs
from hydromae.model.outputs import Predictions, Stream, StreamSlice
from hydromae.model.packing import PackedLayout, concat_sites
from hydromae.model.positional import SEPARATIONS, PositionalEncoding, concat_metadata, nearest_context
from hydromae.model.rainfall_runoff import LSTMPrediction, RainfallRunoff
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
        self.config, self.lstm_only = config, False
        self.out_of_fold: OutOfFoldLSTMs | None = None
        model = config.model
        self.positional, self.encoders, self.static_projections, self.queries = (nn.ModuleDict() for _ in range(4))
        self.embeddings, self.heads, self.decoders = (nn.ModuleDict() for _ in range(3))
        grids = "recurrent" in model.mixers or model.neighbours is not None
        self.packs_tokens = bool(model.decoder_layers) and not grids
        self.estimators = (
            Estimators(SEPARATIONS, bool(model.lstm_width), bool(model.lstm_ar_width)) if model.estimators else None
        )
        for stream in model.shared:
            self._add_stream(stream, pixels)
        self.fusion = Fusion(model, len(model.streams)) if model.fusion_layers else None
        self.rainfall_runoff = None
        if model.lstm_width:
            channels = len(MODALITIES["weather"].variables)
            before = antecedent_width(channels) if config.data.antecedent_days else 0
            self.rainfall_runoff = RainfallRunoff(
                model.lstm_width, model.lstm_ar_width, model.d_model, channels, before, model.lstm_dropout
            )
        depth = max(model.map_layers if MODALITIES[name].kind == "map" else model.series_layers for name in self.heads)
        maps = model.use_input + depth + model.fusion_layers
        chosen = model.use_fm_layers if model.use_fm_layers is not None else tuple(range(maps))
        self.mixed_layers = chosen if model.use_weighted_fm else (maps - 1,)
        if model.use_weighted_fm:
            start = torch.zeros(max(1, model.decoder_layers), len(chosen))
            start[:, -1] = 2.0
            self.mix = nn.Parameter(start)

    def _add_stream(self, stream: tuple[str, ...], pixels: int) -> None:
        model, key, series = self.config.model, "+".join(stream), MODALITIES[stream[0]].kind == "series"
        width, slots = model.d_model, self.config.data.vector_patch_size if series else 1
        maps = sum(MODALITIES[name].kind == "map" for name in model.modalities)
        film = model.film and series
        self.positional[key] = PositionalEncoding(width, slots, ordered="recurrent" not in model.mixers)
        self.encoders[key] = BlockStack(model, model.series_layers if series else model.map_layers, film)
        if model.static_tokens and (series or model.mixers != ("joint",)):
            self.static_projections[key] = nn.Linear(width, width)
        if model.decoder_layers:
            self.queries[key] = PositionalEncoding(model.decoder_dim, slots, ordered=True)
            self.decoders[key] = Decoder(model)
        else:
            self.queries[key] = nn.Linear(width, model.decoder_dim)
        for name in stream:
            channels = len(MODALITIES[name].variables) if series else pixels
            estimates = self.estimators if name == "riverflow" else None
            extra = (estimates.features if estimates else 0) + (2 * maps if series and model.footprints else 0)
            self.embeddings[name] = Embedding(channels * slots, slots, extra, width, film)
            spread = 3 * model.components if series else 0
            self.heads[name] = Head(
                model.decoder_dim, width, channels, spread, len(estimates.names) if estimates else 0
            )

    def set_scaling(self, scaling: Scaling) -> HydroMAE:
        """Tell the priors in which units flow, rain and evaporation are scaled; the weights then carry it."""
        if self.estimators is not None:
            names = ("riverflow", "precipitation", "potential_evaporation")
            pairs = [(scaling[n].mean, scaling[n].std) if n in scaling else (0.0, 1.0) for n in names]
            self.estimators.constants.copy_(torch.tensor(pairs))
        return self

    def train(self, mode: bool = True) -> HydroMAE:
        """Parts of which no weight learns have no dropout: the others then read what they say when the model answers."""
        super().train(mode)
        for part in self.children():
            parameters = list(part.parameters())
            if parameters and not any(parameter.requires_grad for parameter in parameters):
                part.eval()
        return self

    def forward(
        self, batch: Batch, hidden: Hidden, wanted: Hidden | None = None, few_days: bool = False
    ) -> Predictions:
        """Predict the `wanted` tokens (the hidden ones where None) from what is observed and not hidden.

        Args:
            batch, hidden: Windows, and the tokens that the model does not see.
            wanted: Tokens to predict.
            few_days: Wanted tokens lie on few days: the last block computes these days alone. The last bit of a prediction
                may differ.
        """
        seen = visible(batch, hidden)
        if self.lstm_only:
            return self.forward_lstm(batch, seen)
        contexts = {kind: nearest_context(p, self.config.model.neighbours) for kind, p in batch.site_metadata.items()}
        streams = self.embed(batch, seen, contexts)
        if few_days:
            streams = self._on_wanted_days(streams, hidden if wanted is None else wanted)
        layers = self.encode_streams(streams, contexts)
        encoded, memory_layout, slices, contrastive = self.fuse(streams, layers, batch)
        return self.decode(
            batch, streams, encoded, memory_layout, slices, self._decoded_tokens(hidden, wanted), contrastive
        )

    def forward_lstm(self, batch: Batch, seen: dict[str, Tensor]) -> Predictions:
        """What the memories say, and no answers."""
        values = {name: torch.where(seen[name], batch.values[name], 0.0) for name in seen}
        lstm_predictions = []
        for names in self.config.model.shared:
            sites = self.positional["+".join(names)](batch.metadata_of(names[0]), batch.days)[1]
            lstm_predictions += self._predict_lstm(names, values, seen, sites, batch)
        mean = {name: torch.zeros_like(value) for name, value in values.items()}
        return Predictions(
            mean, {}, {name: torch.zeros_like(part[..., 0]) for name, part in seen.items()}, None, lstm_predictions
        )

    def encode(self, batch: Batch, hidden: Hidden) -> Float[Tensor, "B T S D"]:
        """What the encoder makes of every day of every catchment (or group); 0 where a token that is not seen drops out."""
        seen = visible(batch, hidden)
        contexts = {kind: nearest_context(p, self.config.model.neighbours) for kind, p in batch.site_metadata.items()}
        streams = self.embed(batch, seen, contexts)
        encoded, _, slices, _ = self.fuse(streams, self.encode_streams(streams, contexts), batch)
        stream_slice = slices[next(index for index, stream in enumerate(streams) if "riverflow" in stream.names)]
        return stream_slice.layout.unpack(encoded[-1][stream_slice.tokens])[:, stream_slice.layout.static_rows :]

    def embed(self, batch: Batch, seen: dict[str, Tensor], contexts: dict[str, Context]) -> list[Stream]:
        """Values, flags, footprints, priors and addresses become tokens."""
        values = {name: torch.where(seen[name], batch.values[name], 0.0) for name in seen}
        slots_of = self.config.data.vector_patch_size
        footprint_means = None
        if self.config.model.footprints:
            footprint_means = footprint_features(values, seen, batch, slots_of)
        streams = []
        for names in self.config.model.shared:
            slots, sites, encoding = self.positional["+".join(names)](batch.metadata_of(names[0]), batch.days)
            layout = self._layout([seen[name] for name in names])
            tokens, estimates, lstm_predictions = (
                gather(encoding, layout),
                None,
                self._predict_lstm(names, values, seen, sites, batch),
            )
            for name in names:
                extra = footprint_means if MODALITIES[name].kind == "series" else None
                if self.estimators is not None and name == "riverflow":
                    context = contexts["series"]
                    if context.separation is None:
                        context = nearest_context(batch.metadata_of(name), sites.shape[1])
                    estimates, estimator_features = self._estimate(values, seen, context, lstm_predictions)
                    extra = (
                        estimator_features[..., None, :]
                        if extra is None
                        else torch.cat([extra, estimator_features[..., None, :]], dim=-1)
                    )
                packed_extra = None if extra is None else layout.pack(extra)
                tokens = tokens + self.embeddings[name](
                    layout.pack(values[name]), layout.pack(seen[name]), packed_extra, slots, layout
                )
            streams.append(Stream(names, tokens, layout, slots, sites, estimates, lstm_predictions))
        return streams

    def _predict_lstm(
        self, names: tuple[str, ...], values: dict[str, Tensor], seen: dict[str, Tensor], sites: Tensor, batch: Batch
    ) -> list[LSTMPrediction]:
        """What the memories say of a stream that holds weather and flow."""
        if self.rainfall_runoff is None or not {"weather", "riverflow"} <= set(names):
            return []
        flow, flow_seen = values["riverflow"][..., 0], seen["riverflow"][..., 0]
        weather, forcing_observed = values["weather"], seen["weather"]
        lstm_inputs = (
            weather,
            forcing_observed,
            flow,
            flow_seen,
            batch.days,
            sites,
            batch.antecedent,
            batch.flow_dropout,
        )
        lstm_predictions = self.rainfall_runoff(*lstm_inputs)
        if self.out_of_fold is None or batch.fold_index is None or not self.training:
            return lstm_predictions
        return self.out_of_fold.substitute(lstm_predictions, lstm_inputs, flow_seen, batch.fold_index)

    def _layout(self, seen: list[Tensor]) -> PackedLayout:
        """Of the tokens of which anything is visible; of all where mixers need the whole grid, or answers are read there."""
        size, days, sites, _ = seen[0].shape
        if not self.packs_tokens:
            return PackedLayout.dense(size, days, sites, seen[0].device)
        return PackedLayout.of_mask(torch.stack([part.any(dim=-1) for part in seen]).any(dim=0))

    def _estimate(
        self,
        values: dict[str, Tensor],
        seen: dict[str, Tensor],
        context: Context,
        lstm_predictions: list[LSTMPrediction],
    ) -> tuple[Any, Tensor]:
        assert self.estimators is not None
        with torch.autocast(values["riverflow"].device.type, enabled=False):
            flow, weather = values["riverflow"][..., 0], values["weather"]
            flow_seen, weather_seen = seen["riverflow"][..., 0], seen["weather"]
            rain, air = (weather[..., 0], weather_seen[..., 0]), (weather[..., 2], weather_seen[..., 2])
            lstm_means = [
                prediction.mean.detach() for prediction in lstm_predictions
            ]  # a memory says what it says, whatever corrects it
            value, exists, estimator_features = self.estimators(flow, flow_seen, *rain, *air, context, lstm_means)
        return (value, exists), estimator_features

    def encode_streams(self, streams: list[Stream], contexts: dict[str, Context]) -> list[list[Tensor]]:
        """Each stream through its own encoder; for every stream the outputs of all layers, the embedding first."""
        return [
            [s.tokens, *self.encoders[s.key](s.tokens, s.layout, contexts[s.kind], s.site_encoding, s.rows)]
            for s in streams
        ]

    def _on_wanted_days(self, streams: list[Stream], wanted: Hidden) -> list[Stream]:
        """Streams whose encoders return the days with a wanted token, where nothing after the encoders reads another day."""
        model = self.config.model
        if model.decoder_layers or model.fusion_layers or model.use_weighted_fm or self.static_projections:
            return streams
        narrowed = []
        for stream in streams:
            days = torch.stack([wanted[name].any(dim=2).any(dim=0) for name in stream.names]).any(dim=0)
            some = bool(days.any()) and not bool(days.all())
            narrowed.append(replace(stream, rows=days.nonzero()[:, 0]) if some else stream)
        return narrowed

    def fuse(
        self, streams: list[Stream], layers: list[list[Tensor]], batch: Batch
    ) -> tuple[list[Tensor], PackedLayout, list[StreamSlice], Tensor | None]:
        """Lay the streams end to end, with static tokens, and mix them.

        Returns:
            memories (list of Float[M, D]): One for every decoder layer.
            theirs: Where their tokens sit, the sites of all streams side by side.
            own: Which part of them is each stream's.
            contrastive (Float[] or None)
        """
        model = self.config.model
        slices = self._stream_slices(streams)
        memory_layout = concat_sites([part.layout for part in slices])
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
                contrastive = self._contrastive_loss(last, slices)
            metadata = concat_metadata([batch.metadata_of(s.names[0]) for s in streams])
            joined += self.fusion(last, memory_layout, nearest_context(metadata, model.neighbours))
        if not model.use_weighted_fm:
            return [joined[-1]] * max(1, model.decoder_layers), memory_layout, slices, contrastive
        maps = torch.stack([joined[i + (not model.use_input)] for i in self.mixed_layers])
        mixed = torch.einsum("lm,m...->l...", self.mix.softmax(dim=-1).to(maps.dtype), maps)
        return list(mixed), memory_layout, slices, contrastive

    def _stream_slices(self, streams: list[Stream]) -> list[StreamSlice]:
        slices, first = [], 0
        for stream in streams:
            layout = stream.layout
            if stream.rows is not None:
                layout = PackedLayout.dense(
                    layout.shape[0], len(stream.rows), layout.shape[2], layout.flat_index.device
                )
            if self.static_projections:
                layout = (
                    layout.with_static_tokens()
                    if stream.key in self.static_projections
                    else layout.with_leading_rows(1)
                )
            slices.append(StreamSlice(slice(first, first + len(layout.flat_index)), layout))
            first = slices[-1].tokens.stop
        return slices

    def _with_static(self, stream: Stream, tokens: Tensor) -> Tensor:
        """A stream's tokens and its static ones: one a site, never hidden, in a row before the first day."""
        if stream.key not in self.static_projections:
            return tokens
        return torch.cat(
            [tokens, self.static_projections[stream.key](stream.site_encoding).flatten(0, 1).to(tokens.dtype)]
        )

    def _contrastive_loss(self, tokens: list[Tensor], slices: list[StreamSlice]) -> Tensor:
        assert self.fusion is not None
        summaries = []
        for index, (part, stream_slice) in enumerate(zip(tokens, slices, strict=True)):
            stream_tokens = self.fusion.encode_single(
                part, index, stream_slice.layout, Context()
            ).float()  # sums over many tokens
            windows, size = stream_slice.layout.window_index, stream_slice.layout.shape[0]
            total = stream_tokens.new_zeros(size, stream_tokens.shape[1]).index_add(0, windows, stream_tokens)
            summaries.append(total / torch.bincount(windows, minlength=size).clamp(min=1)[:, None])
        return contrastive_loss(summaries, self.config.model.contrastive_temperature)

    def _decoded_tokens(self, hidden: Hidden, wanted: Hidden | None) -> Hidden:
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
        encoded: list[Tensor],
        memory_layout: PackedLayout,
        slices: list[StreamSlice],
        wanted: Hidden,
        contrastive: Tensor | None,
    ) -> Predictions:
        """Answers for the wanted tokens, laid back on the grid."""
        mean, gaussians = {}, {}
        for stream, stream_slice in zip(streams, slices, strict=True):
            target_mask = torch.stack([wanted[name] for name in stream.names]).any(dim=0)
            layout = PackedLayout.of_mask(target_mask)
            tokens = self._target_tokens(batch, stream, encoded, memory_layout, stream_slice, target_mask)
            for name in stream.names:
                name_tokens, name_layout = tokens, layout
                if len(stream.names) > 1:
                    name_tokens, name_layout = tokens[wanted[name][target_mask]], PackedLayout.of_mask(wanted[name])
                estimates = None
                if stream.estimates is not None and name == "riverflow":
                    estimates = (stream.estimates[0][wanted[name]], stream.estimates[1][wanted[name]])
                value, raw = self.heads[name](name_tokens, stream.slot_encoding, name_layout, estimates)
                mean[name] = value.new_zeros(batch.values[name].shape).index_put((wanted[name],), value)
                if raw is not None:
                    gaussians[name] = scatter_mixture(
                        mixture_around(value, raw), wanted[name], batch.values[name].shape
                    )
        lstm_predictions = [prediction for stream in streams for prediction in stream.lstm_predictions]
        return Predictions(mean, gaussians, wanted, contrastive, lstm_predictions)

    def _target_tokens(
        self,
        batch: Batch,
        stream: Stream,
        encoded: list[Tensor],
        memory_layout: PackedLayout,
        stream_slice: StreamSlice,
        target_mask: Bool[Tensor, "B T S"],
    ) -> Float[Tensor, "N D"]:
        """One vector for every asked token, in their order."""
        layout = PackedLayout.of_mask(target_mask if stream.rows is None else target_mask[:, stream.rows])
        if not self.config.model.decoder_layers:
            dense_tokens = stream_slice.layout.unpack(encoded[-1][stream_slice.tokens])[
                :, stream_slice.layout.static_rows :
            ]
            return self.queries[stream.key](gather(dense_tokens, layout))
        query = self.queries[stream.key](batch.metadata_of(stream.names[0]), batch.days)[2]
        query_layout = layout.with_leading_rows(stream_slice.layout.static_rows)
        return self.decoders[stream.key](gather(query, layout), query_layout, encoded, memory_layout, stream_slice)
