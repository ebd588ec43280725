"""What stands in docs/ is there, and is what it says it is."""

import re
from pathlib import Path

import contactapi

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


def test_the_contract_is_the_one_that_decides():
    """Byte for byte, where the folder that it comes from lies beside this one."""
    contract = (DOCS / "CONTRACT.md").read_bytes()
    source = ROOT.parent / "shared" / "CONTRACT.md"
    if source.exists():
        assert contract == source.read_bytes()
    headings = re.findall(r"^## (\d+)\. ", contract.decode(), re.MULTILINE)
    assert headings == [str(number) for number in range(1, 12)]


def test_the_changelog_keeps_a_changelog():
    text = (DOCS / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## \[(.+?)\]", text, re.MULTILINE)
    assert versions[0] == "Unreleased"
    assert contactapi.VERSION in versions[:2]
    kinds = set(re.findall(r"^### (.+)", text, re.MULTILINE))
    known = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert kinds <= known


def test_no_link_between_the_documents_is_dead():
    pages = [ROOT / "README.md", ROOT / "bench" / "README.md", *DOCS.glob("*.md")]
    for page in pages:
        links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        missing = [link for link in links if not (page.parent / link).exists()]
        assert missing == [], page


def test_the_security_page_names_every_attack():
    text = (DOCS / "SECURITY.md").read_text()
    source = (ROOT / "bench" / "attacks.py").read_text()
    attacks = re.findall(r"^def (\w+)\(target: Target\) -> None:", source, re.MULTILINE)
    assert len(attacks) > 25
    missing = [name for name in attacks if f"| {name.replace('_', ' ')} |" not in text]
    assert missing == []
