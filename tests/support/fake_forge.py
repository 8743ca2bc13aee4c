"""A server on this machine that answers as far as the recipes ask GitHub and GitLab.

gh reaches it as a proxy, with GH_HOST=github.localhost, for which it uses plain HTTP. It refuses
what the services refuse: requests without a token, unknown paths, and texts that are too long.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

REPOSITORY = "owner/models"
BOT = {"login": "github-actions[bot]", "id": 41}
STRANGER = {"login": "stranger", "id": 7}
TOKEN = "a-token"
# GitLab takes a job's own token for little else than jobs and packages. A token with the role
# Reporter publishes no package.
JOB_TOKEN = "a-job's-token"
# In characters. GitLab's notes and descriptions may be longer.
MOST_GITHUB, MOST_GITLAB = 65_536, 1_000_000
Answer = tuple[int, Any]
Values = Mapping[str, Any]


@dataclass(kw_only=True)
class Forge:
    """What the service has. Pages have two entries, so everything takes several.

    comments: by issue, pull request, or merge request. events: what its page would show of an
    issue. artifacts: by run, name, and file. jobs: of GitLab, the last first, with their files.
    refs: of git, with the files of their commits. packages: of GitLab, by path.
    """

    pulls: list[dict[str, Any]] = field(default_factory=list)
    comments: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    issues: list[dict[str, Any]] = field(default_factory=list)
    events: dict[int, list[str]] = field(default_factory=dict)
    artifacts: list[dict[str, Any]] = field(default_factory=list)
    jobs: list[dict[str, Any]] = field(default_factory=list)
    packages: dict[str, Any] = field(default_factory=dict)
    objects: dict[str, Any] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    url: str = ""
    page_size: int = 2

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a job of either service that the recipes read."""
        return {
            "HTTP_PROXY": self.url,
            "http_proxy": "",
            "GH_HOST": "github.localhost",
            "GH_TOKEN": TOKEN,
            "GITHUB_REPOSITORY": REPOSITORY,
            "TVMTUNE_TOKEN": TOKEN,
            "CI_API_V4_URL": f"{self.url}/api/v4",
            "CI_PROJECT_ID": "1",
            "CI_JOB_TOKEN": JOB_TOKEN,
            "CI_DEFAULT_BRANCH": "main",
        }

    def comment(self, thread: int, body: str, user: Mapping[str, Any] = BOT) -> dict[str, Any]:
        """Add a comment to an issue or a pull request."""
        every = sum(map(len, self.comments.values()))
        made = {"id": 1000 + every, "body": body, "user": user, "author": user}
        self.comments.setdefault(thread, []).append(made)
        self.events.setdefault(thread, []).append("commented")
        return made

    def issue(self, values: Values, user: Mapping[str, Any] = BOT) -> dict[str, Any]:
        """Open an issue."""
        number = len(self.issues) + 1
        made = {**values, "number": number, "iid": number, "state": "open", "user": user}
        made |= {"author": user, "description": values["body"]}
        self.issues.append(made)
        self.events[number] = [f"opened: {made['title']}"]
        return made

    def change(self, issue: dict[str, Any], values: Values) -> None:
        """Change an issue, and note it if its page would show it."""
        events = self.events[issue["number"]]
        if values.get("title", issue["title"]) != issue["title"]:
            events.append(f"changed the title: {values['title']}")
        if values.get("state", issue["state"]) != issue["state"]:
            events.append(values["state"])
        issue |= {**values, "description": values.get("body", issue["body"])}

    def upload(self, run: int, name: str, files: Mapping[str, str], **origin: Any) -> None:
        """Keep an artifact of a run."""
        number = len(self.artifacts) + 1
        link = f"http://api.github.localhost/repos/{REPOSITORY}/actions/artifacts/{number}/zip"
        run_of = {"id": run, "repository_id": 1, "head_repository_id": 1, "head_branch": "main"}
        made = {"id": number, "name": name, "archive_download_url": link, "expired": False}
        self.artifacts.insert(0, {**made, "files": files, "workflow_run": run_of | origin})

    def job(self, name: str, files: Mapping[str, str], **changed: Any) -> None:
        """Keep a job of GitLab's that is over. Files that have expired are none."""
        made = {"id": len(self.jobs) + 1, "name": name, "ref": "main", "tag": False}
        archive = {"artifacts_file": {"filename": "artifacts.zip"}} if files else {}
        self.jobs.insert(0, {**made, "status": "success", "files": files, **archive, **changed})


