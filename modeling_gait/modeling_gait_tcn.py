"""GaitTCNModel: adapts to a person from one to five gait cycles (after MetaGait, doi 10.1038/s41598-026-35121-4).

In: gait cycles (B, P, C) in the units of the sensors, P phase points of one cycle, C channels; masks of samples (P or P x C)
and channels (C), True where measured; `support` (B, K, P, C), K cycles of the person; the activity (else it is read from them).
Out: `generation` (B, P, C), the expected cycle of the person; `doubt` and `spread` (B, P, C), standard deviations of that
expectation and of a single cycle about it; `reconstruction` (B, P, C), the whole of a cycle of which only some samples,
channels or sensors were measured.

    person = model.personalize(cycles)           # cycles (K, P, C): a new model, adapted to the person
    person.generate(20, seed=0)                  # (20, P, C), different cycles of this person
    person.reconstruct(cycle, sample_mask)       # (B, P, C)
    person.save_adapter("p01"); GaitTCNModel.from_pretrained("p01")   # base model + what changed

The linear rule (gait_posterior.py) goes first: the posterior of a Gaussian prior over people, fitted to training people. A
temporal convolutional network (gait_tcn_network.py) may add to it, and its weights may take gradient steps on the person's
cycles (MAML). As shipped and configured it is untrained and adds nothing: the rule is linear, since on eighteen people no
training made it better (experiments/person_network.py).
"""

import copy
import hashlib
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import initialization as init
from transformers.utils import SAFE_WEIGHTS_NAME, ModelOutput, cached_file, can_return_tuple

from .checked_model import CheckedModel, check_weights, readable
from .configuration_gait_tcn import GaitTCNConfig
from .gait_posterior import GaitPerson, GaitPrior, weights
from .gait_tcn_network import GaitTCNHead, GaitTCNNetwork, adapt, masked_mse, support_context

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "gait_adapter.json", "gait_adapter.safetensors"
NOISE_CYCLES = 4  # cycles that people's usual variation counts as, against a person's own
LIMIT = 1.645  # standard deviations that hold 90 % of a Gaussian
FARTHEST = 20.0  # standard deviations of a channel, root mean square: what is further away is in other units


@dataclass
class GaitTCNOutput(ModelOutput):
    """`loss` scalar or None; `generation`, `reconstruction`, `doubt`, `spread` (B, P, C) in the sensors' units."""

    loss: torch.FloatTensor | None = None
    generation: torch.FloatTensor | None = None
    reconstruction: torch.FloatTensor | None = None
    doubt: torch.FloatTensor | None = None
    spread: torch.FloatTensor | None = None


