"""Archives in a repository that several hosts and labs share, with the real restic."""

from __future__ import annotations

import os
import shlex
import subprocess
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from endolab_backup import restic
from endolab_backup.repository import Repository, moment
from endolab_backup.settings import Fault, Settings

from tests.unit.backup.conftest import once
from tests.unit.backup.test_trees import write

DAY = datetime(2026, 11, 1, 2, 30, tzinfo=timezone.utc)


def archive(settings: Settings, at: datetime, whole: bool = True) -> str:
    """Archives the studies; returns the archive's id."""
    opened = Repository(settings)
    summary = opened.backup([Path(settings.trees[0]["directory"])], at, None, lambda share, what: None)
    return opened.accept(summary["snapshot_id"]).id if whole else str(summary["snapshot_id"])


@pytest.fixture
def shared(host: Settings, home: Path) -> Settings:
    """The repository is there, with one archive of three days ago."""

    def make() -> None:
        write(Path(host.trees[0]["directory"]), {"a.png": "frame"})
        Repository(host).make(known=False)
        archive(host, DAY)

    once(home, "shared", make)
    return host


def test_labs_with_hosts_of_one_name_do_not_see_each_other(shared: Settings) -> None:
    other = replace(shared, lab="other lab", keep={"daily": 1, "weekly": 0, "monthly": 0})
    with pytest.raises(Fault, match=r"no archive of other lab's gpu1\. It has some of lab; backup_lab names the lab"):
        Repository(other).find("latest")
    archive(other, DAY + timedelta(days=1))
    archive(other, DAY + timedelta(days=9))
    Repository(other).forget()
    assert [each.at for each in Repository(other).archives()] == [DAY + timedelta(days=9)]
    assert [each.at for each in Repository(shared).archives()] == [DAY]


def test_an_archive_is_named_by_its_id_or_a_time(shared: Settings) -> None:
    later = archive(shared, DAY + timedelta(days=1))
    known = Repository(shared)
    first = known.archives()[0]
    assert first.at == DAY
    assert known.find("latest").id == known.find(later).id == known.find(later[:8]).id == later
    assert known.find("2026-11-01T02:30:00") == known.find("2026-11-02 02:29") == first
    assert known.find("2026-11-02T03:30:00+01:00").id == later
    with pytest.raises(Fault, match=r"the first archive of gpu1 in .* is of 2026-11-01T02:30:00, UTC"):
        known.find("2026-10-01T00:00")
    with pytest.raises(
        Fault, match="has no archive 01234567 of gpu1; where a lab has several hosts, name a time instead"
    ):
        known.find("01234567")
    with pytest.raises(Fault, match="is no time"):
        known.find("2026-13-01T00:00")


def test_an_archive_that_was_not_looked_at_afterwards_counts_for_nothing(shared: Settings) -> None:
    """Whoever makes it was killed; the next one that is whole removes it."""
    killed = archive(shared, DAY + timedelta(days=1), whole=False)
    assert [each.at for each in Repository(shared).archives()] == [DAY]
    Repository(replace(shared, keep={"daily": 1, "weekly": 0, "monthly": 0})).forget()
    assert Repository(shared).find("latest").at == DAY, "it pushes nothing out"
    archive(shared, DAY + timedelta(days=2))
    assert killed not in Repository(shared)._ask("snapshots", "--json")
    assert [each.at.day for each in Repository(shared).archives()] == [1, 3]


def test_all_of_the_last_days_stay(shared: Settings) -> None:
    """An archive that is made before another of the same day is brought back does not push that one out."""
    archive(shared, DAY + timedelta(hours=1))
    Repository(replace(shared, keep={"daily": 1, "weekly": 0, "monthly": 0})).forget()
    assert len(Repository(shared).archives()) == 2


def test_times_are_compared_as_times() -> None:
    times = ["2026-10-25T02:30:00.123456789+02:00", "2026-10-25T02:30:00.1+01:00", "2026-10-25T01:45:00Z"]
    assert sorted(times, key=moment) == times
    assert moment("2026-10-25T02:30") == datetime(2026, 10, 25, 2, 30, tzinfo=timezone.utc)


def test_a_new_repository_is_not_begun_where_an_old_one_is_missing(shared: Settings) -> None:
    """The disk that it is on is not mounted."""
    where = Path(shared.repository)
    assert not Repository(shared).make(known=True)
    where.rename(where.with_name("elsewhere"))
    with pytest.raises(Fault, match=r"there was a repository .* and there is none now"):
        Repository(shared).make(known=False)
    Repository(shared).marker.unlink()
    with pytest.raises(Fault, match="there is no repository"):
        Repository(shared).make(known=True)
    assert Repository(shared).make(known=False)


def test_what_is_known_of_a_repository_is_known_of_that_one(shared: Settings) -> None:
    other = replace(shared, repository=f"{shared.repository}-2")
    assert Repository(shared).marker.exists()
    assert not Repository(other).marker.exists()
    assert Repository(other).make(known=False)


