"""Train a small T5: resumable, logged, the same whether or not it was interrupted."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from training import curve, data, forward
from training.batches import Batch, Batches
from training.divergence import require_finite, require_finite_weights
from training.errors import RunError
from training.evaluate import exact_match
from training.held_out import held_out_prompts
from training.model import PRESETS, SmallT5, save_plain
from training.run_folder import Log, claim
from training.vocabulary import Vocabulary
from training.warm_start import warm_start

_CLIP_NORM = 1.0
_LOSS_DECAY = 0.98  # of the running mean that the log shows
_MONITORED_TOKENS = 96  # of an answer to one; one that goes on is wrong


@dataclass(frozen=True)
class Settings:
    """The settings that decide the weights of a run, beside its data."""

    preset: str = "mini"
    steps: int = 17_000
    batch_tokens: int = 3_000  # of prompts and worked forms, about 75 examples
    lr: float = 2e-3
    warmup_steps: int = 300
    decay_steps: int = 6_000  # at the end, over which the learning rate falls
    seed: int = 0
    base: str | None = None  # folder of an earlier checkpoint to start from
    # Of the forward pass; weights and optimiser states stay fp32.
    precision: str = "bf16"


def train(
    settings: Settings,
    *,
    data_folder: Path,
    run_folder: Path,
    log_every: int = 100,
    save_every: int = 500,
    evaluate_every: int = 2_000,
    monitored: int = 500,
    stop_after: int | None = None,
    compiled: bool = False,
) -> None:
    """Train in `run_folder`, from its checkpoint if it has one, to the end of the schedule.

    Writes `settings.json`, `data.json`, `log.jsonl` and `checkpoint.pt`; at each evaluation and at
    the end also the plain checkpoint in `model/`, and `curve.png` from its answers to the first
    `monitored` test questions. `stop_after` ends early at that step, as a kill would. `compiled`
    trains faster after a minute or two of compilation.
    Raises `RunError` if the folder holds a run of other settings or the run diverges, and
    `data.DataError` for bad data.
    """
    claim(run_folder, asdict(settings), data.describe(data_folder))
    if compiled:
        forward.compiled()
    torch.manual_seed(settings.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trainer = _Trainer(settings, device)
    trainer.load(run_folder / "checkpoint.pt")
    log = Log(run_folder / "log.jsonl", trainer.step)

    batches = Batches(
        trainer.model.vocabulary,
        settings.batch_tokens,
        settings.seed,
        held_out_prompts(data_folder),
    )
    problems = data.read(data.split_file(data_folder, data.TEST_SPLIT))[:monitored]
    if not problems:
        raise RunError(f"{data_folder} has no test questions to draw the learning curve from")
    last = min(settings.steps, stop_after or settings.steps)
    bar = tqdm(total=settings.steps, initial=trainer.step, unit="step", mininterval=5)
    for batch in batches.after(trainer.step):
        if trainer.step >= last:
            break
        trainer.update(batch)
        bar.update()
        step = trainer.step
        if step % log_every == 0:
            log.write(step=step, loss=trainer.mean_loss, lr=trainer.lr())
        evaluating = step % evaluate_every == 0 or step == settings.steps
        saving = step % save_every == 0 or step == last
        if evaluating or saving:
            require_finite_weights(step, trainer.model.parameters())
        if evaluating:
            plain = trainer.model.plain()
            save_plain(plain, trainer.tokenizer, run_folder / "model")
            plain.generation_config.max_new_tokens = _MONITORED_TOKENS
            score = exact_match(plain.to(device), trainer.tokenizer, problems)
            log.write(step=step, exact_match=score)
            curve.draw(run_folder / "log.jsonl", run_folder / "curve.png")
        if saving:
            trainer.save(run_folder / "checkpoint.pt")
    bar.close()


class _Trainer:
    """The model, its optimiser and the step they are at."""

    def __init__(self, settings: Settings, device: torch.device) -> None:
        vocabulary = Vocabulary.digits()
        self._settings = settings
        self._device = device
        self.tokenizer = vocabulary.tokenizer()
        self.model = SmallT5(PRESETS[settings.preset], vocabulary)
        if settings.base is not None:
            warm_start(self.model, Path(settings.base))
        self.model.to(device)
        self._optimiser = torch.optim.AdamW(
            self.model.parameters(),
            lr=settings.lr,
            betas=(0.9, 0.98),
            weight_decay=0.01,
            fused=True,
        )
        self.step = 0
        self.mean_loss = math.nan

    def lr(self) -> float:
        """Linear warm-up, level, then linear down to a hundredth of the peak.

        So a run can be made longer or shorter on the way, by moving its end.
        """
        settings = self._settings
        rising = (self.step + 1) / settings.warmup_steps
        falling = 0.01 + 0.99 * (settings.steps - self.step) / settings.decay_steps
        return settings.lr * max(0.01, min(1.0, rising, falling))

    def update(self, batch: Batch) -> None:
        for group in self._optimiser.param_groups:
            group["lr"] = self.lr()
        dtype = torch.bfloat16 if self._settings.precision == "bf16" else torch.float32
        source, target = batch.source.to(self._device), batch.target.to(self._device)
        loss: Tensor = self.model(source, target, dtype)
        self.model.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), _CLIP_NORM)
        value = loss.item()
        require_finite(self.step + 1, loss=value, gradient_norm=float(norm))
        self._optimiser.step()
        self.step += 1
        known = not math.isnan(self.mean_loss)
        self.mean_loss = (
            _LOSS_DECAY * self.mean_loss + (1 - _LOSS_DECAY) * value if known else value
        )

    def save(self, path: Path) -> None:
        state = {
            "step": self.step,
            "mean_loss": self.mean_loss,
            "model": self.model.state_dict(),
            "optimiser": self._optimiser.state_dict(),
        }
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)

    def load(self, path: Path) -> None:
        if not path.exists():
            return
        state: dict[str, Any] = torch.load(path, map_location=self._device, weights_only=True)
        self.step, self.mean_loss = state["step"], state["mean_loss"]
        self.model.load_state_dict(state["model"])
        self._optimiser.load_state_dict(state["optimiser"])
