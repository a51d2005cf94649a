import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from service.metrics import Metrics

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"


def test_the_document_names_every_metric_and_no_other() -> None:
    documented = {
        name.removesuffix("_total")
        for name in re.findall(r"^\| `(\w+)`", DOCUMENT.read_text(), re.MULTILINE)
    }
    families = text_string_to_metric_families(Metrics().exposition().decode())
    named = {family.name for family in families}
    assert {name for name in named if not name.endswith("_created")} == documented
