"""Hold a model, its optimiser and its step counter, on one process or several."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import T5ForConditionalGeneration

from training import checkpoint
from training.divergence import require_finite, require_finite_weights
from training.finetune.examples import IGNORED, Examples, Indices
from training.finetune.lora import add_updates, merged
from training.finetune.plan import Layout, Plan, Settings

_CLIP_NORM = 1.0
_PROGRESS = "progress.json"


class Tuner:
    """Update and save one model. Every process calls every method; the first one writes files."""

    def __init__(
        self,
        settings: Settings,
        layout: Layout,
        accelerator: Accelerator,
        model: T5ForConditionalGeneration,
        tokenizer: Tokenizer,
    ) -> None:
        self._settings = settings
        self._accumulate = layout.accumulate
        self._accelerator = accelerator
        self.tokenizer = tokenizer
        if layout.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        if settings.lora:
            add_updates(model, settings.lora, settings.seed)
        optimiser = _optimiser(settings, [one for one in model.parameters() if one.requires_grad])
        self._model, self._optimiser = accelerator.prepare(model.train(), optimiser)
        self.step = 0
        self.best: float | None = None  # the best score so far; losses negative
        self.worse = 0  # evaluations since the best
        self._losses: list[float] = []  # of the steps since they were last asked for

    def update(self, indices: Indices, examples: Examples, plan: Plan) -> None:
        """Make one step on the mean loss over all label tokens of these examples.

        Raises `Diverged` in every process, before the weights change.
        """
        if plan.begins_phase(self.step):
            self._optimiser.state.clear()
        for group in self._optimiser.param_groups:
            group["lr"] = plan.lr(self.step)
        self._seed_dropout()
        parts = self._parts(indices)
        tokens = examples.label_tokens(indices)
        loss_here = torch.zeros((), device=self._accelerator.device)
        for number, part in enumerate(parts, start=1):
            last = number == len(parts)
            batch = {
                name: value.to(self._accelerator.device)
                for name, value in examples.collate(part).items()
            }
            with nullcontext() if last else self._accelerator.no_sync(self._model):
                loss = self._loss(batch)
                # Parts differ in their tokens, and gradients are averaged over processes.
                share = examples.label_tokens(part) / tokens
                self._accelerator.backward(loss * share * self._accelerator.num_processes)
            loss_here += loss.detach() * share
        norm = self._accelerator.clip_grad_norm_(self._model.parameters(), _CLIP_NORM)
        # Over all processes, so that they stop together.
        loss_of_step = float(self._accelerator.reduce(loss_here, "sum"))
        require_finite(self.step + 1, loss=loss_of_step, gradient_norm=float(norm))
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        self._losses.append(loss_of_step)
        self.step += 1

    def _loss(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the mean loss over the label tokens of a batch."""
        made = self._model(**batch, use_cache=False)
        if not self._settings.label_smoothing:
            return made.loss  # type: ignore[no-any-return]
        return cross_entropy(
            made.logits.flatten(0, 1),
            batch["labels"].flatten(),
            ignore_index=IGNORED,
            label_smoothing=self._settings.label_smoothing,
        )

    def judge(self, scores: Mapping[str, float]) -> bool:
        """Count an evaluation; return True if its model is the best so far, or as good."""
        name = self._settings.best
        score = scores.get(name, 0.0) * (-1 if name.endswith("loss") else 1)
        # Of equals the later is kept: it has learnt longer, at lower learning rates.
        kept = self.best is None or score >= self.best
        self.worse = 0 if self.best is None or score > self.best else self.worse + 1
        self.best = score if kept else self.best
        return kept

    def mean_loss(self) -> float:
        """Return the mean loss of the steps since the last call."""
        mean = fmean(self._losses)
        self._losses.clear()
        return mean

    def _parts(self, indices: Indices) -> list[Indices]:
        """Return the process's share of a batch, in parts of one pass each."""
        processes, rank = self._accelerator.num_processes, self._accelerator.process_index
        step = processes * self._accumulate
        return [indices[rank + processes * i :: step] for i in range(self._accumulate)]

    def _seed_dropout(self) -> None:
        """Seed dropout by the step, so that a resumed run repeats an uninterrupted one."""
        place = [self._settings.seed, self.step, self._accelerator.process_index]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))

    # -- files -----------------------------------------------------------------------------------

    def write_model(self, folder: Path) -> None:
        """Write a checkpoint that transformers, evaluation and export read. Raises `Diverged`."""
        require_finite_weights(self.step, self._model.parameters())
        state = merged(self._accelerator.get_state_dict(self._model))
        if self._accelerator.is_main_process:
            plain = self._accelerator.unwrap_model(self._model)
            checkpoint.save(
                plain, self.tokenizer, self._settings.prompt_format, folder, state=state
            )
        self._accelerator.wait_for_everyone()

    def save(self, folder: Path) -> None:
        """Save all that `load` needs; the name appears when complete. Delete older checkpoints.

        Raises `Diverged`, and keeps the older ones, if a weight is not finite.
        """
        require_finite_weights(self.step, self._model.parameters())
        whole = folder / f"step-{self.step:08d}"
        partial = whole.with_suffix(".partial")
        self._accelerator.save_state(str(partial), safe_serialization=False)
        self._accelerator.wait_for_everyone()
        if self._accelerator.is_main_process:
            progress = {"step": self.step, "best": self.best, "worse": self.worse}
            (partial / _PROGRESS).write_text(json.dumps(progress) + "\n")
            if whole.exists():
                shutil.rmtree(whole)
            partial.rename(whole)
            for path in folder.iterdir():
                if path != whole:
                    shutil.rmtree(path)
        self._accelerator.wait_for_everyone()

    def load(self, folder: Path) -> None:
        """Resume from the newest complete checkpoint, if there is one."""
        found = sorted(path for path in folder.glob("step-*") if path.suffix != ".partial")
        if not found:
            return
        self._accelerator.load_state(str(found[-1]))
        progress: dict[str, Any] = json.loads((found[-1] / _PROGRESS).read_text())
        self.step, self.best, self.worse = (progress[name] for name in ("step", "best", "worse"))


def _optimiser(settings: Settings, weights: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimiser of the settings; its learning rate is set at each step."""
    if settings.optimiser == "adafactor":
        return torch.optim.Adafactor(weights, weight_decay=settings.weight_decay)
    return torch.optim.AdamW(weights, weight_decay=settings.weight_decay, fused=True)
