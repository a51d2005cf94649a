"""Take one core of the machine for a replica or a worker, as Ray was told."""

from __future__ import annotations

from dataclasses import replace

from service.settings import Settings


def on_one_core(settings: Settings) -> Settings:
    """Return settings for one engine of one thread, unless more were asked for.

    Ray counts cores but does not bind processes to theirs: each sees all of the machine's, and
    would have an engine on every one.
    """
    return replace(settings, workers=settings.workers or 1, threads=settings.threads or 1)
