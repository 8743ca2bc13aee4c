"""The recipes that post: real gh and curl, and a local server in place of GitHub and GitLab."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.recipe_jobs import RECIPES, gitlab_script, job_steps, needs, run, step, written
from tests.support.fake_forge import JOB_TOKEN, STRANGER, TOKEN, Forge, served
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
        "CONCLUSION": "success" if report else "cancelled",
        **changed,
    }
    script = step("github-comment.yml", "comment", "Update the comment")
    return run(folder, forge, script, **environment)


def comment_on_gitlab(folder: Path, forge: Forge, report: str, **changed: str) -> str:
    folder.mkdir()
    if report:
        (folder / "tvmtune.md").write_text(report)
    environment = {
        "CI_MERGE_REQUEST_IID": str(PULL),
        "CI_COMMIT_SHA": SHA,
        "CI_PIPELINE_URL": f"https://run/{folder.name}",
        **changed,
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


def test_a_job_that_timed_out_replaces_the_comment() -> None:
    (job,) = yaml.safe_load((RECIPES / "github-comment.yml").read_text())["jobs"].values()
    # GitHub calls it cancelled.
    assert "conclusion" not in job["if"]


@needs("gh")
def test_the_comment_says_how_the_run_ended(tmp_path: Path, forge: Forge) -> None:
    comment_on_github(tmp_path / "first", forge, "")
    (comment,) = forge.comments[PULL]
    assert comment["body"].endswith("by [this run](https://run/90): cancelled.\n")


@needs("curl", "jq")
def test_an_older_pipeline_keeps_the_comment_of_a_later_one(tmp_path: Path, forge: Forge) -> None:
    comment_on_gitlab(tmp_path / "later", forge, "later")
    before = json.dumps(forge.comments)
    old = "6" * 40
    printed = comment_on_gitlab(tmp_path / "old", forge, "old", CI_COMMIT_SHA=old)
    assert f"the merge request is at {SHA}, so a report of {old} is no news" in printed
    assert json.dumps(forge.comments) == before
    # A pipeline of merged results has a commit of its own.
    merged = {"CI_COMMIT_SHA": old, "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": SHA}
    comment_on_gitlab(tmp_path / "merged", forge, "merged", **merged)
    (comment,) = forge.comments[PULL]
    assert "merged" in comment["body"]
    assert f"Of {SHA}" in comment["body"]


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


@needs("curl")
def test_the_badge_is_a_package_on_gitlab(tmp_path: Path, forge: Forge) -> None:
    script = gitlab_script("gitlab-nightly.yml", "tvmtune-badge")
    recipe = (RECIPES / "gitlab-nightly.yml").read_text()
    for name, message in (("new", "1 of 3 cases failed"), ("gone", "3 cases passed")):
        written(tmp_path / name, night(name), badge="badge.json")
        run(tmp_path / name, forge, script)
        ((path, badge),) = forge.packages.items()
        assert f"/projects/ID/packages/generic/{path}" in recipe
        assert badge["message"] == message
    assert forge.refused == []


@needs("gh", "curl", "jq")
def test_the_badge_of_a_night_without_a_report_is_gray(tmp_path: Path, forge: Forge) -> None:
    steps = job_steps("github-nightly.yml", "publish")
    assert steps["Update the badge"]["if"] == "always()"
    run(tmp_path, forge, steps["Update the badge"]["run"], GITHUB_SHA=SHA)
    (tree,) = [one["tree"] for one in forge.objects.values() if one["kind"] == "trees"]
    (tmp_path / "badge.json").unlink()
    run(tmp_path, forge, gitlab_script("gitlab-nightly.yml", "tvmtune-badge"))
    (badge,) = forge.packages.values()
    shown = {"schemaVersion": 1, "label": "tvmtune", "message": "no report", "color": "lightgrey"}
    assert json.loads(tree[0]["content"]) == badge == shown


def test_no_job_of_gitlab_takes_what_an_earlier_pipeline_left(tmp_path: Path, forge: Forge) -> None:
    jobs: dict[str, Any] = {}
    for path in RECIPES.glob("gitlab-*.yml"):
        jobs |= yaml.safe_load(path.read_text())
    names = {"junit.xml"}
    for job in jobs.values():
        if "artifacts" in job:
            names |= {*job["artifacts"]["paths"]}
        elif "needs" in job:
            assert job["variables"]["GIT_STRATEGY"] == "empty"
    assert len(names) == 7
    for name in names:
        (tmp_path / name).touch()
    run(tmp_path, forge, jobs[".tvmtune"]["before_script"][0])
    assert list(tmp_path.iterdir()) == []


@needs("curl")
def test_baselines_come_from_gitlabs_last_job_that_succeeded(tmp_path: Path, forge: Forge) -> None:
    commands = yaml.safe_load((RECIPES / "gitlab-ci.yml").read_text())[".tvmtune"]["before_script"]
    (script,) = [one for one in commands if "scope=success" in one]
    job = "tvmtune-accept"

    def downloaded(name: str, **changed: str) -> str:
        folder = tmp_path / name
        folder.mkdir()
        given = {"TVMTUNE_BASELINES": job, "TVMTUNE_AUTH": f"JOB-TOKEN: {JOB_TOKEN}", **changed}
        printed = run(folder, forge, script, **given)
        path = folder / "baselines.zip"
        return path.read_text() if path.exists() else printed

    assert "no baselines" in downloaded("none")
    forge.job(job, {"baselines.zip": "main"})
    forge.job("tvmtune-night-accept", {"baselines.zip": "night"})
    # More than a page of others: GitLab's pipelines of main needn't have this job.
    for _ in range(3):
        forge.job("tvmtune-night", {"badge.json": "{}"})
    forge.job(job, {"baselines.zip": "failed"}, status="failed")
    forge.job(job, {"baselines.zip": "branch"}, ref="branch")
    forge.job(job, {"baselines.zip": "tag"}, tag=True)
    forge.job(job, {})
    assert downloaded("first") == "main"
    assert downloaded("night", TVMTUNE_BASELINES="tvmtune-night-accept") == "night"
    assert downloaded("free", TVMTUNE_AUTH=f"PRIVATE-TOKEN: {TOKEN}") == "main"
    forge.job(job, {"baselines.zip": "main, later"})
    assert downloaded("second") == "main, later"
    assert forge.refused == []
    refused = "can't read the baselines of main: check TVMTUNE_AUTH"
    with pytest.raises(AssertionError, match=refused):
        downloaded("refused", TVMTUNE_AUTH="JOB-TOKEN: another")
    # A job that should have them: nothing is accepted in their place.
    forge.job(job, {"tvmtune.json": "{}"})
    with pytest.raises(AssertionError, match=refused):
        downloaded("broken")


@needs("gh")
@pytest.mark.parametrize(
    ("recipe", "name", "artifact"),
    [
        ("github-nightly.yml", "Download the baselines", "tvmtune-nightly-baselines"),
        ("github-actions.yml", "Download the main branch's baselines", "tvmtune-baselines"),
    ],
)
def test_baselines_come_only_from_runs_of_main(
    recipe: str, name: str, artifact: str, tmp_path: Path, forge: Forge
) -> None:
    script = step(recipe, "gate", name)

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
