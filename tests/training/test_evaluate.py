from equations.verify import Verdict
from training.data import Problem
from training.evaluate import Prediction, report


def test_a_report_counts_exact_answers_and_verdicts() -> None:
    problem = Problem("Solve 2*x = 6 for x.", "3")
    predictions = [
        Prediction(problem, "=3", "3", Verdict.CORRECT),
        Prediction(problem, "=4", "4", Verdict.WRONG),
        Prediction(problem, "", None, Verdict.WRONG),
    ]
    result = report(predictions, failures=1)
    assert (result["questions"], result["exact"]) == (3, 1)
    assert result["verdicts"] == {"correct": 1, "wrong": 2}
    assert isinstance(result["wrong"], list)
    assert len(result["wrong"]) == 1
