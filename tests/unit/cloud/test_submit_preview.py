import sys
import types
import zipfile
from pathlib import Path

import pytest

from raymle.cloud import submit as cloud
from raymle.cloud.submit import check_storage, pack, preview, submit
from raymle.errors import ResourceError, SetupError, SpecError, UsageError, WorkError

SECRET = (
    ".env", ".env.production", "keys/server.pem", "keys/tls.key", "id_rsa", "id_ed25519.pub", ".aws/credentials",
    ".ssh/config", ".netrc", ".pypirc", ".git/config", ".venv/bin/python", "runs/last/record.json", "mlflow.db",
    "mlruns/0/meta.yaml", "pkg/__pycache__/a.pyc", ".mypy_cache/x.json",
)  # fmt: skip


def write(folder: Path, *names: str, text: str = "x") -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_secrets_results_and_caches_are_never_sent(tmp_path):
    write(tmp_path, "run.py", "pkg/id_map.py", "pkg/runs/code.py", *SECRET)
    assert preview(tmp_path).files == ("pkg/id_map.py", "pkg/runs/code.py", "run.py")


def test_ignore_files_count_in_every_folder_and_a_later_line_can_take_back(tmp_path):
    write(
        tmp_path,
        "run.py",
        "a.csv",
        "keep.csv",
        "pkg/b.log",
        "pkg/deep/c.tmp",
        "other/c.tmp",
        "build/x",
        "buildx/y",
    )
    (tmp_path / ".gitignore").write_text("# data\n*.csv\n!keep.csv\n/build/\n")
    (tmp_path / ".rayignore").write_text("*.log\n")
    (tmp_path / "pkg" / ".gitignore").write_text("*.tmp\n")
    sent = [name for name in preview(tmp_path).files if "ignore" not in name]
    assert sent == ["buildx/y", "keep.csv", "other/c.tmp", "run.py"]


def test_an_ignore_file_cannot_bring_a_secret_back(tmp_path):
    write(tmp_path, "run.py", ".env")
    (tmp_path / ".gitignore").write_text("!.env\n")
    assert ".env" not in preview(tmp_path).files


def test_links_out_of_the_folder_and_huge_files_are_named_and_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(cloud, "LARGEST_FILE", 10)
    job = tmp_path / "job"
    write(job, "run.py", "big.bin", text="0123456789")
    write(job, "big.bin", text="0123456789a")
    write(tmp_path, "elsewhere.txt", "outside/secret.txt")
    (job / "link.txt").symlink_to(tmp_path / "elsewhere.txt")
    (job / "folder").symlink_to(tmp_path / "outside")
    (job / "broken").symlink_to(tmp_path / "nothing")
    upload = preview(job)
    assert upload.files == ("run.py",)
    assert upload.left_out == ("big.bin", "link.txt")
    assert upload.bytes == 10


def test_a_package_holds_the_preview_and_nothing_else_and_does_not_depend_on_times(tmp_path):
    job = tmp_path / "job"
    write(job, "run.py", "pkg/a.py", ".env")
    pack(preview(job), tmp_path / "1.zip")
    write(job, "run.py")
    pack(preview(job), tmp_path / "2.zip")
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()
    assert zipfile.ZipFile(tmp_path / "1.zip").namelist() == list(preview(job).files)


def test_an_upload_that_no_cluster_takes_is_refused_with_the_arithmetic(tmp_path, monkeypatch):
    write(tmp_path, "run.py", text="x" * 100)
    monkeypatch.setattr(cloud, "LARGEST_UPLOAD", 10)
    with pytest.raises(ResourceError, match="a cluster takes"):
        pack(preview(tmp_path), tmp_path / "a.zip")


@pytest.mark.parametrize("address", ["127.0.0.1:8265", "ray://head:10001", "auto", "file:///etc/passwd"])
def test_an_address_that_is_no_dashboard_is_refused(address):
    with pytest.raises(UsageError, match="not a dashboard's address"):
        cloud.connect(address)


def test_no_folder_no_files_and_no_command_are_refused(tmp_path):
    with pytest.raises(UsageError, match="not a folder"):
        preview(tmp_path / "nothing")
    with pytest.raises(UsageError, match="nothing to send"):
        pack(preview(tmp_path), tmp_path / "a.zip")
    with pytest.raises(UsageError, match="no command"):
        submit("http://127.0.0.1:1", [], tmp_path)


