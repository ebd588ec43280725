"""The official TypeScript clients of the Model Context Protocol, of both eras."""

import json
import subprocess
from pathlib import Path

import pytest

from processes import SECRET

HERE = Path(__file__).parent
ERAS = {
    "@modelcontextprotocol/client": "2026-07-28",
    "@modelcontextprotocol/sdk": "before it",
}


@pytest.mark.parametrize("package", ERAS, ids=ERAS.get)
def test_the_official_client_lists_and_calls_tools(server, package):
    command = ["node", "mcp.mjs", package, f"{server.url}/mcp", SECRET]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told["tools"]) == 11 and "update_submission" in told["tools"]
    made = told["made"]["structuredContent"]
    assert made["untrusted"] == {"email": "eva@example.com", "plan": "pro"}
    found = told["found"]["structuredContent"]
    assert [contact["id"] for contact in found["data"]] == [made["id"]]
    assert told["missing"]["isError"] is True
    assert "there is no such contact" in told["missing"]["content"][0]["text"]
    if ERAS[package] == "2026-07-28":
        assert told["version"] == "2026-07-28"
