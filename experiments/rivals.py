"""Our tokeniser beside rivals at about equal bits, and seconds of sampling beside T2M-GPT and MoMask.

    pip install vector-quantize-pytorch   (VQ, residual VQ and FSQ are its own; no dependency of the package)
    python -m experiments.rivals --dataset data/gist --subjects 10 1 --families outputs/gist_10 outputs/gist_1 \
        --t2m_gpt T2M-GPT --momask momask-codes

Each family was trained without its subject. Tokenisers, all made from the same windows of the other people, with our weights of
joints, and of the same number of bits but for rounding:

- `ours`: GaitVQModel
- `linear`, `linear_64`: principal components of phase-aligned coefficients, k-means of pairs; 78 and 64 tokens of 8 bits
- `vq`: convolutional VQ-VAE, one codebook of 512, moving averages, unused codes reset (T2M-GPT, arXiv 2301.06052)
- `rvq`: six codebooks of 512, quantiser dropout 0.2 (MoMask, arXiv 2312.00063)
- `fsq`: finite scalar quantisation (arXiv 2309.15505)
- `mixing`: neither codes nor network: eight neighbours of a random walk mixed at random among unquantised linear
  coefficients; `mixing_others`: of other walks alone, as its nearest may be its own recordings by other sensors

One token of 8 bits holds the level of what a tokeniser leaves, which comes back as noise of the spectrum, phase and correlation
that it has on training walks (sensor_noise.py), as in ours; a network's path gets none. T2M-GPT and MoMask run from
checkouts of github.com/Mael-zys/T2M-GPT and github.com/EricGuo5513/momask-codes, published sizes, random weights
and text features.
Out: a row a person and tokeniser, and one of seconds (runner.py); `model_cards/results/rivals_gist.json`.
"""

import functools
import os
import sys
import time
import types
from dataclasses import dataclass, field
from multiprocessing import get_context

import numpy as np
import torch
from torch import nn

from experiments import chain
from experiments.runner import parse, rounded, run_all, write_result
from modeling_gait.evaluation.metrics import diversity, frechet_gait_distance
from modeling_gait.gait_waves import GaitWaves, clock, from_channels, phase_of, synthesise, to_channels
from modeling_gait.generation_gait import generate_walks
from modeling_gait.quantization import ProductQuantizer
from modeling_gait.sensor_noise import LEVELS, SensorNoise
from modeling_gait.skeletons import mirror
from modeling_gait.training.data import load_walks
from modeling_gait.training.fit_parts import OTHERS, waves_of
from modeling_gait.training.loop import optimizer_step
from modeling_gait.walk_description import WalkDescription

TOKENISERS = ("ours", "linear", "vq", "mixing", "rvq", "fsq", "linear_64", "mixing_others")
PART = 240  # windows at a time
THEIR_SECONDS = 196 / 20  # their longest walk


@dataclass(kw_only=True)
class RivalArguments(chain.FamilyArguments):
    """Arguments of the comparison."""

    output_dir: str = field(default="outputs/rivals_gist", metadata={"help": "rows"})
    name: str = "rivals_gist"
    samples: int = field(default=600, metadata={"help": "walks sampled"})
    tokenisers: list[str] = field(default_factory=lambda: list(TOKENISERS), metadata={"choices": TOKENISERS})
    seconds: float = field(default=120.0, metadata={"help": "of a processor that each network trains"})
    t2m_gpt: str = field(default="", metadata={"help": "checkout of T2M-GPT"})
    momask: str = field(default="", metadata={"help": "checkout of MoMask"})


