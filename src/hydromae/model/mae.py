"""The masked autoencoder: embed, encode, fuse, decode."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from hydromae.batching.batch import Batch
from hydromae.batching.masking import Hidden, draw_share, visible
from hydromae.config import Config
from hydromae.model.blocks import Context, cast_for
from hydromae.model.decoder import Decoder, Head
from hydromae.model.encoder import BlockStack, Embedding, Fusion, footprint_features
from hydromae.model.estimators import Estimators
from hydromae.model.flow_estimates import estimate_flow
from hydromae.model.fused_ops import gather
from hydromae.model.map_estimators import MapEstimators, estimate_map, weather_channel
from hydromae.model.mixture import mixture_around, scatter_mixture
from hydromae.model.out_of_fold import OutOfFoldLSTMs
from hydromae.model.outputs import Estimates, Predictions, Stream, StreamSlice, slice_streams, with_visible_maps
from hydromae.model.packing import PackedLayout, concat_sites
from hydromae.model.positional import SEPARATIONS, PositionalEncoding, concat_metadata, nearest_context
from hydromae.model.rainfall_runoff import LSTMPrediction, RainfallRunoff
from hydromae.store.scaling import Scaling
from hydromae.variables import MODALITIES


class HydroMAE(nn.Module):
    """Multi-modal masked autoencoder of a record, with `pixels` values in a map token.

    Attributes:
        lstm_only: Whether a forward pass runs the LSTMs only (`train.finetune`).
        out_of_fold: LSTMs that replace the model's own for some catchments in training.
    """

    def __init__(self, config: Config, pixels: int = 100) -> None:
        super().__init__()
        self.config, self.lstm_only = config, False
        self.out_of_fold: OutOfFoldLSTMs | None = None
        model = config.model
        self.positional, self.encoders, self.static_projections, self.queries = (nn.ModuleDict() for _ in range(4))
        self.embeddings, self.heads, self.decoders, self.map_estimators = (nn.ModuleDict() for _ in range(4))
        self.feature_queries = nn.ModuleDict()
        grids = "recurrent" in model.mixers or model.neighbours is not None
        self.packs_tokens = bool(model.decoder_layers) and not grids
        has_lstm, has_ar = bool(model.lstm_width), bool(model.lstm_ar_width)
        self.estimators = Estimators(SEPARATIONS, has_lstm, has_ar) if model.estimators else None
        for stream in model.shared:
            self._add_stream(stream, pixels)
        self.fusion = Fusion(model, len(model.streams)) if model.fusion_layers else None
        self.rainfall_runoff = RainfallRunoff.of(config) if model.lstm_width else None
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
            estimators = self.estimators if name == "riverflow" else None
            if not series and model.map_estimators:
                has_weather = weather_channel(name, model.modalities) is not None
                estimators = self.map_estimators[name] = MapEstimators(pixels, has_weather)
            features = estimators.features if estimators else 0
            if features and model.decoder_layers:
                self.feature_queries[name] = nn.Linear(features * slots, model.decoder_dim)
            extra = features + (2 * maps if series and model.footprints else 0)
            self.embeddings[name] = Embedding(channels * slots, slots, extra, width, film)
            has_distribution = series or model.map_distributions
            spread, estimates = 3 * model.components * has_distribution, len(estimators.names) if estimators else 0
            self.heads[name] = Head(model.decoder_dim, width, channels, spread, estimates, is_shared=not series)

    def set_scaling(self, scaling: Scaling) -> HydroMAE:
        """Store the scaling of flow, rain and evaporation in the weights of the estimators, and the limit of temperature."""
        if self.rainfall_runoff is not None:
            self.rainfall_runoff.set_limit(self.config.model.lstm_max_temperature, scaling)
        if self.estimators is not None:
            names = ("riverflow", "precipitation", "potential_evaporation")
            pairs = [(scaling[n].mean, scaling[n].std) if n in scaling else (0.0, 1.0) for n in names]
            self.estimators.constants.copy_(torch.tensor(pairs))
        return self

    def train(self, mode: bool = True) -> HydroMAE:
        """Set the mode; parts without trainable weights stay in evaluation mode, without dropout."""
        super().train(mode)
        for part in self.children():
            parameters = list(part.parameters())
            if parameters and not any(parameter.requires_grad for parameter in parameters):
                part.eval()
        return self

    def forward(
        self, batch: Batch, hidden: Hidden, wanted: Hidden | None = None, few_days: bool = False
    ) -> Predictions:
        """Predict tokens from the visible values.

        Args:
            batch, hidden: Windows, and their hidden tokens.
            wanted: Tokens to predict; None means the hidden ones.
            few_days: Compute only the days with wanted tokens in the last block; the last bit of a prediction may differ.
        """
        seen = visible(batch, hidden)
        if self.lstm_only:
            return self.forward_lstm(batch, seen)
        contexts = self._contexts(batch)
        streams = self.embed(batch, seen, contexts)
        if few_days:
            streams = self._on_wanted_days(streams, hidden if wanted is None else wanted)
        layers = self.encode_streams(streams, contexts)
        encoded, memory_layout, slices, contrastive = self.fuse(streams, layers, batch)
        if wanted is None:
            wanted = draw_share(hidden, self.config.model.prediction_ratio) if self.training else hidden
        return self.decode(batch, streams, encoded, memory_layout, slices, wanted, contrastive)

    def _contexts(self, batch: Batch) -> dict[str, Context]:
        return {kind: nearest_context(p, self.config.model.neighbours) for kind, p in batch.site_metadata.items()}

    def forward_lstm(self, batch: Batch, seen: dict[str, Tensor]) -> Predictions:
        """Predictions of the LSTMs only."""
        values = {name: torch.where(seen[name], batch.values[name], 0.0) for name in seen}
        lstm_predictions = []
        for names in self.config.model.shared:
            sites = self.positional["+".join(names)](batch.metadata_of(names[0]), batch.days)[1]
            lstm_predictions += self._predict_lstm(names, values, seen, sites, batch)
        mean = {name: torch.zeros_like(value) for name, value in values.items()}
        decoded = {name: torch.zeros_like(part[..., 0]) for name, part in seen.items()}
        return Predictions(mean, {}, decoded, None, lstm_predictions)

    def encode(self, batch: Batch, hidden: Hidden) -> Float[Tensor, "B T S D"]:
        """Encoded tokens of every day of every catchment (or group); 0 where a hidden token is not encoded."""
        seen, contexts = visible(batch, hidden), self._contexts(batch)
        streams = self.embed(batch, seen, contexts)
        encoded, _, slices, _ = self.fuse(streams, self.encode_streams(streams, contexts), batch)
        stream_slice = slices[next(index for index, stream in enumerate(streams) if "riverflow" in stream.names)]
        return stream_slice.layout.unpack(encoded[-1][stream_slice.tokens])[:, stream_slice.layout.static_rows :]

    def embed(self, batch: Batch, seen: dict[str, Tensor], contexts: dict[str, Context]) -> list[Stream]:
        """Tokens from values, flags, footprint means, estimates and positional encodings."""
        values = {name: torch.where(seen[name], batch.values[name], 0.0) for name in seen}
        has_footprints, slot_count = self.config.model.footprints, self.config.data.vector_patch_size
        footprint_means = footprint_features(values, seen, batch, slot_count) if has_footprints else None
        streams = []
        for names in self.config.model.shared:
            slots, sites, encoding = self.positional["+".join(names)](batch.metadata_of(names[0]), batch.days)
            layout = self._layout([seen[name] for name in names])
            tokens, estimates = gather(encoding, layout), dict[str, Estimates]()
            lstm_predictions = self._predict_lstm(names, values, seen, sites, batch)
            for name in names:
                extras = [] if footprint_means is None or MODALITIES[name].kind == "map" else [footprint_means]
                if self.estimators is not None and name == "riverflow":
                    near = self.config.model.neighbours, contexts["series"]
                    visible_values = values, seen, footprint_means
                    estimates[name] = estimate_flow(self.estimators, *visible_values, batch, near, lstm_predictions)
                if name in self.map_estimators:
                    estimator = cast(MapEstimators, self.map_estimators[name])
                    estimates[name] = estimate_map(estimator, name, values, seen, batch)
                if name in estimates:
                    extras.append(estimates[name].features)
                extra = layout.pack(torch.cat(extras, dim=-1)) if extras else None
                value, flag = layout.pack(values[name]), layout.pack(seen[name])
                tokens = tokens + self.embeddings[name](value, flag, extra, slots, layout)
            is_visible = torch.stack([seen[name].flatten(1).any(dim=1) for name in names]).any(dim=0)
            streams.append(Stream(names, tokens, layout, slots, sites, is_visible, estimates, lstm_predictions))
        return streams

    def _predict_lstm(
        self, names: tuple[str, ...], values: dict[str, Tensor], seen: dict[str, Tensor], sites: Tensor, batch: Batch
    ) -> list[LSTMPrediction]:
        """Predictions of the LSTMs for a stream with weather and flow."""
        if self.rainfall_runoff is None or not {"weather", "riverflow"} <= set(names):
            return []
        flow, flow_seen = values["riverflow"][..., 0], seen["riverflow"][..., 0]
        site_inputs = (batch.days, sites, batch.antecedent, batch.flow_dropout)
        lstm_inputs = (values["weather"], seen["weather"], flow, flow_seen, *site_inputs)
        lstm_predictions = self.rainfall_runoff(*lstm_inputs)
        if self.out_of_fold is None or batch.fold_index is None or not self.training:
            return lstm_predictions
        return self.out_of_fold.substitute(lstm_predictions, lstm_inputs, flow_seen, batch.fold_index)

    def _layout(self, seen: list[Tensor]) -> PackedLayout:
        """Layout of the visible tokens, or of all tokens where mixers or heads need the grid."""
        size, days, sites, _ = seen[0].shape
        if not self.packs_tokens:
            return PackedLayout.dense(size, days, sites, seen[0].device)
        return PackedLayout.of_mask(torch.stack([part.any(dim=-1) for part in seen]).any(dim=0))

    def encode_streams(self, streams: list[Stream], contexts: dict[str, Context]) -> list[list[Tensor]]:
        """Encode each stream; returns the outputs of all layers of every stream, the embedding first."""
        return [
            [s.tokens, *self.encoders[s.key](s.tokens, s.layout, contexts[s.kind], s.site_encoding, s.rows)]
            for s in streams
        ]

    def _on_wanted_days(self, streams: list[Stream], wanted: Hidden) -> list[Stream]:
        """Restrict the last block to the days with wanted tokens, if later layers read no other days."""
        model = self.config.model
        is_fused = self.fusion is not None and (not model.fusion_gates or bool(with_visible_maps(streams).any()))
        if model.decoder_layers or is_fused or model.use_weighted_fm or self.static_projections:
            return streams
        days = torch.stack([part.any(dim=2).any(dim=0) for part in wanted.values()]).any(dim=0)
        is_part = bool(days.any()) and not bool(days.all())
        return [replace(stream, rows=days.nonzero()[:, 0]) for stream in streams] if is_part else streams

    def fuse(
        self, streams: list[Stream], layers: list[list[Tensor]], batch: Batch
    ) -> tuple[list[Tensor], PackedLayout, list[StreamSlice], Tensor | None]:
        """Concatenate the streams, with static tokens, and mix them.

        Returns:
            encoded (list of Float[M, D]): Tokens for every decoder layer.
            memory_layout: Their layout, with the sites of all streams.
            slices: The part of each stream.
            contrastive (Float[] or None): Contrastive loss.
        """
        model = self.config.model
        slices = slice_streams(streams, self.static_projections.keys())
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
                contrastive = self.fusion.contrastive_loss(last, slices)
            metadata = concat_metadata([batch.metadata_of(s.names[0]) for s in streams])
            context = nearest_context(metadata, model.neighbours)
            joined += self.fusion(last, slices, memory_layout, context, with_visible_maps(streams))
        if not model.use_weighted_fm:
            return [joined[-1]] * max(1, model.decoder_layers), memory_layout, slices, contrastive
        maps = torch.stack([joined[i + (not model.use_input)] for i in self.mixed_layers])
        mixed = torch.einsum("lm,m...->l...", self.mix.softmax(dim=-1).to(maps.dtype), maps)
        return list(mixed), memory_layout, slices, contrastive

    def _with_static(self, stream: Stream, tokens: Tensor) -> Tensor:
        """Tokens of a stream followed by its static tokens, one per site."""
        if stream.key not in self.static_projections:
            return tokens
        static = self.static_projections[stream.key](stream.site_encoding).flatten(0, 1)
        return torch.cat([tokens, static.to(tokens.dtype)])

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
        """Predictions for the wanted tokens, on the grid."""
        mean, gaussians = {}, {}
        for stream, stream_slice in zip(streams, slices, strict=True):
            target_mask = torch.stack([wanted[name] for name in stream.names]).any(dim=0)
            layout = PackedLayout.of_mask(target_mask)
            tokens = self._target_tokens(batch, stream, encoded, memory_layout, stream_slice, target_mask)
            for name in stream.names:
                name_tokens, name_layout = tokens, layout
                if len(stream.names) > 1:
                    name_tokens, name_layout = tokens[wanted[name][target_mask]], PackedLayout.of_mask(wanted[name])
                found, estimates = stream.estimates.get(name), None
                if found is not None:
                    estimates = found.value[wanted[name]], found.exists[wanted[name]]
                value, raw = self.heads[name](name_tokens, stream.slot_encoding, name_layout, estimates)
                mean[name] = value.new_zeros(batch.values[name].shape).index_put((wanted[name],), value)
                if raw is not None:
                    mixture = mixture_around(value, raw)
                    gaussians[name] = scatter_mixture(mixture, wanted[name], batch.values[name].shape)
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
        layout = PackedLayout.of_mask(target_mask if stream.rows is None else target_mask[:, stream.rows])
        if not self.config.model.decoder_layers:
            grid = stream_slice.layout.unpack(encoded[-1][stream_slice.tokens])
            return self.queries[stream.key](gather(grid[:, stream_slice.layout.static_rows :], layout))
        query = gather(self.queries[stream.key](batch.metadata_of(stream.names[0]), batch.days)[2], layout)
        for name, estimates in stream.estimates.items():
            project, features = self.feature_queries[name], layout.pack(estimates.features).flatten(1)
            query = query + project(cast_for(project, features))
        query_layout = layout.with_leading_rows(stream_slice.layout.static_rows)
        return self.decoders[stream.key](query, query_layout, encoded, memory_layout, stream_slice)
