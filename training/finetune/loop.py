"""Fine-tune a T5 on one or several processes, resumable and logged."""

from __future__ import annotations

import importlib.util
import os
import shutil
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedType, InitProcessGroupKwargs
from accelerate.utils import parse_flag_from_env
from tqdm import tqdm

from training import checkpoint, curve
from training.errors import RunError
from training.finetune.examples import Examples, Order
from training.finetune.plan import Layout, Plan, Settings
from training.finetune.scoring import score
from training.finetune.survey import tell
from training.finetune.tasks import Task
from training.finetune.tuner import Tuner
from training.run_folder import LOG, Log, claim

MODEL = "model"  # in a run's folder: the best checkpoint so far
_CHECKPOINTS = "checkpoints"
_CURVES = "tensorboard"
_SLOWEST = timedelta(hours=2)  # that one process may be behind another: writing and scoring XL


def finetune(
    settings: Settings,
    layout: Layout,
    task: Task,
    *,
    run_folder: Path,
    log_every: int = 10,
    save_every: int = 500,
    stop_after: int | None = None,
    mlflow: bool = False,
) -> bool:
    """Train in `run_folder`, from its checkpoint if it has one, to the end of the plan.

    Writes `settings.json`, `data.json`, `log.jsonl`, `tensorboard/`, `checkpoints/`, and at each
    evaluation `curve.png` and, if it is the best so far, the model in `model/`. `stop_after` ends
    early at that step, as a kill would. Returns True in the process that writes the files.

    Raises `RunError` if the folder holds a run of other settings or the run diverges, and
    `data.DataError` for bad data.
    """
    accelerator = _accelerator(settings, run_folder, mlflow)
    _check(settings, layout, accelerator)
    main: bool = accelerator.is_main_process
    if main:
        claim(run_folder, asdict(settings), task.described)
    accelerator.wait_for_everyone()

    model, tokenizer = checkpoint.load(settings.base, device=accelerator.device)
    examples = Examples(task.training, tokenizer, task.pair, settings.limits, show_progress=main)
    if task.prompt_format is None:
        model.generation_config.max_new_tokens = int(examples.targets.lengths.max())
        if main:
            tell(task, examples, tokenizer)
    order = Order(examples.sources.lengths, settings.batch_size, settings.seed)
    plan = Plan(settings.phases, order.steps_per_epoch, settings.warmup_steps)

    tuner = Tuner(settings, layout, accelerator, model, tokenizer)
    tuner.load(run_folder / _CHECKPOINTS)
    record = _Record(accelerator, settings, run_folder, tuner.step, mlflow)
    last = min(plan.steps, stop_after or plan.steps)
    bar = tqdm(total=plan.steps, initial=tuner.step, unit="step", mininterval=5, disable=not main)
    for indices in order.after(tuner.step):
        if tuner.step >= last or _worn_out(settings, tuner):
            break
        tuner.update(indices, examples, plan)
        bar.update()
        saving = tuner.step % save_every == 0 or tuner.step == last
        if tuner.step % log_every == 0 or saving:
            record.write(tuner.step, loss=tuner.mean_loss(), lr=plan.lr(tuner.step - 1))
        if _is_evaluated(settings, plan, tuner.step):
            record.write(tuner.step, **_evaluated(task, settings, tuner, accelerator, run_folder))
            record.draw()
        if saving or _worn_out(settings, tuner):
            tuner.save(run_folder / _CHECKPOINTS)
    bar.close()
    accelerator.end_training()
    return main


def _accelerator(settings: Settings, run_folder: Path, mlflow: bool) -> Accelerator:
    if mlflow and importlib.util.find_spec("mlflow") is None:
        raise RunError("MLflow is not installed; `pip install mlflow-skinny` (the extra `mlflow`)")
    precision = settings.precision
    if precision == "auto":
        half = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        precision = "bf16" if half else "fp32"
    return Accelerator(
        cpu=not torch.cuda.is_available(),  # else processes on the CPU would not find each other
        mixed_precision="bf16" if precision == "bf16" else "no",
        log_with=["tensorboard", "mlflow"] if mlflow else ["tensorboard"],
        project_dir=run_folder,
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_SLOWEST)],
    )


def _check(settings: Settings, layout: Layout, accelerator: Accelerator) -> None:
    sharded = accelerator.distributed_type == DistributedType.FSDP
    if parse_flag_from_env("ACCELERATE_USE_FSDP") and not sharded:
        raise RunError(
            f"FSDP is asked for, on {accelerator.device.type}; expected processes with a CUDA "
            "device each. Launch without the configuration of FSDP"
        )
    if settings.lora and sharded:
        raise RunError("LoRA with FSDP; expected one of them")
    processes = accelerator.num_processes
    parts = processes * layout.accumulate
    if settings.batch_size % parts:
        raise RunError(
            f"a batch of {settings.batch_size} for {processes} processes of {layout.accumulate} "
            f"passes; expected a multiple of {parts}"
        )


def _is_evaluated(settings: Settings, plan: Plan, steps: int) -> bool:
    every = settings.evaluate_every
    due = plan.ends_epoch(steps) if every is None else steps % every == 0
    return due or steps == plan.steps


def _worn_out(settings: Settings, tuner: Tuner) -> bool:
    return 0 < settings.patience <= tuner.worse


def _evaluated(
    task: Task, settings: Settings, tuner: Tuner, accelerator: Accelerator, run_folder: Path
) -> dict[str, float]:
    """Return the scores of the saved checkpoint over all processes; keep the best in `model`.

    `model` is a link, so that it always points to a complete checkpoint.
    """
    folder = run_folder / f"{MODEL}-{tuner.step:08d}"
    tuner.write_model(folder)
    scores = score(task, folder, accelerator, settings.limits)
    kept = tuner.judge(scores)
    if accelerator.is_main_process:
        if kept:
            link = run_folder / f"{MODEL}.partial"
            link.unlink(missing_ok=True)
            link.symlink_to(folder.name)
            os.replace(link, run_folder / MODEL)
        for path in run_folder.glob(f"{MODEL}-*"):
            if path.name != os.readlink(run_folder / MODEL):
                shutil.rmtree(path)
    accelerator.wait_for_everyone()
    return scores


class _Record:
    """Record the run's figures: a log, a plot, TensorBoard, MLflow."""

    def __init__(
        self,
        accelerator: Accelerator,
        settings: Settings,
        run_folder: Path,
        step: int,
        mlflow: bool,
    ) -> None:
        self._accelerator = accelerator
        self._run_folder = run_folder
        self._log = Log(run_folder / LOG, step) if accelerator.is_main_process else None
        # What a killed run wrote after its last checkpoint is dropped here as well.
        purge = {"purge_step": step + 1}
        accelerator.init_trackers(_CURVES, init_kwargs={"tensorboard": purge})
        if mlflow and accelerator.is_main_process:
            tracker = accelerator.get_tracker("mlflow")
            tracker.store_init_configuration({k: str(v) for k, v in asdict(settings).items()})

    def write(self, step: int, **figures: float) -> None:
        self._accelerator.log(figures, step=step)
        if self._log is not None:
            self._log.write(step=step, **figures)

    def draw(self) -> None:
        if self._log is not None:
            curve.draw(self._run_folder / LOG, self._run_folder / "curve.png")
