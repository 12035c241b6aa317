"""The wheel and the sdist: their files, and the commands of an installed wheel."""

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
MAPPED = ("checkpoints", "configs", "convert")
"""Folders of the repository that are installed inside `da_jax`."""


def run(*command, **options):
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tracked():
    """The repository's files, without what git ignores."""
    words = ("git", "ls-files", "--cached", "--others", "--exclude-standard")
    return [Path(line) for line in run(*words, cwd=REPOSITORY).splitlines()]


def installed():
    """The files that a wheel is to install, from those of the repository."""
    for path in tracked():
        if path.parts[0] in MAPPED:
            yield f"da_jax/{path}"
        elif path.parts[0] == "da_jax":
            yield str(path)


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """The folder of a wheel and an sdist, built from a copy of the tracked files."""
    folder = tmp_path_factory.mktemp("build")
    for path in tracked():
        if (REPOSITORY / path).is_file():
            (folder / "source" / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / "source" / path).write_bytes((REPOSITORY / path).read_bytes())
    command = ("-m", "build", "--no-isolation", "--outdir", folder / "dist")
    run(sys.executable, *command, folder / "source")
    return folder / "dist"


@pytest.fixture(scope="module")
def site(distributions, tmp_path_factory):
    """A folder into which the wheel is installed."""
    folder = tmp_path_factory.mktemp("site")
    (wheel,) = distributions.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def test_a_wheel_installs_da_jax_alone_and_all_of_it(distributions):
    (wheel,) = distributions.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    modules = [name for name in names if ".dist-info/" not in name]
    assert sorted(modules) == sorted(installed())
    assert {"da_jax/py.typed", "da_jax/configs/digits.py"} < set(modules)
    assert "da_jax/checkpoints/digits_resnet20/model.json" in modules
    metadata = {name.split("/")[1] for name in names if ".dist-info/" in name}
    assert {"entry_points.txt", "METADATA", "licenses"} <= metadata


def test_an_sdist_has_what_a_wheel_is_built_from(distributions):
    """`build` makes the wheel from it, so this looks at what it has besides."""
    (sdist,) = distributions.glob("*.tar.gz")
    names = {name.partition("/")[2] for name in tarfile.open(sdist).getnames()}
    assert {"LICENSE", "README.md", "pyproject.toml"} < names
    assert {path.split("/")[0] for path in names} <= {
        *("", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml", "setup.cfg"),
        *("da_jax", "da_jax.egg-info", *MAPPED),
    }


def test_twine_accepts_both(distributions):
    said = run(sys.executable, "-m", "twine", "check", *distributions.iterdir())
    assert said.count("PASSED") == 2 and "warning" not in said.lower()


def test_commands_of_a_wheel_beside_foreign_folders_of_the_same_names(site, tmp_path):
    for name in ("configs", "convert", "checkpoints", "benchmarks", "tests"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('foreign')\n")
    # Without `site`, the editable installation of this environment is out of reach.
    paths = (str(site), sysconfig.get_path("purelib"))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "XLA_FLAGS": ""}

    def da_jax(*arguments):
        command = (sys.executable, "-S", "-m", "da_jax", *arguments)
        return run(*command, cwd=tmp_path, env=environment)

    short = ("--config.batch_size=360", "--config.eval_batch_size=360")
    epoch = ("--config.num_epochs=1", "--config.optimizer.decay_epochs=(1,)")
    said = da_jax("train", "--config=digits", *epoch, *short, "--workdir=w")
    assert "the run is in w" in said
    results = json.loads((tmp_path / "w" / "results.json").read_text())
    evaluated = da_jax(
        *("evaluate", "--model=resnet8", "--checkpoint=w", "--dataset=digits"),
        "--json=w.json",
    )
    assert f"top-1 {results['seeds'][0]['best']['test_top1']:.2f} %" in evaluated
    teacher = ("--model=resnet20", "--checkpoint=checkpoints/digits_resnet20")
    assert "top-1 100.00 %" in da_jax("evaluate", *teacher, "--dataset=digits")
    assert "runs 1, rows 1" in da_jax("report", "w")
    da_jax("export", "w", "--output=exported")
    assert (tmp_path / "exported" / "model.safetensors").is_file()
