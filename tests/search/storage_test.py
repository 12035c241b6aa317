"""Studies that machines without a shared disk work on: storages and heartbeats."""

import json
import re
import subprocess
import sys
import threading
import time

import optuna
import pytest
from da_jax.configs import digits
from optuna.trial import TrialState

from da_jax.errors import UserError
from da_jax.search import space as spaces
from da_jax.search.liveness import BEATS, Heartbeats
from da_jax.search.storage import create_storage, storage_errors
from da_jax.search.trials import Trials, TrialTakenError
from tests.command_runs import REPOSITORY
from tests.search import postgresql
from tests.search.sweep_test import SPACE, sweep

FOREVER = 3600.0


@pytest.fixture(scope="module")
def server():
    if postgresql.binaries() is None:
        pytest.skip("there is no PostgreSQL server")
    pytest.importorskip("psycopg")
    with postgresql.server() as address:
        yield address


@pytest.fixture(params=["postgresql", "sqlite", "journal"])
def url(request, tmp_path):
    if request.param == "postgresql":
        return f"postgresql://{request.getfixturevalue('server')}"
    return f"{request.param}://{'/' * (request.param == 'sqlite')}{tmp_path / 'file'}"


@pytest.fixture
def join(url, tmp_path_factory, request):
    """A function that joins the study as a process on a machine of its own would."""
    joined = []

    def join(grace=FOREVER, interval=0.3):
        folder = tmp_path_factory.mktemp("machine") / request.node.name
        beats = Heartbeats(interval, grace)
        trials = Trials(folder, SPACE, "none", 2, create_storage(url), beats)
        joined.append(trials)
        return trials

    yield join
    for trials in joined:
        trials.close()


def test_a_trial_whose_process_is_silent_is_run_again_and_no_other(join):
    one, two = join(), join()
    first, second = one.next(2), two.next(2)
    assert first.params != second.params
    deadline = time.monotonic() + 120
    while two.is_undecided():  # until a heartbeat of the other
        assert time.monotonic() < deadline
        assert two.next(2) is None
        time.sleep(0.05)
    two.end(second, 91.0, {"extra": 1})
    one.close()  # no heartbeat any more
    three = join(grace=0.0)
    assert three.next(2) is None  # at first sight nobody is silent
    again = three.next(2)
    assert again.params == first.params
    assert three.study.trials[first.number].state == TrialState.FAIL
    with pytest.raises(TrialTakenError, match="given to another process"):
        with one.own(first):
            one.end(first, 90.0, {})
    three.end(again, 92.0, {})
    assert two.next(2) is None and not two.is_undecided()


def test_a_newcomer_waits_to_see_whether_a_process_is_alive(join):
    one = join(interval=FOREVER)  # its heartbeats are sent here
    first = one.next(1)
    alive = join()
    for beats in range(2):
        assert alive.next(1) is None and alive.is_undecided() == (beats == 0)
        first.set_user_attr(BEATS, beats + 1)
    late = join(grace=0.0)
    assert late.next(1) is None and late.is_undecided()
    time.sleep(0.01)
    assert late.is_undecided()  # `next` reruns the trial
    assert late.next(1).params == first.params


def test_a_trial_that_is_handed_in_is_the_next(join):
    one, two = join(), join()
    first = one.next(2)
    one.hand_in(first)
    assert two.next(2).params == first.params