def _pulls(forge: Forge, query: Values) -> Answer:
    found = [one for one in forge.pulls if one["state"] == query["state"]]
    return 200, [one for one in found if one["for"] == query["head"]]


def _run_artifacts(forge: Forge, _query: Values, run: str) -> Answer:
    found = [one for one in forge.artifacts if one["workflow_run"]["id"] == int(run)]
    return 200, {"total_count": len(found), "artifacts": found}


def _all_artifacts(forge: Forge, query: Values) -> Answer:
    found = [one for one in forge.artifacts if one["name"] == query["name"]]
    return 200, {"total_count": len(found), "artifacts": found}


def _archive(forge: Forge, _query: Values, number: str) -> Answer:
    (artifact,) = [one for one in forge.artifacts if one["id"] == int(number)]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in artifact["files"].items():
            archive.writestr(name, text)
    return 200, packed.getvalue()


def _comments(forge: Forge, _query: Values, thread: str) -> Answer:
    return 200, forge.comments.get(int(thread), [])


def _add_comment(forge: Forge, values: Values, thread: str) -> Answer:
    return 201, forge.comment(int(thread), values["body"])


def _edit_comment(forge: Forge, values: Values, *path: str) -> Answer:
    every = [one for thread in forge.comments.values() for one in thread]
    (comment,) = [one for one in every if one["id"] == int(path[-1])]
    comment |= {"body": values["body"]}
    return 200, comment


def _issues(forge: Forge, query: Values) -> Answer:
    state = {"open": "open", "opened": "open"}[query["state"]]
    found = [one for one in forge.issues if one["state"] == state]
    found = [one for one in found if query["labels"] in one["labels"]]
    author = query.get("author_id")
    return 200, [one for one in found if author is None or one["author"]["id"] == int(author)]


def _open_issue(forge: Forge, values: Values) -> Answer:
    return 201, forge.issue(values)


def _edit_issue(forge: Forge, values: Values, number: str) -> Answer:
    issue = forge.issues[int(number) - 1]
    forge.change(issue, values)
    return 200, issue


def _git_object(forge: Forge, values: Values, kind: str) -> Answer:
    sha = f"{len(forge.objects):040x}"
    forge.objects[sha] = {**values, "sha": sha, "kind": kind}
    return 201, forge.objects[sha]


def _new_ref(forge: Forge, values: Values) -> Answer:
    forge.refs[values["ref"]] = values["sha"]
    return 201, values


def _move_ref(forge: Forge, values: Values, name: str) -> Answer:
    if f"refs/{name}" not in forge.refs or values["force"] is not True:
        return 422, {"message": "Reference does not exist"}
    forge.refs[f"refs/{name}"] = values["sha"]
    return 200, values


def _jobs(forge: Forge, query: Values) -> Answer:
    return 200, [one for one in forge.jobs if one["status"] == query["scope"]]


def _job_file(forge: Forge, _query: Values, number: str, path: str) -> Answer:
    (job,) = [one for one in forge.jobs if one["id"] == int(number)]
    return (200, job["files"][path].encode()) if path in job["files"] else (404, {"message": path})


def _merge_request(forge: Forge, _query: Values, number: str) -> Answer:
    (pull,) = [one for one in forge.pulls if one["number"] == int(number)]
    return 200, {"iid": int(number), "sha": pull["head"]["sha"]}


def _publish(forge: Forge, values: Values, path: str) -> Answer:
    forge.packages[path] = values
    return 201, {"message": "201 Created"}