class GaitTCNModel(CheckedModel):
    """Temporal convolutional network for gait cycles. See the head of this file.

    Weights are float32 whatever `dtype` `from_pretrained` is asked for: half precision would make another person of the prior.
    """

    config_class = GaitTCNConfig
    base_model_prefix = "gait_tcn"
    _keep_in_fp32_modules_strict = ["."]  # every tensor
    main_input_name = "values"
    supports_gradient_checkpointing = False

    def __init__(self, config: GaitTCNConfig):
        super().__init__(config)
        self.network = GaitTCNNetwork(config)
        self.prior = GaitPrior(
            len(config.activities), config.num_phases, config.num_channels, config.num_directions, config.correlated_harmonics
        )
        self.log_rates = nn.Parameter(torch.zeros(len(list(self.network.parameters()))))
        self.register_buffer("channel_mean", torch.zeros(config.num_channels))
        self.register_buffer("channel_std", torch.ones(config.num_channels))
        self.register_buffer("context", torch.zeros(config.num_phases, 3 * config.num_channels))
        self.register_buffer("activity", torch.tensor(len(config.activities)))  # of the person; the last: unknown
        self.adapter: dict | None = None  # of a personalised model: its base, digest of the base, names of what changed
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, GaitTCNHead):  # nothing is added at the start
            init.zeros_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            init.normal_(module.weight, std=module.in_features**-0.5)
            init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, GaitPrior):
            module.reset()
        elif isinstance(module, GaitTCNModel):
            init.constant_(module.log_rates, math.log(self.config.inner_lr))
            init.ones_(module.channel_std)
            for buffer in (module.channel_mean, module.context):
                init.zeros_(buffer)
            init.constant_(module.activity, len(self.config.activities))

    # ------------------------------------------------------------------------------------------------- scales and inputs
    @torch.no_grad()
    def fit_scales(self, values: torch.Tensor, channel_mask: torch.Tensor) -> None:
        """Mean and standard deviation of each channel, from cycles (N, P, C) and their valid channels (N, C)."""
        weight = channel_mask.to(values)[:, None]
        count = (channel_mask.sum(0).double() * values.shape[1]).clamp(min=1)
        mean = (values * weight).sum((0, 1), dtype=torch.float64) / count
        variance = ((values - mean.to(values)) * weight).square().sum((0, 1), dtype=torch.float64) / count
        self.channel_mean.copy_(mean)
        self.channel_std.copy_(torch.where(variance > 1e-12, variance.sqrt(), 1.0))

    def standardise(
        self,
        values: torch.Tensor,
        channel_mask: torch.Tensor | None = None,
        sample_mask: torch.Tensor | None = None,
        name="values",
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Cycles (..., P, C) -> standardised cycles, 0 where not measured, and a float mask (..., P, C).

        channel_mask: (..., C) or (C,); sample_mask: (..., P), (P,) or (..., P, C); bool, True where measured.
        Raises ValueError: another number of phases or channels, values that are not finite where they are said to be measured,
        or, taken together, too far from those of `fit_scales` to be in the same units.
        """
        config = self.config
        values = torch.as_tensor(values, dtype=self.channel_mean.dtype, device=self.channel_mean.device)
        if values.ndim < 2 or values.shape[-1] != config.num_channels:
            raise ValueError(
                f"{name}: expected {config.num_channels} channels in the last dimension, got {tuple(values.shape)}"
            )
        if values.shape[-2] != config.num_phases:
            raise ValueError(
                f"{name}: {values.shape[-2]} samples a cycle; expected one whole gait cycle resampled to {config.num_phases} "
                f"phase points, (..., {config.num_phases}, {config.num_channels})"
            )
        mask = torch.ones_like(values, dtype=torch.bool)
        if channel_mask is not None:
            mask = mask & self._mask(channel_mask, f"{name}: channel_mask", (config.num_channels,))[..., None, :]
        if sample_mask is not None:
            sample_mask = torch.as_tensor(sample_mask, device=values.device)
            whole = sample_mask.shape[-2:] == values.shape[-2:]
            shape = tuple(values.shape[-2:]) if whole else (config.num_phases,)
            sample_mask = self._mask(sample_mask, f"{name}: sample_mask", shape)
            mask = mask & (sample_mask if whole else sample_mask[..., None])
        broken = ~torch.isfinite(values) & mask
        if broken.any():
            at = tuple(int(i) for i in broken.nonzero()[0])
            raise ValueError(
                f"{name}: {float(values[at])} at {at}; values must be finite where the masks say they were measured"
            )
        values = torch.where(mask, (values - self.channel_mean) / self.channel_std, 0.0)
        far = float((values.square().sum() / mask.sum().clamp(min=1)).sqrt())
        if far > FARTHEST:
            raise ValueError(f"{name}: {far:.0f} standard deviations from what the model was fitted to: other units or axes?")
        return values, mask.to(values)

    def _mask(self, mask: torch.Tensor, name: str, shape: tuple[int, ...]) -> torch.Tensor:
        mask = torch.as_tensor(mask, device=self.channel_mean.device)
        if mask.dtype != torch.bool or tuple(mask.shape[-len(shape) :]) != shape:
            raise ValueError(f"{name}: expected bool (..., {', '.join(map(str, shape))}), got {mask.dtype} {tuple(mask.shape)}")
        return mask

    def _support(self, support: torch.Tensor, channel_mask=None, sample_mask=None) -> tuple[torch.Tensor, torch.Tensor]:
        """Checked support (..., K, P, C), standardised, and its mask."""
        support = torch.as_tensor(support)
        if support.ndim < 3:
            raise ValueError(f"support: expected cycles (K, P, C), got {tuple(support.shape)}")
        if support.shape[-3] == 0:
            raise ValueError("support: no cycle given; one is the least")
        values, observed = self.standardise(support, channel_mask, sample_mask, "support")
        if not observed.flatten(-2).any(-1).all():
            raise ValueError("support: a cycle has no valid sample; leave it out")
        return values, observed

    def _activity(self, activity, mean: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
        """Numbers (B,) of activities: names, numbers, or None: the likeliest for these cycles."""
        if activity is None:
            return self.prior.activity(mean, count)
        names = [activity] if isinstance(activity, str) else activity
        known = list(self.config.activities)
        unknown = [n for n in names if isinstance(n, str) and n not in known]
        numbers = [] if unknown else [known.index(n) if isinstance(n, str) else int(n) for n in names]
        unknown += [n for n in numbers if not 0 <= n <= len(known)]  # the last: any
        if unknown:
            raise ValueError(f"activity {unknown[0]!r}: the model knows {', '.join(known) or 'none'}")
        return torch.tensor(numbers, device=mean.device).expand(len(mean))

    # ------------------------------------------------------------------------------------------------- the model
    @torch.no_grad()
    def person(self, context: torch.Tensor, activity=None) -> tuple[GaitPerson, torch.Tensor]:
        """What the linear rule says of people, standardised, from `support_context` (B, P, 3 C), and their activities (B,).

        Where the support has several cycles, they say how much more or less this person's vary than other people's.
        """
        mean, certainty, deviation = context.double().chunk(3, dim=-1)
        count = certainty / (1 - certainty)
        each = count.mean(-2)
        activity = self._activity(activity, mean, each)
        mean = torch.where(count > 0, mean, self.prior.mean.double()[activity])
        usual = self.prior.within.double()[activity] * weights(self.config.num_phases, mean) / self.config.num_phases
        usual = usual.sum(-2, keepdim=True) * self.prior.shape.double()[activity].square()
        free = (count - 1).clamp(min=0)
        ratio = (free * deviation.square() / usual).sum((-1, -2)) / free.sum((-1, -2)).clamp(min=1e-9)
        several = free.amax((-1, -2))
        noise = (NOISE_CYCLES + several * ratio) / (NOISE_CYCLES + several)
        return self.prior.of(activity, mean, each, noise), activity

    @torch.no_grad()
    def left_out(self, cycles: torch.Tensor, observed: torch.Tensor, activity=None) -> tuple[torch.Tensor, torch.Tensor]:
        """What the linear rule expects of each of a person's cycles (K, P, C) from the other ones, and their context."""
        rest = [s.sum(0, keepdim=True) - s for s in (cycles, cycles.square(), observed)]
        context = support_context(*(r.clamp(min=0) if i else r for i, r in enumerate(rest)))
        return self.person(context, activity)[0].mean.to(cycles), context

    @can_return_tuple
    def forward(
        self,
        values: torch.Tensor | None = None,
        sample_mask: torch.Tensor | None = None,
        channel_mask: torch.Tensor | None = None,
        support: torch.Tensor | None = None,
        support_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        label_mask: torch.Tensor | None = None,
        activity: list[str] | torch.Tensor | None = None,
    ) -> GaitTCNOutput:
        """Expected cycle and reconstruction.

        Args:
            values: (B, P, C) cycles to reconstruct; None to generate only.
            sample_mask, channel_mask: (B, P) or (B, P, C), and (B, C), True where `values` was measured.
            support, support_mask: (B, K, P, C) cycles of the person, (B, K, C) their valid channels; without them a
                personalised model knows its person, and any other expects the cycle that people have in common.
            labels, label_mask: (B, P, C) whole cycles, (B, C) their valid channels, for the loss: squared errors of generation
                and reconstruction, in standard deviations of a channel, over valid channels alone.
            activity: names of `config.activities` (B,) or one for all, or their numbers; None: read from the support.

        Raises: ValueError as `standardise`; an unknown activity; or there is neither `values`, `support` nor `labels`.
        """
        if values is None and support is None and labels is None:
            raise ValueError("give values to reconstruct, support cycles to generate from, or both; or call generate()")
        if support is not None:
            cycles, seen = self._support(support, support_mask)
            context = support_context(cycles.sum(-3), cycles.square().sum(-3), seen.sum(-3))
        else:
            context, activity = self.context[None], self.activity[None] if activity is None else activity
        target = None if labels is None else self.standardise(labels, label_mask, name="labels")
        person, _ = self.person(context, activity)
        linear, filled = person.mean.to(context), None
        if values is not None:
            known, observed = self.standardise(values, channel_mask, sample_mask)
            filled = person.fill(known, observed).to(known)
        else:
            known = torch.zeros_like(linear if target is None else target[0])
            observed = torch.zeros_like(known)
        inputs = (x.expand_as(known) for x in (linear, linear if filled is None else filled, known, observed))
        generation, reconstruction = self.network(*inputs, context.expand(len(known), -1, -1))
        loss = None
        if target is not None:
            loss = masked_mse(generation, *target) + (masked_mse(reconstruction, *target) if values is not None else 0)
        doubt, spread = (d.to(known).expand_as(known) * self.channel_std for d in person.deviations())
        return GaitTCNOutput(
            loss=loss,
            generation=self._units(generation),
            reconstruction=None if values is None else self._units(reconstruction),
            doubt=doubt,
            spread=spread,
        )

    def _units(self, standardised: torch.Tensor) -> torch.Tensor:
        return standardised * self.channel_std + self.channel_mean

    def _own(self) -> tuple[torch.Tensor, GaitPerson]:
        """Expected cycle (1, P, C), standardised, and person of this model."""
        person, _ = self.person(self.context[None], self.activity[None])
        linear, nothing = person.mean.to(self.context), torch.zeros_like(person.mean).to(self.context)
        return self.network(linear, None, nothing, nothing, self.context[None])[0], person

    @torch.no_grad()
    def generate(self, num_cycles: int = 1, seed: int | None = None, temperature: float = 1.0) -> torch.Tensor:
        """Cycles (N, P, C) of the person this model was personalised to (else of nobody in particular).

        temperature: 0 gives the expected cycle N times, 1 cycles that vary as the person's own.
        """
        if not isinstance(num_cycles, int) or num_cycles < 1 or not 0 <= temperature < float("inf"):
            raise ValueError(f"num_cycles must be 1 or more and temperature 0 or more, got {num_cycles}, {temperature}")
        mean, person = self._own()
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        return self._units(mean + temperature * person.sample(num_cycles, generator)[0].to(mean))

    @torch.no_grad()
    def interval(self) -> dict[str, torch.Tensor]:
        """What this model knows of its person, in the sensors' units: `expected` (P, C), its standard deviation `doubt` (P, C),
        and `low`, `high` (P, C), between which nine of ten samples of a further cycle are to lie."""
        mean, person = self._own()
        doubt, spread = (d.to(mean)[0] * self.channel_std for d in person.deviations())
        expected = self._units(mean)[0]
        return {"expected": expected, "low": expected - LIMIT * spread, "high": expected + LIMIT * spread, "doubt": doubt}

    @torch.no_grad()
    def reconstruct(self, values: torch.Tensor, sample_mask=None, channel_mask=None) -> torch.Tensor:
        """Whole cycles (B, P, C) from cycles of which only what the masks say was measured; that stays as it is."""
        values = torch.as_tensor(values)
        whole = self.forward(values[None] if values.ndim == 2 else values, sample_mask, channel_mask).reconstruction
        return whole[0] if values.ndim == 2 else whole

    # ------------------------------------------------------------------------------------------------- personalisation
    @torch.no_grad()
    def strangeness(self, support, channel_mask=None, sample_mask=None, activity=None) -> float:
        """How far the mean of cycles (K, P, C) is from what the model expects of anybody, root mean square in standard
        deviations of a single cycle of anybody: about 1 for a person like those it was fitted to. As `personalize`."""
        cycles, observed = self._support(support, channel_mask, sample_mask)
        context = support_context(cycles.sum(0), cycles.square().sum(0), observed.sum(0))[None]
        anybody = self.person(torch.zeros_like(context), self.person(context, activity)[1])[0]
        seen = observed.amax(0) > 0
        off = (context[0, :, : seen.shape[1]] - anybody.mean[0]) / anybody.deviations()[1][0]
        return float(off[seen].square().mean().sqrt())

    def fast_names(self) -> list[str]:
        """Names of the network's parameters that personalisation changes."""
        names = [n for n, _ in self.network.named_parameters()]
        return names if self.config.adapted == "all" else [n for n in names if "head" in n]

    def rates(self) -> dict[str, torch.Tensor]:
        """The learning rate of each parameter of the network."""
        return {n: r for (n, _), r in zip(self.network.named_parameters(), self.log_rates.exp())}

    def personalize(
        self, support, channel_mask=None, sample_mask=None, activity=None, steps: int | None = None, lr: float | None = None
    ) -> "GaitTCNModel":
        """A new model, adapted to a person by a few of their cycles; this one stays as it is.

        Args:
            support: (K, P, C) cycles, K >= 1; channel_mask (K, C) or (C,), sample_mask (K, P) or (K, P, C): what was measured.
            activity: one of `config.activities`; None: the likeliest.
            steps: gradient steps, default `config.inner_steps`; lr: one learning rate in the place of the meta-learned ones.

        Raises: ValueError: no cycle, cycles of another length or other channels, values that are not finite, unknown activity.
        """
        support = torch.as_tensor(support)
        if support.ndim != 3:
            raise ValueError(f"support: expected cycles of one person (K, P, C), got {tuple(support.shape)}")
        steps = self.config.inner_steps if steps is None else steps
        if steps < 0 or (lr is not None and not 0 < lr < float("inf")):
            raise ValueError(f"steps must be 0 or more and lr positive, got {steps}, {lr}")
        cycles, observed = self._support(support, channel_mask, sample_mask)
        context = support_context(cycles.sum(0), cycles.square().sum(0), observed.sum(0))
        activity = self.person(context[None], activity)[1]
        parameters = {n: p.detach() for n, p in self.network.named_parameters()}
        rates = {n: r.detach() if lr is None else lr for n, r in self.rates().items()}
        fast = {n: parameters[n] for n in self.fast_names()}
        slow = {n: p for n, p in parameters.items() if n not in fast}
        if steps:
            given = (cycles, observed, *self.left_out(cycles, observed, activity))
            fast = adapt(self.network, fast, slow, rates, given, steps=steps)
        return self._with(fast, context, activity[0], steps)

    @torch.no_grad()
    def _with(self, fast: dict, context: torch.Tensor, activity: torch.Tensor, steps: int) -> "GaitTCNModel":
        person = copy.deepcopy(self).eval()
        own = dict(person.network.named_parameters())
        for name, value in fast.items():
            own[name].copy_(value)
        person.context.copy_(context)
        person.activity.copy_(activity)
        changed = ["context", "activity", *(f"network.{n}" for n in fast if steps)]
        base = self.adapter or {"base_model": self.name_or_path, "base_digest": self.digest(), "changed": []}
        person.adapter = base | {"changed": list(dict.fromkeys(base["changed"] + changed)), "steps": steps}
        return person

    def digest(self) -> str:
        """SHA-256 of the weights."""
        state = sorted(self.state_dict().items())
        return hashlib.sha256(b"".join(v.detach().cpu().float().numpy().tobytes() for _, v in state)).hexdigest()

    def save_adapter(self, folder: str | Path, base_model: str | None = None) -> None:
        """Save only what the personalisation changed; `from_pretrained(folder)` puts it on the base model again.

        base_model: folder or Hub id of the base; by default where it was loaded from. A folder is noted relative to `folder`.
        Raises: ValueError where this model is not personalised, nobody knows where its base is, or `folder` has a whole model.
        """
        if self.adapter is None:
            raise ValueError("this model is not personalised; call personalize() first, or save_pretrained()")
        base = base_model or self.adapter["base_model"]
        if not base:
            raise ValueError("save the base model with save_pretrained() and give its folder or Hub id as base_model")
        folder = Path(folder)
        if (folder / SAFE_WEIGHTS_NAME).exists():
            raise ValueError(f"{folder} holds a whole model; an adapter needs a folder of its own")
        folder.mkdir(parents=True, exist_ok=True)
        if Path(base).is_dir():
            base = os.path.relpath(Path(base).resolve(), folder.resolve())
        state = self.state_dict()
        tensors = {n: state[n].contiguous().cpu() for n in self.adapter["changed"]}
        save_file(tensors, folder / f"{ADAPTER_WEIGHTS}.tmp", metadata={"format": "pt"})
        os.replace(folder / f"{ADAPTER_WEIGHTS}.tmp", folder / ADAPTER_WEIGHTS)
        self.config.save_pretrained(folder)
        (folder / f"{ADAPTER_CONFIG}.tmp").write_text(json.dumps(self.adapter | {"base_model": base}, indent=1) + "\n")
        os.replace(folder / f"{ADAPTER_CONFIG}.tmp", folder / ADAPTER_CONFIG)

    def save_pretrained(self, save_directory: str | Path, **kwargs) -> None:
        """As in transformers: the whole model, in the place of an adapter that was there."""
        for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
            (Path(save_directory) / name).unlink(missing_ok=True)
        super().save_pretrained(save_directory, **kwargs)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, base_model: str | None = None, **kwargs) -> "GaitTCNModel":
        """As in transformers; a folder or repository of `save_adapter` is loaded onto its base (or onto `base_model`).

        Raises: ValueError where the base is another model than the adapter was made from, or a folder holds both; as
        `load_whole`.
        """
        where = pretrained_model_name_or_path
        hub = {k: kwargs[k] for k in ("cache_dir", "revision", "token", "subfolder", "local_files_only") if k in kwargs}
        found = _adapter_file(where, ADAPTER_CONFIG, hub)
        if found is None:
            return super().from_pretrained(where, *args, **kwargs)
        if (Path(found).parent / SAFE_WEIGHTS_NAME).exists():
            raise ValueError(f"{where} holds a whole model and somebody's {ADAPTER_CONFIG}; delete what is not wanted")
        adapter = json.loads(Path(found).read_text())
        base = base_model or adapter["base_model"]
        if base_model is None and (Path(found).parent / base).is_dir():
            base = os.path.normpath(Path(found).parent / base)
        rest = {k: v for k, v in kwargs.items() if k not in ("config", "revision", "subfolder", "output_loading_info")}
        model = cls.from_pretrained(base, *args, **rest)
        if model.digest() != adapter["base_digest"]:
            raise ValueError(f"{where}: this adapter was made from another model than {base}; give its own as base_model")
        file = _adapter_file(where, ADAPTER_WEIGHTS, hub)
        with readable(file):
            tensors = load_file(file)
        if set(tensors) != set(adapter["changed"]):
            raise ValueError(f"{where}: {ADAPTER_WEIGHTS} holds other tensors than {ADAPTER_CONFIG} names")
        model.load_state_dict(tensors, strict=False)
        check_weights(model, file)
        model.adapter = adapter | {"base_model": base}
        return model


def _adapter_file(where, name: str, hub: dict) -> str | None:
    """Path of a file of an adapter, None where there is no such file."""
    if where is None:
        return None
    if Path(where).is_dir():
        path = Path(where) / hub.get("subfolder", "") / name
        return str(path) if path.is_file() else None
    options = {"_raise_exceptions_for_missing_entries": False, "_raise_exceptions_for_connection_errors": False}
    return cached_file(where, name, _raise_exceptions_for_gated_repo=False, **options, **hub)


GaitTCNModel.register_for_auto_class("AutoModel")

__all__ = ["GaitTCNModel", "GaitTCNOutput"]