def test_processes_that_ask_at_once_start_no_trial_too_many(join):
    """Threads, each with a connection and a folder of its own."""
    total, workers = 9, [join() for _ in range(3)]
    started = []

    def work(trials):
        while (trial := trials.next(total)) is not None:
            started.append(tuple(trial.params.values()))
            trials.end(trial, 90.0, {})

    threads = [threading.Thread(target=work, args=(one,)) for one in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(started) == len(set(started)) == total
    states = [trial.state for trial in workers[0].study.trials]
    assert states.count(TrialState.COMPLETE) == total


def test_a_study_is_of_one_search(join):
    one, two = join(), join()
    config = digits.get_config().to_dict()
    one.claim({**config, "space": spaces.DEFAULT})
    two.claim({**config, "data_dir": "/elsewhere", "space": spaces.DEFAULT})
    with pytest.raises(UserError, match=r"batch_size \(64 there, 32 now\).*--workdir"):
        two.claim({**config, "batch_size": 32, "space": spaces.DEFAULT})
    newer = {**config, "another": {"field": 1}, "space": spaces.DEFAULT}
    two.claim(newer, defaults={"another": {"field": 1}})
    with pytest.raises(UserError, match=r"another.field \(0 there, 1 now\)"):
        two.claim(newer, defaults={"another": {"field": 0}})
    with pytest.raises(UserError, match=r"space.seed"):
        two.claim({**config, "space": spaces.DEFAULT | {"seed": {"low": 1}}})


def test_databases_that_are_new_can_be_joined_by_many_at_once(server, tmp_path):
    """Optuna's own creation of tables fails where two processes do it at once."""
    import psycopg

    with psycopg.connect(f"postgresql://{server}", autocommit=True) as connection:
        connection.execute("CREATE DATABASE fresh")
    url = f"postgresql://{server.rpartition('/')[0]}/fresh"
    code = (
        "import sys; from da_jax.search.storage import create_storage;"
        "print('ready', flush=True); sys.stdin.readline(); create_storage(sys.argv[1])"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        _, said = process.communicate(timeout=600)
        assert process.returncode == 0, said


SECRET = "hunter2"
UNUSABLE = [
    ("study.db", "isn't a URL"),
    (f"{SECRET}:pw@host", "isn't a URL"),
    ("redis://host", "known: postgresql, mysql, sqlite, journal"),
    (f"postgresql://user:{SECRET}@127.0.0.1:1/name", "127.0.0.1:1/name can't be"),
    (f"postgresql://user:{SECRET}@nowhere.invalid/name", "nowhere.invalid/name can't"),
    (f"postgresql://user:pa@{SECRET}@host/name", "can't be read as a URL"),
    (f"postgresql://user:pa@{SECRET}/pa@host/name", "can't be read as a URL"),
    (f"postgresql://user@host:{SECRET}/name", "can't be read as a URL"),
    (f"postgresql://user:{{{SECRET}}}@127.0.0.1:1/name", "can't be reached"),
    (f"postgresql://127.0.0.1:1/name?password={SECRET}", "can't be reached"),
    (f"postgresql+nodriver://user:{SECRET}@host/name", "SQLAlchemy doesn't know"),
    (f"mysql://user:{SECRET}@host/name", "MySQLdb, which isn't installed: install it"),
    ("sqlite:////nowhere/at/all/study.db", "unable to open database file"),
    ("journal:///nowhere/at/all/study.log", "No such file or directory"),
]


@pytest.mark.parametrize(("url", "message"), UNUSABLE)
def test_a_storage_that_cannot_be_used_is_one_line_without_the_password(url, message):
    pytest.importorskip("psycopg")
    with pytest.raises(UserError) as raised:
        create_storage(url)
    text = str(raised.value)
    assert message in text and SECRET not in text and "\n" not in text
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_a_wrong_password_is_not_repeated(server):
    address = server.rpartition("@")[2]
    with pytest.raises(UserError, match="password authentication failed") as raised:
        create_storage(f"postgresql://searcher:{SECRET}@{address}")
    assert SECRET not in str(raised.value)


def test_without_the_driver_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(UserError, match=r"takes psycopg.*pip install 'da-jax\[postgr"):
        create_storage(f"postgresql://user:{SECRET}@host/name")


def test_a_server_that_goes_away_is_one_line(tmp_path):
    if postgresql.binaries() is None:
        pytest.skip("there is no PostgreSQL server")
    pytest.importorskip("psycopg")
    with postgresql.server() as address:
        url = f"postgresql://{address}"
        study = optuna.create_study(storage=create_storage(url))
    with pytest.raises(UserError, match=r"can't be reached: .*; once it can"):
        with storage_errors(url):
            study.ask()


def test_the_command_says_so_in_a_line_and_exits_with_2(tmp_path):
    url = f"postgresql://user:{SECRET}@127.0.0.1:1/name"
    pytest.importorskip("psycopg")
    done = subprocess.run(
        **sweep(tmp_path / "work", f"--storage={url}"), capture_output=True
    )
    assert done.returncode == 2 and not done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: the study in postgresql://127.0.0.1:1/name can't be")
    assert SECRET not in line and not (tmp_path / "work").exists()


def test_a_search_of_an_earlier_version_is_resumed(tmp_path):
    """Its config lacks a field; the one of the command has the field's default."""
    config = digits.get_config()
    config.update({"batch_size": 180, "num_epochs": 2, "validation_size": 180})
    config.optimizer.decay_epochs = (1,)
    space = spaces.create_space(spaces.read_space(), config)
    trials = Trials(tmp_path, space, "none", 2)
    for _ in range(2):
        trial = trials.next(2)
        trial.report(90.0, 1)
        trials.end(trial, 90.0 + trial.number, {})
    trials.close()
    content = config.to_dict()
    del content["train_size"]
    (tmp_path / "config.json").write_text(json.dumps(content))
    done = subprocess.run(**sweep(tmp_path, "--trials=2"), capture_output=True)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "trials.csv").read_text().splitlines()) == 3
    done = subprocess.run(
        **sweep(tmp_path, "--trials=2", "--config.train_size=900"), capture_output=True
    )
    assert done.returncode == 2 and "train_size (0 there, 900 now)" in done.stderr