_GITHUB = f"/repos/{REPOSITORY}"
_GITLAB = "/api/v4/projects/1"
_ROUTES: Sequence[tuple[str, str, Callable[..., Answer]]] = (
    ("GET", f"{_GITHUB}/pulls", _pulls),
    ("GET", rf"{_GITHUB}/actions/runs/(\d+)/artifacts", _run_artifacts),
    ("GET", f"{_GITHUB}/actions/artifacts", _all_artifacts),
    ("GET", rf"{_GITHUB}/actions/artifacts/(\d+)/zip", _archive),
    ("GET", rf"{_GITHUB}/issues/(\d+)/comments", _comments),
    ("POST", rf"{_GITHUB}/issues/(\d+)/comments", _add_comment),
    ("PATCH", rf"{_GITHUB}/issues/comments/(\d+)", _edit_comment),
    ("GET", f"{_GITHUB}/issues", _issues),
    ("POST", f"{_GITHUB}/issues", _open_issue),
    ("PATCH", rf"{_GITHUB}/issues/(\d+)", _edit_issue),
    ("POST", f"{_GITHUB}/git/(trees|commits)", _git_object),
    ("POST", f"{_GITHUB}/git/refs", _new_ref),
    ("PATCH", f"{_GITHUB}/git/refs/(.+)", _move_ref),
    ("GET", "/api/v4/user", lambda _forge, _query: (200, BOT)),
    ("GET", f"{_GITLAB}/jobs", _jobs),
    ("GET", rf"{_GITLAB}/jobs/(\d+)/artifacts/(.+)", _job_file),
    ("PUT", rf"{_GITLAB}/packages/generic/(.+)", _publish),
    ("GET", rf"{_GITLAB}/merge_requests/(\d+)", _merge_request),
    ("GET", rf"{_GITLAB}/merge_requests/(\d+)/notes", _comments),
    ("POST", rf"{_GITLAB}/merge_requests/(\d+)/notes", _add_comment),
    ("PUT", rf"{_GITLAB}/merge_requests/(\d+)/notes/(\d+)", _edit_comment),
    ("GET", f"{_GITLAB}/issues", _issues),
    ("POST", f"{_GITLAB}/issues", _open_issue),
    ("PUT", rf"{_GITLAB}/issues/(\d+)", _edit_issue),
    ("POST", rf"{_GITLAB}/issues/(\d+)/notes", _add_comment),
)


def _answer(forge: Forge, method: str, path: str, values: dict[str, Any]) -> Answer:
    for text in map(str, values.values()):
        if len(text) > (MOST_GITLAB if path.startswith("/api/v4") else MOST_GITHUB):
            return 422, {"message": "Validation Failed: body is too long"}
    if len(values.get("title", "")) > 255:
        return 422, {"message": "Validation Failed: title is too long"}
    for verb, pattern, answer in _ROUTES:
        if verb == method and (match := re.fullmatch(pattern, path)):
            return answer(forge, _as_on_github(values), *match.groups())
    return 404, {"message": f"Not Found: {method} {path}"}


def _as_on_github(values: dict[str, Any]) -> dict[str, Any]:
    """Return what GitLab gets under GitHub's names."""
    values = dict(values)
    if "description" in values:
        values["body"] = values.pop("description")
    if values.pop("state_event", "") == "close":
        values["state"] = "closed"
    return values


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, forge: Forge, *given: Any) -> None:
        self.forge = forge
        super().__init__(*given)

    def _sent(self) -> bytes:
        if self.headers["Transfer-Encoding"] != "chunked":
            return self.rfile.read(int(self.headers["Content-Length"] or 0))
        # As gh sends what it reads from a pipe.
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _serve(self) -> None:
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query))
        sent = self._sent()
        if (self.headers["Content-Type"] or "").startswith("application/x-www-form-urlencoded"):
            values = dict(parse_qsl(sent.decode()))
        else:
            values = json.loads(sent) if sent else {}
        given = {self.headers["Authorization"], self.headers["PRIVATE-TOKEN"]}
        packages = url.path.startswith(f"{_GITLAB}/packages/")
        may = not packages and bool(given & {f"token {TOKEN}", f"Bearer {TOKEN}", TOKEN})
        if self.headers["JOB-TOKEN"] == JOB_TOKEN:
            may = packages or url.path.startswith(f"{_GITLAB}/jobs")
        status: int = 401
        content: Any = {"message": "no token"}
        if may:
            status, content = _answer(self.forge, self.command, url.path, {**query, **values})
        if status >= 400:
            self.forge.refused.append(f"{status}: {self.command} {url.path}: {content['message']}")
        page = int(query.get("page", 1))
        headers: dict[str, str] = {}
        if isinstance(content, list):
            size = self.forge.page_size
            more = len(content) > page * size
            content = content[(page - 1) * size : page * size]
            following = f"http://{url.netloc}{url.path}?{urlencode({**query, 'page': page + 1})}"
            headers = {"X-Next-Page": str(page + 1) if more else ""}
            headers |= {"Link": f'<{following}>; rel="next"'} if more else {}
        packed = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        kind = "application/zip" if isinstance(content, bytes) else "application/json"
        for name, value in {**headers, "Content-Type": kind}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(packed)))
        self.end_headers()
        self.wfile.write(packed)

    do_GET = do_POST = do_PATCH = do_PUT = _serve  # noqa: N815

    def log_message(self, *_given: Any) -> None:
        """Print nothing."""


@contextmanager
def served(forge: Forge) -> Iterator[Forge]:
    """Serve a forge on a free port of this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, forge)) as server:
        forge.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield forge
        finally:
            server.shutdown()
            thread.join()
