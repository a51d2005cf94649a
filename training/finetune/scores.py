"""Score texts that a model wrote for pairs of one's own against the expected ones."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import sacrebleu
from rouge_score.rouge_scorer import RougeScorer

_ROUGE = {"rouge1": "rouge_1", "rouge2": "rouge_2", "rougeL": "rouge_l"}


def text_scores(written: Sequence[str], expected: Sequence[str]) -> dict[str, float]:
    """Return the share of exact matches (0 to 1), mean ROUGE F-measures without stemming (0 to 1),
    and sacreBLEU's BLEU and chrF of the corpus (0 to 100).
    """
    pairs = list(zip(written, expected, strict=True))
    scorer = RougeScorer(list(_ROUGE))
    by_text = [scorer.score(wanted, text) for text, wanted in pairs]
    return {
        "exact_match": fmean(text.strip() == wanted.strip() for text, wanted in pairs),
        **{name: fmean(one[key].fmeasure for one in by_text) for key, name in _ROUGE.items()},
        "bleu": sacrebleu.corpus_bleu(list(written), [list(expected)]).score,
        "chrf": sacrebleu.corpus_chrf(list(written), [list(expected)]).score,
    }