WORKER = """
import pathlib, sys, time
from da_jax.search.liveness import Heartbeats
from da_jax.search.storage import create_storage
from da_jax.search.trials import Trials
from tests.search.sweep_test import SPACE
folder, url = pathlib.Path(sys.argv[1]), sys.argv[2]
trials = Trials(folder, SPACE, "none", 2, create_storage(url), Heartbeats(0.2, 3.0))
while (trial := trials.next(6)) or trials.is_undecided():
    if trial is None:
        time.sleep(0.1)
        continue
    print(trial.number, flush=True)
    sys.stdin.readline()  # trains until the test says so
    trials.end(trial, 90.0, {})
trials.close()
"""


def test_a_process_on_another_machine_is_killed_and_its_trial_run_again(
    server, tmp_path
):
    url = f"postgresql://{server}"

    def start(machine):
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, tmp_path / machine / "two", url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )
        return process, int(process.stdout.readline())  # it runs its first trial now

    (one, lost), (two, other) = start("one"), start("other")
    assert lost != other
    one.kill()
    one.communicate()
    said, errors = two.communicate("\n", timeout=600)  # and then the end of the file
    assert two.returncode == 0, errors
    study = optuna.load_study(study_name="two", storage=create_storage(url))
    states = [trial.state for trial in study.trials]
    assert states[lost] == TrialState.FAIL and len(states) == 7
    assert states.count(TrialState.COMPLETE) == 6 == 1 + len(said.split())
    params = [trial.params for trial in study.trials]
    assert params.count(params[lost]) == 2


@pytest.mark.slow
def test_two_processes_without_a_shared_folder_share_a_search(server, tmp_path):
    """One of them is killed in a trial; the other reruns it."""
    url = f"postgresql://{server}"
    faster = (
        "import da_jax.search.liveness as liveness;"
        "liveness.Heartbeats.__init__.__defaults__ = (0.5, 8.0)"
    )
    total = 5
    commands = [
        sweep(
            tmp_path / machine / "shared_search",
            *(f"--storage={url}", f"--trials={total}", "--pruner=none"),
            preparation=faster,
        )
        for machine in ("one", "two")
    ]
    one, two = (
        subprocess.Popen(
            **command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=1
        )
        for command in commands
    )
    lines = [one.stdout.readline()]  # its first trial has ended, the next one runs
    assert lines[0].startswith("trial "), one.communicate()
    one.kill()
    one.wait()
    said, errors = two.communicate(timeout=1200)
    assert two.returncode == 0, errors
    storage = create_storage(url)
    study = optuna.load_study(study_name="shared_search", storage=storage)
    finished = [t for t in study.trials if t.state == TrialState.COMPLETE]
    assert len(finished) == total and all(t.state.is_finished() for t in study.trials)
    params = [tuple(trial.params.values()) for trial in finished]
    lost = [t for t in study.trials if t.state == TrialState.FAIL]
    assert len(set(params)) == total
    assert {tuple(trial.params.values()) for trial in lost} <= set(params)
    shown = re.findall(r"^trial +\d.*$", said, re.MULTILINE)
    ended = [int(re.search(r"\| (\d+) of 5", line)[1]) for line in shown]
    assert ended == sorted(set(ended)) and ended[-1] == total
    assert all(
        re.search(r" \| best \d+\.\d\d % \(trial \d+\) \| ", one) for one in shown
    )
    assert all("left" in line for line in shown[:-1]) and "left" not in shown[-1]
    table = (tmp_path / "two" / "shared_search" / "trials.csv").read_text()
    assert len(table.splitlines()) == 1 + total
    assert postgresql.PASSWORD not in said + errors
    assert not (tmp_path / "two" / "shared_search" / "study.db").exists()
