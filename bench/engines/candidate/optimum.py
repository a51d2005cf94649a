"""optimum's `ORTModelForSeq2SeqLM.generate`: transformers' loop over exported ONNX graphs."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnxruntime as ort
import torch
from optimum.exporters.onnx import main_export
from optimum.onnxruntime import ORTModelForSeq2SeqLM

from bench.engines.candidate.rows import Generate, Rows, padded, until_end


def convert(plain: Path, cache: Path, dtype: str = "fp32") -> Path:
    """Export the model in `fp32` or `fp16`, and return its folder."""
    out = cache / f"{plain.name}-optimum-{dtype}"
    if not out.exists():
        partial = out.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        # As `from_pretrained` with `export=True`, which offers no choice of precision.
        main_export(
            str(plain),
            output=partial,
            task="text2text-generation-with-past",
            dtype=dtype,
            do_validation=False,
            no_post_process=True,
        )
        partial.rename(out)
    return out


_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def load(folder: Path, threads: int, max_new_tokens: int, device: str = "cpu") -> Generate:
    torch.set_num_threads(threads)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    # Spinning threads of its sessions compete for the cores: 45 instead of 20 ms.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    model = ORTModelForSeq2SeqLM.from_pretrained(
        folder, session_options=options, provider=_PROVIDERS[device]
    )
    pad, end = model.config.pad_token_id, model.config.eos_token_id

    def generate(sources: Rows, steps: int = max_new_tokens) -> Rows:
        ids, mask = padded(sources, pad)
        rows = model.generate(
            input_ids=torch.tensor(ids, device=device),
            attention_mask=torch.tensor(mask, device=device),
            do_sample=False,
            num_beams=1,
            max_new_tokens=steps,
        )
        return until_end(rows[:, 1:].tolist(), end)

    return generate