class FakeCluster:
    """The Jobs API as raymle uses it, for one job."""

    def __init__(self, status: str = "SUCCEEDED") -> None:
        self.jobs: dict[str, str] = {}
        self.status = status

    def __call__(self, address: str) -> "FakeCluster":
        return self

    def submit_job(self, *, entrypoint: str, submission_id: str, runtime_env: dict[str, str]) -> None:
        assert Path(runtime_env["working_dir"]).suffix == ".zip"
        if submission_id in self.jobs:
            raise RuntimeError("500: already exists")
        self.jobs[submission_id] = entrypoint

    def get_job_info(self, name: str):
        if name not in self.jobs:
            raise RuntimeError("Request failed with status code 404")
        return types.SimpleNamespace(message="Traceback\nValueError: no such file")

    def get_job_status(self, name: str):
        return types.SimpleNamespace(value=self.status)

    async def tail_job_logs(self, name: str):
        yield "one\n"
        yield "two\n"


@pytest.fixture
def cluster(monkeypatch):
    fake = FakeCluster()
    monkeypatch.setitem(sys.modules, "ray.job_submission", types.SimpleNamespace(JobSubmissionClient=fake))
    return fake


def test_a_followed_job_shows_its_output_and_its_end(tmp_path, cluster):
    write(tmp_path, "run.py")
    shown: list[str] = []
    job = submit("http://head:8265", ["python", "run.py", "a b"], tmp_path, follow=shown.append)
    assert shown == ["one\n", "two\n"]
    assert job.status == "SUCCEEDED"
    assert list(cluster.jobs.values()) == ["python run.py 'a b'"]


def test_the_same_key_is_the_same_job_and_no_key_is_another(tmp_path, cluster):
    write(tmp_path, "run.py")
    submitted = [submit("http://head:8265", ["true"], tmp_path, key=key) for key in ("k", "k", None, None)]
    assert [job.reused for job in submitted] == [False, True, False, False]
    assert len({job.id for job in submitted}) == 3


def test_losing_the_race_for_a_key_is_not_an_error(tmp_path, cluster, monkeypatch):
    write(tmp_path, "run.py")
    first = submit("http://head:8265", ["true"], tmp_path, key="k")
    looks = iter([False, True])
    monkeypatch.setattr(cloud, "_exists", lambda client, name: next(looks))
    assert submit("http://head:8265", ["true"], tmp_path, key="k") == first.model_copy(update={"reused": True})


def test_a_failed_job_that_was_followed_is_an_error_with_its_last_line(tmp_path, cluster):
    write(tmp_path, "run.py")
    cluster.status = "FAILED"
    with pytest.raises(WorkError, match="failed: ValueError: no such file"):
        submit("http://head:8265", ["true"], tmp_path, follow=lambda text: None)


def test_no_cluster_is_one_sentence(monkeypatch):
    def nobody(address: str) -> None:
        raise ConnectionError("Failed to connect to Ray at address: http://head:8265.")

    monkeypatch.setitem(sys.modules, "ray.job_submission", types.SimpleNamespace(JobSubmissionClient=nobody))
    with pytest.raises(SetupError, match="no Jobs API answers at http://head:8265"):
        cloud.connect("http://head:8265")


INSIDE = "/tmp/ray/session_1/runtime_resources/working_dir_files/_ray_pkg_0123456789abcdef/jobs/runs"


def test_a_relative_storage_is_refused_inside_a_job_only():
    with pytest.raises(SpecError, match="'runs' is relative"):
        check_storage(INSIDE, in_job=True)
    check_storage(INSIDE, in_job=False)
    check_storage("/mnt/shared/runs", in_job=True)
    check_storage("s3://bucket/_ray_pkg_1/runs", in_job=True)


def test_a_ray_job_is_known_by_what_ray_hands_it(monkeypatch):
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    assert not cloud.in_job()
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", '{"metadata": {}}')
    assert cloud.in_job()


def test_a_head_that_goes_while_its_job_is_followed_is_one_sentence(tmp_path, cluster, monkeypatch):
    def gone(name: str) -> None:
        raise ConnectionResetError("Connection reset by peer")

    write(tmp_path, "run.py")
    monkeypatch.setattr(cluster, "get_job_status", gone)
    with pytest.raises(SetupError, match="went away"):
        submit("http://head:8265", ["true"], tmp_path, follow=lambda text: None)
