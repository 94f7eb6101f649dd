"""What the schema of Kubernetes's API does not say about the CronJob; `make test-deploy` checks the rest."""

import re

from tests.deploy import schedules


def test_a_policy_for_failed_pods_asks_for_pods_that_are_not_restarted() -> None:
    job = schedules.cron_job()["spec"]["jobTemplate"]["spec"]
    assert job["podFailurePolicy"]["rules"]
    assert schedules.pod()["restartPolicy"] == "Never"


def test_two_runs_never_overlap_and_one_ends_at_some_time() -> None:
    spec = schedules.cron_job()["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    job = spec["jobTemplate"]["spec"]
    assert 0 < job["activeDeadlineSeconds"] < 24 * 3600
    assert schedules.pod()["terminationGracePeriodSeconds"] < job["activeDeadlineSeconds"]


def test_what_is_mounted_is_there_and_the_claims_are_made_or_the_users() -> None:
    volumes = {volume["name"]: volume for volume in schedules.pod()["volumes"]}
    for container in schedules.containers():
        mounted = {mount["name"]: mount for mount in container["volumeMounts"]}
        assert mounted.keys() == volumes.keys(), container["name"]
        assert mounted["data"]["readOnly"]
        assert {mounted[name]["mountPath"] for name in ("store", "keras")} == {"/store", "/keras"}


def test_it_runs_as_the_user_of_the_image_and_may_do_nothing_else() -> None:
    dockerfile = (schedules.DEPLOY / "docker" / "Dockerfile").read_text()
    (user, group) = re.findall(r"^USER (\d+):(\d+)$", dockerfile, re.MULTILINE)[-1]
    context = schedules.pod()["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"]) == (int(user), int(group))
    assert context["runAsNonRoot"] and context["fsGroup"] == int(group)
    for container in schedules.containers():
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"]
        assert security["capabilities"] == {"drop": ["ALL"]}


def test_the_image_has_the_folders_that_the_job_mounts_and_all_that_the_package_is_built_from() -> None:
    dockerfile = (schedules.DEPLOY / "docker" / "Dockerfile").read_text()
    assert re.search(r'^VOLUME \["/store", "/keras"\]$', dockerfile, re.MULTILINE)
    copied = {
        name
        for line in re.findall(r"^COPY (?!--)(.+) \S+$", dockerfile, re.MULTILINE)
        for name in line.split()
    }
    ignored = (schedules.DEPLOY / "docker" / "Dockerfile.dockerignore").read_text()
    assert copied == set(re.findall(r"^!(.+)$", ignored, re.MULTILINE))
    assert all((schedules.ROOT / name).exists() for name in copied)
    assert {"features", "heads", "pipelines", "pyproject.toml", "setup.py", "requirements.lock"} <= copied