def test_a_repository_that_cannot_be_opened_is_not_taken_for_none(shared: Settings) -> None:
    config = Path(shared.repository) / "config"
    config.rename(config.with_name("other"))
    config.symlink_to(config)
    with pytest.raises(Fault, match=r"restic cannot work with .*too many levels of symbolic links"):
        Repository(shared).make(known=False)


def locked(settings: Settings) -> subprocess.Popen[bytes]:
    """Another host that makes an archive until its input ends."""
    process = subprocess.Popen(
        ["restic", "backup", "--quiet", "--stdin"], env=restic.environment(settings), stdin=subprocess.PIPE
    )
    while not list((Path(settings.repository) / "locks").iterdir()):
        assert process.poll() is None
    return process


def test_it_waits_while_another_host_makes_an_archive(
    shared: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = locked(shared)
    assert other.stdin is not None
    end = other.stdin.close
    monkeypatch.setattr("endolab_backup.restic.time.sleep", lambda seconds: (end(), other.wait()))
    Repository(shared).forget()
    assert f"(process {other.pid}); waiting for that to end" in capsys.readouterr().err


def test_it_does_not_wait_for_ever(shared: Settings) -> None:
    other = locked(shared)
    with pytest.raises(Fault, match=rf"has been in use by \S+ \(process {other.pid}\) for 0 minutes"):
        Repository(shared, patience=0.3).check(1, 31)
    other.communicate()


def test_files_that_could_not_be_read_are_named(shared: Settings) -> None:
    with pytest.raises(Fault, match=r"/proc/self/mem could not be read, so that the archive would not be whole"):
        Repository(shared).backup([Path("/proc/self/mem")], DAY, None, lambda share, what: None)
    assert [each.at for each in Repository(shared).archives()] == [DAY]


@pytest.mark.parametrize(
    ("errors", "words", "unread"),
    [
        ('{"message_type":"error","error":{"message":"open /x: io"},"during":"archival","item":"/x"}\nWarning: some\n',
         "Warning: some", ["/x"]),
        ('{"message_type":"exit_error","code":1,"message":"Fatal: disk is full\\nat all"}', "Fatal: disk is full", []),
        ("Fatal: unable to open config file: connection refused\nIs there a repository at the following location?\n/x",
         "Fatal: unable to open config file: connection refused", []),
        ("", "it said nothing", []),
    ],
)  # fmt: skip
def test_what_restic_says_of_old_and_of_new_is_understood(errors: str, words: str, unread: list[str]) -> None:
    assert restic.understood(errors) == (words, unread)


def test_many_errors_do_not_stop_it(host: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a pipe holds, before anything is answered."""
    program = tmp_path / "bin/restic"
    write(tmp_path, {"bin/restic": "#!/bin/sh\nhead -c 200000 /dev/zero | tr '\\0' x >&2\necho answer\n"})
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    heard: list[str] = []
    restic.Restic(host).ask("backup", heard=heard.append)
    assert heard == ["answer\n"]


def test_times_of_archives_are_utc(shared: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    archive(shared, DAY + timedelta(days=1))
    assert Repository(shared).archives()[-1].at == DAY + timedelta(days=1)


@pytest.mark.parametrize(
    ("repository", "destination"),
    [
        ("sftp:backup@nas.example.org:/endolab", "backup@nas.example.org"),
        ("sftp:nas:endolab", "nas"),
        ("sftp://backup@nas:2222//endolab", "ssh://backup@nas:2222"),
        ("sftp://backup@[2001:db8::1]:2222/endolab", "ssh://backup@[2001:db8::1]:2222"),
    ],
)
def test_another_host_is_reached_with_the_labs_key_or_roots_own(
    host: Settings, repository: str, destination: str
) -> None:
    settings = replace(host, repository=repository)
    roots = restic.ssh(settings)
    assert roots[-3:] == [destination, "-s", "sftp"]
    assert restic.command(settings) == ["restic", "-o", f"sftp.command={shlex.join(roots)}"]
    restic.KEY.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n", encoding="utf-8")
    labs = restic.ssh(settings)
    assert set(labs) - set(roots) == {
        f"IdentityFile={restic.KEY}",
        "IdentitiesOnly=yes",
        f"UserKnownHostsFile={restic.KNOWN_HOSTS}",
        "StrictHostKeyChecking=yes",
    }
    assert restic.command(host) == ["restic"], "a directory is reached without"


def test_why_a_host_lets_nobody_in_is_said(host: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ssh = tmp_path / "bin/ssh"
    ssh.parent.mkdir()
    ssh.write_text("#!/bin/sh\necho 'backup@nas: Permission denied (publickey).' >&2\nexit 255\n", encoding="utf-8")
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", str(ssh.parent), prepend=os.pathsep)
    with pytest.raises(Fault, match=r"cannot be reached: backup@nas: Permission denied \(publickey\)\. See that"):
        Repository(replace(host, repository="sftp:backup@nas:/endolab")).make(known=False)