class World(chain.Family):
    """A family, the windows of its people and of the person held out."""

    def __init__(self, folder: str, subject: str, dataset: str):
        super().__init__(folder)
        self.books, self.frames = self.vq.codebooks, self.vq.config.num_frames
        self.data = load_walks(dataset, exclude_subjects=[subject])
        self.train = chain.windows_of(self.data, self.extractor, [None])
        self.test = chain.windows_of(load_walks(dataset, only_subjects=[subject]), self.extractor, [None])
        self.weights = self.books.scale()[1] * 2**0.5  # of channels: small but telling joints weigh more

    @functools.cached_property
    def input(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Joints (2 N, T, J, 3) [m] and masks that rivals are made from: walks, and mirrored walks of other bodies."""
        joints, generator = self.train["joints"], torch.Generator().manual_seed(0)
        others = [mirror(OTHERS(part, generator), self.skeleton) for part in joints.split(PART)]
        return torch.cat((joints, *others)), self.train["attention_mask"].repeat(2, 1)

    @functools.cached_property
    def waves(self) -> GaitWaves:
        return waves_of(self.vq, *self.input)


# --- tokenisers: `bits` of a full window; joints (B, T, J, 3) [m] and mask (B, T) -> joints as they come back ----------------


class LinearCodes:
    """Pairs of principal components of cycle and drift, 256 means each; the rhythm is coded as ours. 0 pairs: not coded."""

    def __init__(self, world: World, pairs: int):
        began = time.process_time()
        self.world, self.bits = world, 8 * (pairs + world.vq.config.num_temporal_tokens)
        self.scale = torch.tensor([1 / 3, 1 / 5, 1 / 7]).sqrt()[:, None] * world.weights  # of Legendre polynomials
        x, number = self.vectors(world.waves), 2 * pairs or 192
        self.mean = x.mean(0)
        self.basis = torch.linalg.eigh(torch.cov(x.T.double()))[1].flip(1)[:, :number].float()
        self.codes = ProductQuantizer(number, number, pairs, 256) if pairs else None
        if pairs:
            self.codes.fit((x - self.mean) @ self.basis, groups=[i // 2 for i in range(number)])
        self.about = {"seconds": time.process_time() - began}

    def vectors(self, waves: GaitWaves) -> torch.Tensor:
        return torch.cat((self.world.books.to_vector(waves.cycle), (waves.drift * self.scale).flatten(1)), dim=1)

    def coefficients(self, waves: GaitWaves) -> torch.Tensor:
        return (self.vectors(waves) - self.mean) @ self.basis

    def walks(self, coefficients: torch.Tensor, rhythm: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Coefficients (B, n) and rhythm (B, 6) -> joints (B, T, J, 3) [m]."""
        x, world, drift = self.mean + coefficients @ self.basis.T, self.world, self.scale.numel()
        waves = GaitWaves(
            world.books.to_cycle(x[:, :-drift]), x[:, -drift:].unflatten(1, self.scale.shape) / self.scale, rhythm
        )
        return from_channels(synthesise(waves, mask, world.skeleton, world.frames, world.vq.half), world.skeleton)

    def __call__(self, joints: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        waves, temporal = self.world.vq.waves(joints, mask), self.world.books.temporal
        z, rhythm = self.coefficients(waves), waves.rhythm
        if self.codes:
            z, rhythm = self.codes.lookup(self.codes.encode(z)), temporal.lookup(temporal.encode(rhythm))
        return self.walks(z, rhythm, mask)


class Residual(nn.Module):
    """Residual block (B, C, T) of T2M-GPT's and MoMask's convolutions."""

    def __init__(self, width: int, dilation: int):
        super().__init__()
        around = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.layers = nn.Sequential(nn.ReLU(), around, nn.ReLU(), nn.Conv1d(width, width, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x)


class ConvAutoencoder(nn.Module):
    """(B, T, channels) -> the same, and the loss of the quantiser; every `frames` frames become `tokens` vectors."""

    def __init__(self, channels: int, quantizer: nn.Module, frames: int, tokens: int, code_dim: int, width: int = 128):
        super().__init__()
        self.quantizer, self.tokens = quantizer, tokens
        self.enter = nn.Sequential(
            nn.Conv1d(channels, width, 3, 1, 1), nn.ReLU(), nn.Conv1d(width, width * tokens, frames, frames)
        )
        self.encoder = nn.Sequential(*[Residual(width, 3**i) for i in (2, 1, 0)], nn.Conv1d(width, code_dim, 3, 1, 1))
        self.decoder = nn.Sequential(
            nn.Conv1d(code_dim, width, 3, 1, 1), nn.ReLU(), *[Residual(width, 3**i) for i in (0, 1, 2)]
        )
        self.leave = nn.Sequential(
            nn.ConvTranspose1d(width * tokens, width, frames, frames), nn.ReLU(), nn.Conv1d(width, channels, 3, 1, 1)
        )

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = self.enter(x.transpose(1, 2)).unflatten(1, (-1, self.tokens)).transpose(2, 3).flatten(2)
        found = self.quantizer(self.encoder(h).transpose(1, 2))
        h = self.decoder(found[0].transpose(1, 2)).unflatten(2, (-1, self.tokens)).transpose(2, 3).flatten(1, 2)
        return self.leave(h).transpose(1, 2), found[2].sum() if len(found) > 2 else x.new_zeros(())


def convolutional(name: str, channels: int) -> tuple[ConvAutoencoder, float]:
    """The network, and the bits of a frame: 648 or 624 of 96 frames."""
    from vector_quantize_pytorch import FSQ, ResidualVQ, VectorQuantize

    learnt = {"codebook_size": 512, "decay": 0.95, "commitment_weight": 0.02, "kmeans_init": True}
    if name == "vq":
        return ConvAutoencoder(channels, VectorQuantize(64, threshold_ema_dead_code=0.5, **learnt), 4, 3, 64), 3 / 4 * 9
    if name == "rvq":
        quantizer = ResidualVQ(dim=128, num_quantizers=6, quantize_dropout=True, threshold_ema_dead_code=0.1, **learnt)
        return ConvAutoencoder(channels, quantizer, 8, 1, 128, 192), 1 / 8 * 54
    return ConvAutoencoder(channels, FSQ([8, 8, 8, 4, 4], dim=64), 2, 1, 64), 1 / 2 * 13


class Network:
    """One of them, trained for so many seconds of one processor: smooth L1 of places and, half as much, of their steps."""

    @torch.enable_grad()
    def __init__(self, world: World, name: str, seconds: float, seed: int, batch: int = 32):
        torch.manual_seed(seed)
        self.skeleton, self.fps = world.skeleton, world.extractor.fps
        self.path, self.weights = slice(3 * self.skeleton.root, 3 * self.skeleton.root + 2), world.weights.clone()
        self.weights[self.path] = 0.3  # of m/s
        joints, mask = world.input
        x = torch.cat([self.prepared(*part) for part in zip(joints.split(PART), mask.split(PART))])
        self.mean, self.deviation = x.mean((0, 1)), (x - x.mean((0, 1))).std()
        x = (x - self.mean) / self.deviation
        self.model, bits = convolutional(name, x.shape[2])
        self.bits, steps, gone, began = x.shape[1] * bits, 0, 0.0, time.process_time()
        optimiser = torch.optim.AdamW(self.model.parameters(), betas=(0.9, 0.99))
        while gone < seconds:
            rows = torch.randint(len(x), (batch,))
            self.model.quantizer.quantize_dropout = bool(torch.rand(()) < 0.2)  # only the residual VQ's means something
            (out, committed), valid = self.model(x[rows]), mask[rows, :, None]
            missed = nn.functional.smooth_l1_loss(out, x[rows], reduction="none") * valid
            moved = nn.functional.smooth_l1_loss(out.diff(dim=1), x[rows].diff(dim=1), reduction="none") * valid[:, 1:]
            rate = 1e-3 * min(1, (steps + 1) / 20, 0.02 + 1.5 * (1 - gone / seconds))
            optimizer_step(optimiser, missed.mean() + 0.5 * moved.mean() + committed, rate)
            steps, gone = steps + 1, time.process_time() - began
        self.model.eval()
        self.about = {"seconds": gone, "steps": steps}

    def prepared(self, joints: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Weighted channels (B, T, C), the path as its velocity; after a short walk its last frame stays."""
        at = torch.minimum(torch.arange(mask.shape[1])[None], mask.sum(1, keepdim=True).long() - 1)
        x = to_channels(joints, self.skeleton)
        x = x.gather(1, at[..., None].expand_as(x))
        x[:, 1:, self.path] = x[..., self.path].diff(dim=1) * self.fps
        x[:, 0, self.path] = x[:, 1, self.path]
        return x * self.weights

    def __call__(self, joints: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        out, _ = self.model((self.prepared(joints, mask) - self.mean) / self.deviation)
        x = (out * self.deviation + self.mean) / self.weights
        x[:, 0, self.path] = 0
        x[..., self.path] = x[..., self.path].cumsum(1) / self.fps
        return from_channels(x, self.skeleton)


class Noise:
    """What a tokeniser leaves on training walks, as random noise with one of 256 levels for each window."""

    def __init__(self, world: World, tokeniser, rows: np.ndarray):
        self.world, self.tokeniser, self.noise = world, tokeniser, SensorNoise(world.skeleton, world.frames)
        self.level = ProductQuantizer(LEVELS, LEVELS, 1, 256)
        joints, mask = (world.train[k][rows] for k in ("joints", "attention_mask"))
        made, residual = self.made(joints, mask)
        self.level.fit(self.noise.levels(residual, mask), groups=[0] * LEVELS)
        self.noise.fit(residual, mask, self.phase(made, mask))

    def made(self, joints: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Joints as they come back, and the channels (B, T, C) that they lack."""
        made = torch.cat([self.tokeniser(j, m) for j, m in zip(joints.split(PART), mask.split(PART))])
        missed = to_channels(joints, self.world.skeleton) - to_channels(made, self.world.skeleton)
        path = slice(3 * self.world.skeleton.root, 3 * self.world.skeleton.root + 2)
        missed[..., path] -= missed[:, :1, path].clone()
        if isinstance(self.tokeniser, Network):
            missed[..., path] = 0  # a sum of velocities drifts away, which is no trembling
        return made, missed * mask[..., None]

    def phase(self, joints: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        rhythm = waves_of(self.world.vq, joints, mask).rhythm
        return phase_of(rhythm, clock(mask, self.world.frames), self.world.vq.half)

    def add(
        self, made: torch.Tensor, mask: torch.Tensor, residual: torch.Tensor, valid: torch.Tensor, seed: int
    ) -> torch.Tensor:
        """Joints with noise as loud as residuals (B, T, C) of windows with masks `valid` (B, T)."""
        levels = self.level.lookup(self.level.encode(self.noise.levels(residual, valid)))
        noise = self.noise.sample(levels, self.phase(made, mask), torch.Generator().manual_seed(seed))
        return from_channels(to_channels(made, self.world.skeleton) + noise, self.world.skeleton)


# --- numbers -----------------------------------------------------------------------------------------------------------------


def reconstructed(name: str, world: World, args: RivalArguments, seed: int) -> dict:
    """Millimetres of the held-out person's windows; FGD of 700 windows of the others from 700 more."""
    order = np.random.default_rng(seed).permutation(len(world.train["joints"]))
    rows, reference = np.array_split(np.random.default_rng(seed).permutation(order[:1400]), 2)  # those of chain.py
    if name == "ours":
        row = {"bits": world.vq.config.bits_per_window}

        def both(joints, mask):
            codes = world.encode(joints, mask)
            return codes["reconstruction"], world.decode(codes, mask, True, seed)
    else:
        linear = {"linear": 73, "linear_64": 59}.get(name)
        tokeniser = LinearCodes(world, linear) if linear else Network(world, name, args.seconds, seed)
        row, noise = {"bits": tokeniser.bits + 8.0, **tokeniser.about}, Noise(world, tokeniser, order[-2000:])

        def both(joints, mask):
            made, residual = noise.made(joints, mask)
            return made, noise.add(made, mask, residual, mask, seed)

    joints, mask = world.train["joints"], world.train["attention_mask"]
    real = chain.features_of(joints[reference], mask[reference], world)
    for kind, walks in zip(("_without_noise", ""), both(joints[rows], mask[rows])):
        row[f"fgd_reconstruction{kind}"] = frechet_gait_distance(chain.features_of(walks, mask[rows], world), real)
    joints, mask = world.test["joints"], world.test["attention_mask"]
    row["reconstruction_mpjpe_mm"] = chain.joint_error(both(joints, mask)[0], joints, mask, world.skeleton.root).mean()
    return row


def sampled(world: World, made: torch.Tensor, noisy: torch.Tensor, mask: torch.Tensor, seed: int) -> dict:
    """FGD and diversity of sampled walks; as many real walks, the same for all."""
    rows = np.random.default_rng(seed).permutation(len(world.train["joints"]))[: len(made)]
    real = chain.features_of(world.train["joints"][rows], world.train["attention_mask"][rows], world)
    features = chain.features_of(noisy, mask, world)
    return {
        "fgd": frechet_gait_distance(features, real),
        "fgd_without_noise": frechet_gait_distance(chain.features_of(made, mask, world), real),
        "diversity": diversity(features, real),
        "diversity_real": diversity(real),
    }


def mixed(name: str, world: World, args: RivalArguments, seed: int) -> dict:
    """Walks mixed of eight neighbours of a random walk of a class, as many of each class."""
    rng, windows, count = np.random.default_rng(seed), world.train, len(world.train["joints"])
    linear, labels = LinearCodes(world, 0), windows["labels"].numpy()
    noise, z = Noise(world, linear, rng.permutation(count)[:2000]), linear.coefficients(world.waves)[:count]
    walk = np.array([f"{s} {w}" for s, w in zip(world.data["subject_id"], world.data["walk_id"])])
    asked = np.arange(args.samples) % len(world.extractor.labels)
    base = np.array([rng.choice(np.flatnonzero(labels == label)) for label in asked])
    away = torch.cdist(z[base], z)
    away[torch.from_numpy(labels[base][:, None] != labels)] = torch.inf
    if name == "mixing_others":
        away[torch.from_numpy(walk[base][:, None] == walk)] = torch.inf
    near, share = away.topk(8, largest=False).indices, torch.from_numpy(rng.dirichlet(np.ones(8), len(base))).float()
    rhythm = torch.einsum("bk,bkr->br", share, world.waves.rhythm[near])
    rhythm[:, 2] = world.waves.rhythm[base, 2]  # an angle
    mask = windows["attention_mask"][base]
    made = linear.walks(torch.einsum("bk,bkz->bz", share, z[near]), rhythm, mask)
    _, residual = noise.made(windows["joints"][base], mask)
    return sampled(world, made, noise.add(made, mask, residual, mask, seed), mask, seed)


def written(world: World, args: RivalArguments, seed: int) -> dict:
    """The same of our walks from words."""
    prompts, frames = chain.training_prompts(world.data, world, args.samples, seed), world.frames
    options = {"temperature": args.temperature, "guidance": args.guidance, "sensor": True, "seed": seed}
    models = (world.model, world.tokenizer, world.decoder)
    parts = [generate_walks(*models, prompts[i : i + PART], frames, first=i, **options) for i in range(0, len(prompts), PART)]
    noisy = torch.from_numpy(np.concatenate([p[0] for p in parts]))
    asked = np.array([world.extractor.labels.index(p.pathology) for p in prompts])
    mask = chain.lengths_like(world.train, asked, frames, np.random.default_rng(seed))
    codes = [chain.decode_walks(world.decoder, p[1], frames) for p in parts]
    return sampled(world, torch.from_numpy(np.concatenate(codes)), noisy, mask, seed)


# --- seconds -----------------------------------------------------------------------------------------------------------------


def _ours(folder: str):
    family = chain.Family(folder)
    asked = WalkDescription("antalgic", side="right", speed=0.8, classes=family.extractor.classes)
    frames = round(THEIR_SECONDS * family.extractor.fps)
    return lambda count: generate_walks(family.model, family.tokenizer, family.decoder, [asked] * count, frames, seed=0)


def _t2m_gpt(folder: str):
    """Greedy, so that a batch is sampled at once (they sample one at a time); decoded one at a time, as they do."""
    sys.path.insert(0, folder)
    from models.t2m_trans import Text2Motion_Transformer
    from models.vqvae import HumanVQVAE

    torch.Tensor.cuda = lambda tensor, *_: tensor  # their codebook asks for a GPU
    decoder = HumanVQVAE(types.SimpleNamespace(dataname="t2m", quantizer="ema_reset", mu=0.99), 512, 512, 512, 2, 2).eval()
    model = Text2Motion_Transformer(512, 1024, 512, 51, 9, 16, 0.1, 4).eval()
    model.trans_head.head.weight.data[512] = 0  # the end: never the likeliest

    def walks(count: int) -> list[torch.Tensor]:
        return [decoder.forward_decoder(ids[:49]) for ids in model.sample(torch.randn(count, 512), False)]

    return walks


def _momask(folder: str):
    """As their gen_t2m.py: 18 steps of the masked transformer, guidance 4; five residual layers, guidance 5; decoder."""
    sys.path.insert(0, folder)
    clip, encoder = types.ModuleType("clip"), nn.Identity()
    encoder.encode_text = lambda text: torch.randn(len(text), 512)
    clip.load, clip.tokenize = (lambda *_, **__: (encoder, None)), (lambda words, truncate: torch.zeros(len(words), 77))
    sys.modules["clip"] = clip
    from models.mask_transformer.transformer import MaskTransformer, ResidualTransformer
    from models.vq.model import RVQVAE

    vq = {"num_quantizers": 6, "shared_codebook": False, "quantize_dropout_prob": 0.2, "mu": 0.99}
    options = types.SimpleNamespace(num_tokens=512, device="cpu", **vq)
    sizes = {"code_dim": 512, "cond_mode": "text", "latent_dim": 384, "ff_size": 1024, "num_layers": 8, "num_heads": 6}
    masked = MaskTransformer(**sizes, opt=options).eval()
    residual = ResidualTransformer(**sizes, opt=options, share_weight=True).eval()
    decoder = RVQVAE(options, 263, 512, 512, 512, 2, 2).eval()

    def walks(count: int) -> torch.Tensor:
        words, lengths = ["a person walks"] * count, torch.full((count,), 49)
        ids = masked.generate(words, lengths, timesteps=18, cond_scale=4)
        return decoder.forward_decoder(residual.generate(ids, words, lengths, cond_scale=5))

    return walks


SYSTEMS = {"ours": _ours, "t2m_gpt": _t2m_gpt, "momask": _momask}


def seconds_of(system: str, folder: str, threads: int = 2) -> dict[int, float]:
    """Batch -> seconds a walk by the clock, the models loaded and run before. For a process of its own."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    walks, found = SYSTEMS[system](folder), {}
    with torch.inference_mode():
        walks(1)
        for batch, repeats in ((1, 3), (32, 1)):
            began = time.perf_counter()
            for _ in range(repeats):
                walks(batch)
            found[batch] = (time.perf_counter() - began) / batch / repeats
    return found


def sampling_seconds(folders: dict[str, str]) -> dict:
    """Seconds a walk of each system, one after another, and how often as long as ours theirs take."""
    row = {"sampling_load": os.getloadavg()[0]}
    for system, folder in folders.items():
        with get_context("spawn").Pool(1) as pool:
            for batch, seconds in pool.apply(seconds_of, (system, folder)).items():
                end = f"{system}_batch_1" if batch == 1 else system
                row[f"sampling_seconds_{end}"] = seconds
                if system != "ours":
                    row[f"sampling_ratio_{end}"] = seconds / row["sampling_seconds_" + end.replace(system, "ours")]
    return row


def main() -> None:
    args = parse(RivalArguments)
    families, seed = chain.families_of(args), args.seeds[0]
    world_of = functools.lru_cache(maxsize=1)(lambda subject: World(families[subject], subject, args.dataset))

    def measure(run: dict) -> dict:
        subject, name = run.values()
        if name == "seconds":
            asked = {"ours": args.families[0], "t2m_gpt": args.t2m_gpt, "momask": args.momask}
            return rounded(sampling_seconds({k: v for k, v in asked.items() if v}))
        with torch.no_grad():
            world = world_of(subject)
            if name.startswith("mixing"):
                return rounded(mixed(name, world, args, seed))
            return rounded(reconstructed(name, world, args, seed) | (written(world, args, seed) if name == "ours" else {}))

    runs = [{"subject": s, "tokeniser": t} for s in args.subjects for t in args.tokenisers]
    if args.t2m_gpt or args.momask:
        runs.append({"subject": "none", "tokeniser": "seconds"})
    rows = run_all(args, runs, measure, listed=("tokenisers", "families", "t2m_gpt", "momask"))
    metrics = {k: v for r in rows if r["tokeniser"] == "seconds" for k, v in r.items() if k.startswith("sampling_")}
    for name in TOKENISERS:
        own = [r for r in rows if r["tokeniser"] == name]
        for key in [k for k, v in own[0].items() if isinstance(v, float | int)] if own else []:
            metrics[f"{key}_{name}"] = float(np.mean([r[key] for r in own if key in r]))
    protocol = (
        "each row: a tokeniser made from the people not held out; bits of 96 frames; mm of the waves or the network's output, "
        "root-relative, no skeleton, of the person held out; FGD of 700 windows of training people from 700 others; networks "
        f"train {args.seconds:g} s of one processor, width 128 or 192, batch 32; {args.samples} sampled walks, as many of each "
        "class, from as many real windows, ours without noise on a skeleton; seconds a walk of 9.8 s by the clock, batch 32 "
        "and 1, two threads, beside the load that is given, theirs 196 frames with random weights and features, ours 294 frames"
    )
    print(write_result(args.name, args.dataset, protocol, rounded(metrics), rows, seeds=[seed]))


if __name__ == "__main__":
    main()
