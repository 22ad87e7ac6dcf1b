"""A TypeScript client of the OpenAPI document: openapi-typescript's types, openapi-fetch, and a program that makes every call."""

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from tests import ROOT
from tests.harness import Json
from tests.integration.service.api.clients.examples import ExampleCall

SOURCES: Final = Path(__file__).parent
NODE_LEAST: Final = 20
BOUND_SECONDS: Final = 240  # generous: only a fault takes so long
# What npm says where the fault is in what stands beside this file; with anything else it could not get the packages.
OUR_FAULTS: Final = frozenset({"EUSAGE", "EINTEGRITY", "EJSONPARSE", "EBADENGINE"})

HEAD: Final = """\
import createClient from "openapi-fetch";
import type { components, paths } from "./openapi.js";

type Schemas = components["schemas"];
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;

const baseUrl = %s;
const json = createClient<paths, "application/json">({ baseUrl });
const other = createClient<paths>({ baseUrl });

interface Result<Data> {
  data?: Data;
  error?: unknown;
  response: Response;
}

/** A call's answer as a line of JSON. It compiles only where the answer's type is the one that is documented. */
function tell<Expected>() {
  return <Data>(name: string, { data, error, response }: Result<Data>, isSame: Same<NonNullable<Data>, Expected>): void =>
    console.log(JSON.stringify({ name, isSame, status: response.status, answer: data, error }));
}
"""


class Toolchain:
    """The generator and the compiler, installed into a folder, and what they make there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def generate(self, document: Json) -> None:
        """Types from the document, as a module: what is wrong in it is an error of the compiler's too."""
        (self.folder / "openapi.json").write_text(json.dumps(document))
        _checked(["node", "node_modules/openapi-typescript/bin/cli.js", "openapi.json", "--output", "openapi.ts"], self.folder)

    async def run(self, calls: Sequence[ExampleCall], base_url: str) -> list[Json]:
        """Compile the program of these calls, run it against a service, and return what it told of each."""
        (self.folder / "calls.ts").write_text(program(calls, base_url))
        await self._run("node_modules/typescript/bin/tsc", "--project", "tsconfig.json")
        return [json.loads(line) for line in (await self._run("calls.js")).splitlines()]

    async def _run(self, *arguments: str) -> str:
        """In a process, while this one's loop serves."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec("node", *arguments, cwd=self.folder, stdout=pipe, stderr=pipe)
        try:
            said, complained = await asyncio.wait_for(process.communicate(), BOUND_SECONDS)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0, (said[-4000:] + complained[-4000:]).decode()
        return said.decode()


def installed(folder: Path) -> Toolchain:
    """Exactly the locked packages; where there is no node, or no way to them, the test is skipped with a line that says so."""
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"the TypeScript client needs {' and '.join(missing)}: install Node.js {NODE_LEAST} or later with npm")
    version = _checked(["node", "--version"], folder).strip()
    if int(version.removeprefix("v").partition(".")[0]) < NODE_LEAST:
        pytest.skip(f"the TypeScript client needs Node.js {NODE_LEAST} or later, this is {version}: install a newer one")
    for name in ("package.json", "package-lock.json", "tsconfig.json"):
        shutil.copy(SOURCES / name, folder)
    quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--prefer-offline", "--fetch-retries=1"]
    try:
        result = _finished(["npm", "ci", *quiet, "--fetch-retry-mintimeout=1000", "--fetch-timeout=30000"], folder)
    except subprocess.TimeoutExpired:
        pytest.skip(f"the TypeScript client needs npm packages, and npm was not done in {BOUND_SECONDS} s: {HOW_TO_GET_THEM}")
    code = match[1] if (match := re.search(r"npm (?:error|ERR!) code (\w+)", result.stderr)) else "unknown"
    assert result.returncode == 0 or code not in OUR_FAULTS, result.stderr
    if result.returncode != 0:
        pytest.skip(f"the TypeScript client needs npm packages, and npm could not fetch them ({code}): {HOW_TO_GET_THEM}")
    return Toolchain(folder)


HOW_TO_GET_THEM: Final = (
    f"run `npm ci` once in {SOURCES.relative_to(ROOT)}/ where the registry, or a mirror set by `npm config`, can be reached"
)


def program(calls: Sequence[ExampleCall], base_url: str) -> str:
    """The source of a program that makes these calls, one after the other, as its author would write them by hand."""
    return "\n".join([HEAD % json.dumps(base_url), *(_statement(call) for call in calls)])


def _statement(call: ExampleCall) -> str:
    is_json = call.answer_type == "application/json" and call.body_type in (None, "application/json")
    headers = {"authorization": f"Bearer {call.token}"} if call.token else {}
    options: dict[str, Any] = {"params": {place: given for place, given in call.parameters.items() if given}}
    if call.body is not None:
        options["body"] = call.body
    if call.body_type not in (None, "application/json"):
        headers["content-type"] = str(call.body_type)
    if headers:
        options["headers"] = headers
    if call.answer_type != "application/json":
        options["parseAs"] = "text"
    written = [f"  {name}: {json.dumps(value, ensure_ascii=False)}," for name, value in options.items()]
    if "content-type" in headers:
        written.append("  bodySerializer: (body) => body,")
    lines = "\n".join(written)
    expected = f'Schemas["{call.answer}"]' if call.answer else ("Record<string, unknown>" if is_json else "string")
    client = "json" if is_json else "other"
    return f'tell<{expected}>()("{call.name}", await {client}.{call.method}("{call.path}", {{\n{lines}\n}}), true);\n'


def _checked(command: list[str], folder: Path) -> str:
    result = _finished(command, folder)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def _finished(command: list[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=BOUND_SECONDS, env=dict(os.environ))
