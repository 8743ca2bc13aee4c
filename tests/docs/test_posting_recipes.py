"""The recipes that post: real gh and curl, and a local server in place of GitHub and GitLab."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.recipe_jobs import gitlab_script, job_steps, needs, run, step, written
from tests.support.fake_forge import STRANGER, Forge, served
from tests.support.sample_nights import RUNS, night

MARK = "<!-- pytest-tvmtune -->"
PULL = 7
SHA = "5" * 40
Post = Callable[[Path, Forge, str], str]


@pytest.fixture
def forge() -> Iterator[Forge]:
    with served(Forge()) as one:
        one.pulls = [
            {"number": 5, "state": "open", "for": "fork:main", "head": {"sha": "4" * 40}},
            {"number": PULL, "state": "open", "for": "fork:main", "head": {"sha": SHA}},
        ]
        yield one


def comment_on_github(folder: Path, forge: Forge, report: str, **changed: str) -> str:
    """Run the job that comments, after a run that wrote this report."""
    folder.mkdir()
    number = 90 + len(forge.artifacts)
    if report:
        forge.upload(number, "tvmtune-reports", {"tvmtune.md": report})
    environment = {
        "RUN": str(number),
        "RUN_URL": f"https://run/{number}",
        "HEAD": "fork:main",
        "HEAD_SHA": SHA,
        **changed,
    }
    script = step("github-comment.yml", "comment", "Update the comment")
    return run(folder, forge, script, **environment)


def comment_on_gitlab(folder: Path, forge: Forge, report: str) -> str:
    folder.mkdir()
    if report:
        (folder / "tvmtune.md").write_text(report)
    environment = {
        "CI_MERGE_REQUEST_IID": str(PULL),
        "CI_COMMIT_SHA": SHA,
        "CI_PIPELINE_URL": f"https://run/{folder.name}",
    }
    script = gitlab_script("gitlab-comment.yml", "tvmtune-comment")
    return run(folder, forge, script, **environment)


def issues_on_github(folder: Path, forge: Forge, name: str) -> str:
    written(folder, night(name), issues="issues.json")
    script = step("github-nightly.yml", "publish", "Update the issues")
    return run(folder, forge, script, RUN_URL=f"https://run/{name}")


def issues_on_gitlab(folder: Path, forge: Forge, name: str) -> str:
    written(folder, night(name), issues="issues.json")
    script = gitlab_script("gitlab-nightly.yml", "tvmtune-issues")
    return run(folder, forge, script, CI_PIPELINE_URL=f"https://run/{name}")


COMMENTING = [
    pytest.param(comment_on_github, id="github", marks=needs("gh")),
    pytest.param(comment_on_gitlab, id="gitlab", marks=needs("curl", "jq")),
]
KEEPING_ISSUES = [
    pytest.param(issues_on_github, id="github", marks=needs("gh", "jq")),
    pytest.param(issues_on_gitlab, id="gitlab", marks=needs("curl", "jq")),
]


@pytest.mark.parametrize("post", COMMENTING)
def test_one_comment_shows_the_last_of_five_runs(post: Post, tmp_path: Path, forge: Forge) -> None:
    # More than a page of others, one of which has the mark.
    for text in ("hello", f"{MARK} of a stranger", "more"):
        forge.comment(PULL, text, STRANGER)
    others = [dict(one) for one in forge.comments[PULL]]
    for name in RUNS:
        report = written(tmp_path / "reports", night(name), markdown="tvmtune.md")["tvmtune.md"]
        post(tmp_path / name, forge, report)
        theirs = [one for one in forge.comments[PULL] if one["user"] == STRANGER]
        (ours,) = [one for one in forge.comments[PULL] if one["user"] != STRANGER]
        assert theirs == others
        assert ours["body"].startswith(f"{MARK}\n{report.rstrip()}")
        assert SHA in ours["body"]
        assert "(https://run/" in ours["body"]
        others.append(dict(forge.comment(PULL, f"after {name}", STRANGER)))
    assert forge.refused == []


@pytest.mark.parametrize("post", COMMENTING)
def test_a_comment_without_a_report_says_so(post: Post, tmp_path: Path, forge: Forge) -> None:
    post(tmp_path / "first", forge, "fine")
    post(tmp_path / "second", forge, "")
    (comment,) = forge.comments[PULL]
    assert "### tvmtune: the job wrote no report" in comment["body"]
    assert "fine" not in comment["body"]


@needs("gh")
def test_a_pull_request_that_moved_on_gets_no_comment(tmp_path: Path, forge: Forge) -> None:
    printed = comment_on_github(tmp_path / "run", forge, "fine", HEAD_SHA="6" * 40)
    assert "no open pull request is at this commit" in printed
    forge.pulls[1]["state"] = "closed"
    comment_on_github(tmp_path / "later", forge, "fine")
    assert forge.comments == {}


@needs("gh")
def test_what_a_fork_sends_is_cut_and_never_run(tmp_path: Path, forge: Forge) -> None:
    hostile = "$(touch hacked) `touch hacked`\n" * 10_000
    comment_on_github(tmp_path / "run", forge, hostile)
    (comment,) = forge.comments[PULL]
    assert comment["body"].startswith(f"{MARK}\n$(touch hacked)")
    assert len(comment["body"]) > 65_000
    assert not list(tmp_path.rglob("hacked"))
    assert forge.refused == []


@pytest.mark.parametrize("post", KEEPING_ISSUES)
def test_one_issue_for_each_regression(post: Post, tmp_path: Path, forge: Forge) -> None:
    key = json.loads(written(tmp_path / "k", night("new"), issues="i.json")["i.json"])[0]["key"]
    mark = f"<!-- pytest-tvmtune: {key} -->"
    # More than a page of others, one of which has the mark.
    for text in ("hello", f"{mark} of a stranger", "more"):
        forge.issue({"title": "other", "body": text, "labels": ["tvmtune"]}, STRANGER)
    others = json.dumps(forge.issues)
    for name in RUNS:
        post(tmp_path / name, forge, name)
        ours: list[dict[str, Any]] = forge.issues[3:]
        assert json.dumps(forge.issues[:3]) == others
        assert len(ours) == 1
        assert ours[0]["state"] == ("closed" if name == "gone" else "open")
        assert ours[0]["description" if post is issues_on_gitlab else "body"].startswith(mark)
    assert forge.events[4] == [
        "opened: cnn[llvm-prepack]: REGRESSION, 1.19x slower",
        "changed the title: cnn[llvm-prepack]: REGRESSION, 1.43x slower",
        "changed the title: cnn[llvm-prepack]: REGRESSION, 1.42x slower",
        "changed the title: cnn[llvm-prepack]: REGRESSION, 1.09x slower",
        "commented",
        "closed",
    ]
    (comment,) = forge.comments[4]
    assert "This case passed again." in comment["body"]
    assert "(https://run/gone)" in comment["body"]
    # It comes back: that's another regression.
    post(tmp_path / "again", forge, "new")
    assert [one["state"] for one in forge.issues[3:]] == ["closed", "open"]
    assert forge.refused == []


@needs("gh", "jq")
def test_the_badge_is_alone_on_its_branch(tmp_path: Path, forge: Forge) -> None:
    script = step("github-nightly.yml", "publish", "Update the badge")
    for name, message in (("new", "1 of 3 cases failed"), ("gone", "3 cases passed")):
        written(tmp_path / name, night(name), badge="badge.json")
        run(tmp_path / name, forge, script, GITHUB_SHA=SHA)
        assert list(forge.refs) == ["refs/heads/tvmtune-badge"]
        commit = forge.objects[forge.refs["refs/heads/tvmtune-badge"]]
        assert "parents" not in commit
        (file,) = forge.objects[commit["tree"]]["tree"]
        assert file["path"] == "badge.json"
        assert json.loads(file["content"])["message"] == message


@needs("gh")
def test_baselines_come_only_from_nights_of_main(tmp_path: Path, forge: Forge) -> None:
    script = step("github-nightly.yml", "gate", "Download the baselines")
    artifact = "tvmtune-nightly-baselines"

    def downloaded(name: str) -> str:
        folder = tmp_path / name
        folder.mkdir()
        run(folder, forge, script)
        path = folder / "baselines.zip"
        return path.read_text() if path.exists() else ""

    assert downloaded("first") == ""
    forge.upload(1, artifact, {"baselines.zip": "main"})
    forge.upload(2, artifact, {"baselines.zip": "branch"}, head_branch="branch")
    forge.upload(3, artifact, {"baselines.zip": "fork's main"}, head_repository_id=2)
    forge.upload(4, artifact, {"baselines.zip": "deleted"})
    forge.artifacts[0]["expired"] = True
    assert downloaded("second") == "main"
    forge.upload(5, artifact, {"baselines.zip": "main, later"})
    assert downloaded("third") == "main, later"


def test_baselines_that_could_not_be_restored_are_never_replaced() -> None:
    steps = job_steps("github-nightly.yml", "gate")
    assert steps["Export the baselines"]["if"].endswith(" && steps.restore.outcome == 'success'")
    assert steps["Keep the baselines"]["if"].endswith(" && steps.export.outcome == 'success'")
    assert steps["Restore the baselines"]["id"] == "restore"
    assert steps["Export the baselines"]["id"] == "export"
