"""The house around the code: contracts, lengths, versions, docstrings and documents agree."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import pytest
import yaml
from importlinter.cli import lint_imports
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import alliance
from alliance.cli.screen import ARGUMENT, INSTEAD, as_options
from alliance.data_prep.study.description import Study, read_study
from alliance.inference.published.findings import QUANTITIES, Finding
from alliance.inference.published.published import read_published
from alliance.models.priors import Priors

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("alliance", "diagnostics", "inference", "models", "data_prep")

# Run-time dependencies of which no version can move a draw or a digit of a table, and why.
MOVES_NO_RESULT = {
    "typer": "reads the command line",
    "rich": "draws tables on a terminal, from numbers that are given as text",
    "tomli-w": "writes study files, which are read back and compared by tests",
    "cloudpickle": "carries questions to workers byte by byte",
}

# Spelled so that this file does not find itself.
MACHINE_PATH = re.compile(r"(?<![A-Za-z0-9_.])/(?:work|root|farm|home|Users)/[A-Za-z.]")
REGISTRY = re.compile(
    r"pypi\.org|pythonhoste[d]|anaconda\.org|index[-_]url|https?://[^\s\"']+/(?:simple|packages)/"
)


@pytest.fixture(scope="session")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def tracked() -> list[Path]:
    """Files that git knows; tests about them have nothing to say outside a checkout."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: which files are tracked cannot be known")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# Imports ------------------------------------------------------------------------------------------


def test_import_contracts_hold(capsys: pytest.CaptureFixture[str]) -> None:
    code = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True, no_logo=True)
    assert code == 0, capsys.readouterr().out


@pytest.mark.parametrize("room", [room for room in ROOMS if room != "alliance"])
def test_a_room_imports_nothing_by_itself_and_says_what_it_is_for(room: str) -> None:
    # Help and usage errors must not wait for what a room happens to import at its door.
    door = ast.parse(text_of(f"{room}/__init__.py"))
    assert len(door.body) == 1
    assert len((ast.get_docstring(door) or "").split()) > 50


# One fitted outcome (decision 0028) ---------------------------------------------------------------

ONCE = {
    r"\(1 - \w*(interval|INTERVAL)\) / 2": "inference/draws/summaries.py",
    r"1 if .*better == .higher. else -1": "inference/posterior.py",
    r"default_rng\(\d": None,
    r"_NUMBERS = 4_000_000": "inference/draws/summaries.py",
}


@pytest.mark.parametrize("pattern", ONCE)
def test_what_is_asked_of_an_outcome_stands_once(pattern: str) -> None:
    found = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "inference").rglob("*.py"))
        if re.search(pattern, path.read_text(encoding="utf-8"))
    ]
    assert found == ([] if ONCE[pattern] is None else [ONCE[pattern]])


# Lengths ------------------------------------------------------------------------------------------


def test_no_folder_holds_more_than_20_python_files() -> None:
    """A drawer that is looked through at a glance; the tests mirror them, file by file."""
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    held = Counter(path.parent.relative_to(ROOT).as_posix() for path in files)
    assert held["models"] > 1
    assert {folder: count for folder, count in held.items() if count > 20} == {}


def lengths(*folder: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(ROOT / ".ci" / "lengths"), *folder]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_file_of_601_lines_is_named_and_one_of_600_is_not(tmp_path: Path) -> None:
    (tmp_path / ".venv").mkdir()
    (tmp_path / "with blank").mkdir()
    (tmp_path / "short.py").write_text("1\n" * 600)
    (tmp_path / "with blank" / "long.py").write_text("1\n" * 601)
    (tmp_path / ".venv" / "other.py").write_text("1\n" * 601)
    done = lengths(str(tmp_path))
    assert done.returncode == 0  # a question to the reader, not a fault
    assert re.findall(r"\S+\.py", done.stdout) == ["blank/long.py"]


# Versions -----------------------------------------------------------------------------------------


def constrained(project: dict[str, Any]) -> dict[str, str]:
    """Exact versions of the constraints, by canonical name."""
    versions = {}
    for text in project["tool"]["uv"]["constraint-dependencies"]:
        name, _, exact = text.partition("==")
        assert re.fullmatch(r"[\w.-]+==[\w.]+", text), f"{text!r} is not an exact version"
        versions[canonicalize_name(name)] = exact
    assert len(versions) == len(project["tool"]["uv"]["constraint-dependencies"])
    return versions


def test_the_versions_that_can_move_a_result_are_those_installed(project: dict[str, Any]) -> None:
    wanted = constrained(project)
    assert {name: version(name) for name in wanted} == wanted


def test_every_dependency_is_constrained_or_said_to_move_no_result(project: dict[str, Any]) -> None:
    extras = project["project"]["optional-dependencies"].values()
    needed = [*project["project"]["dependencies"], *(text for extra in extras for text in extra)]
    names = {canonicalize_name(Requirement(text).name) for text in needed} - {"alliance"}
    held = constrained(project).keys()
    assert names - held == set(MOVES_NO_RESULT)


# Declared without an import of ours, and why.
NOT_IMPORTED = {
    "arviz": "its version stands in every manifest, and people read runs with it",
    "dask": "imported by name, where many files are read",
    "tabulate": "pandas imports it for Markdown",
}


def test_everything_imported_is_declared_and_what_is_declared_is_used(
    project: dict[str, Any],
) -> None:
    """Not only brought by another package, which may cease to."""
    extras = project["project"]["optional-dependencies"].values()
    needed = [*project["project"]["dependencies"], *(text for extra in extras for text in extra)]
    declared = {canonicalize_name(Requirement(text).name) for text in needed} - {"alliance"}
    imported = {
        name.split(".")[0]
        for tree in modules().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
        )
    }
    owners = packages_distributions()
    others = imported - sys.stdlib_module_names - {"alliance"}
    owned = {name: {canonicalize_name(owner) for owner in owners.get(name, [])} for name in others}
    assert {name: own for name, own in owned.items() if not own & declared} == {}
    assert declared - {owner for own in owned.values() for owner in own} == set(NOT_IMPORTED)


def test_every_dependency_says_the_oldest_version_that_works(project: dict[str, Any]) -> None:
    """`.ci/lowest` installs these, and so holds them to what they say."""
    extras = project["project"]["optional-dependencies"].values()
    needed = [*project["project"]["dependencies"], *(text for extra in extras for text in extra)]
    bounds = {
        requirement.name: {each.operator for each in requirement.specifier}
        for requirement in map(Requirement, needed)
        if requirement.name != "alliance"
    }
    assert {name: own for name, own in bounds.items() if ">=" not in own} == {}
    script = text_of(".ci/lowest")
    assert "--resolution lowest-direct" in script
    named = re.findall(r"tests/\w+/test_\{([\w,]+)\}\.py|(tests/\w+/test_\w+\.py)", script)
    places = re.findall(r"(tests/\w+)/test_", script)
    assert len(named) == len(places) > 3
    for (stems, whole), place in zip(named, places, strict=True):
        for path in [whole] if whole else [f"{place}/test_{stem}.py" for stem in stems.split(",")]:
            assert (ROOT / path).is_file(), path


def test_one_version_is_told_everywhere() -> None:
    newest = re.search(r"^## \[([^\]]+)\] - \d{4}-\d{2}-\d{2}$", text_of("CHANGELOG.md"), re.M)
    assert newest is not None, "CHANGELOG.md has no entry of the form '## [1.2.3] - 2026-01-31'"
    told = {
        "CHANGELOG.md": newest[1],
        "CITATION.cff": yaml.safe_load(text_of("CITATION.cff"))["version"],
        "installed": version("alliance"),
    }
    assert told == dict.fromkeys(told, alliance.__version__)


def test_the_citation_names_the_software_the_study_and_its_trial() -> None:
    citation = yaml.safe_load(text_of("CITATION.cff"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()  # what CFF requires
    assert all({"type", "title", "authors"} <= entry.keys() for entry in citation["references"])
    dois = [entry["doi"] for entry in citation["references"]]
    assert dois == ["10.2522/ptj.20120137", "10.1016/j.pain.2006.12.008"]


# What is shipped and what is kept -----------------------------------------------------------------


def test_every_room_is_shipped_with_its_types(project: dict[str, Any]) -> None:
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["alliance"]
    links = [room for room in ROOMS if (ROOT / "alliance" / room).is_dir()]
    assert links == [room for room in ROOMS if room != "alliance"]
    assert [room for room in ROOMS if not (ROOT / room / "py.typed").is_file()] == []
    assert text_of("LICENSE").startswith("MIT License")


def test_the_lock_file_is_not_kept(tracked: list[Path]) -> None:
    ignored = subprocess.run(["git", "check-ignore", "-q", "uv.lock"], cwd=ROOT, check=False)
    assert ignored.returncode == 0
    assert ROOT / "uv.lock" not in tracked


def test_no_tracked_file_names_a_machine_path_or_a_package_registry(tracked: list[Path]) -> None:
    assert len(tracked) > 50
    found = []
    for path in tracked:
        for number, line in enumerate(path.read_bytes().decode("utf-8", "replace").split("\n"), 1):
            if MACHINE_PATH.search(line) or REGISTRY.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert found == []


def benchmark(name: str) -> Any:
    """One of the scripts in benchmarks, as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def test_the_performance_table_is_that_of_the_results() -> None:
    """As `benchmarks/performance_page.py` writes it, from the file of results."""
    script = benchmark("performance_page")
    record = json.loads(script.RESULTS.read_text(encoding="utf-8"))
    page = script.PAGE.read_text(encoding="utf-8")
    assert script.page_with(script.table_text(record), page) == page


def test_the_measures_of_the_house_count_what_they_say(tmp_path: Path) -> None:
    """A house of two files of which one is linked to; its tests are not counted."""
    for folder in ("alliance", "models", "tests", ".venv"):
        (tmp_path / folder).mkdir()
    (tmp_path / "alliance" / "models").symlink_to(tmp_path / "models")
    code = '"""What it is."""\n\n# Why.\n__all__ = [\n    "one",\n]\none = """\n# text\n"""\n'
    (tmp_path / "alliance" / "__init__.py").write_text(code)
    (tmp_path / "models" / "two.py").write_text("def two():\n    '''Two.'''\n    return 2\n")
    for apart in ("tests", ".venv"):
        (tmp_path / apart / "apart.py").write_text("x = 1\n" * 700)
    figures = benchmark("house").measures(tmp_path)
    assert figures["Python files"] == "2"
    assert figures["their lines"] == "12"
    assert figures["of these, code lines"] == "8"  # three and three, and two of the function
    assert figures["files over 600 lines"] == "0"
    assert figures["files in the largest folder"].startswith("1 ")
    assert figures["public names of alliance"] == "1"
    assert figures["every public name, beside a models.py and inference/"] == "works"


def test_no_two_test_files_have_one_name() -> None:
    """Pytest imports a test file by its bare name: the second of a name cannot be collected."""
    names = [path.name for path in sorted(ROOT.glob("tests/**/*.py")) if path.stem != "conftest"]
    assert [name for name, times in Counter(names).items() if times > 1] == []


def test_the_workflow_and_the_hooks_do_what_ci_does() -> None:
    steps = re.findall(r"^step (.+)$", text_of(".ci/run"), re.M)
    assert "uv run pytest" in steps
    [job] = yaml.safe_load(text_of(".github/workflows/ci.yml"))["jobs"].values()
    assert "bash .ci/run" in [step.get("run") for step in job["steps"]]
    [repository] = yaml.safe_load(text_of(".pre-commit-config.yaml"))["repos"]
    assert repository["repo"] == "local"  # no repository of hooks has to be fetched
    assert "uv run pytest -n 0 -m validation tests/test_wheel.py" in steps
    made = ("pip install --quiet uv", "uv run pytest", "bash .ci/site")
    checks = [step for step in steps if not step.startswith(made)]
    entries = [hook["entry"] for hook in repository["hooks"]]
    for check in checks:  # the hooks format, continuous integration checks the format
        assert any(entry.startswith(check.removesuffix(" --check")) for entry in entries), check


# Docstrings ---------------------------------------------------------------------------------------

Definition = ast.FunctionDef | ast.ClassDef


def definitions(body: list[ast.stmt], owner: str = "") -> Iterator[tuple[str, Definition]]:
    for node in body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield f"{owner}{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from definitions(node.body, f"{node.name}.")


@cache
def modules() -> dict[str, ast.Module]:
    """Syntax trees of all files that ship, by module."""
    paths = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    names = [f"alliance.{name.removeprefix('alliance.')}" for name in names]
    return {
        name: ast.parse(path.read_text(encoding="utf-8"))
        for name, path in zip(names, paths, strict=True)
    }


def parameters(function: ast.FunctionDef) -> list[str]:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return [argument.arg for argument in named if argument.arg not in ("self", "cls")]


def documented_parameters(docstring: str) -> list[str] | None:
    """Names in a docstring's section of parameters, without **others; None where it has none."""
    section = re.search(r"^Parameters\n-{10}\n(.*?)(?=\n\n\w+\n-{3,}$|\Z)", docstring, re.M | re.S)
    if section is None:
        return None
    heads = [line for line in section[1].split("\n") if line and not line.startswith(" ")]
    names = [name.strip() for head in heads for name in head.split(" : ")[0].split(",")]
    return [name for name in names if not name.startswith("*")]


def room_of(module: str) -> str:
    """The room that a module stands in: ``cli`` is the front door's."""
    return module.split(".")[1]


def called_from_other_rooms() -> set[tuple[str, str]]:
    """Modules and names that one room imports from another."""
    return {
        (node.module, alias.name)
        for importer, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and node.module
        and node.module.startswith("alliance.")
        and room_of(node.module) != room_of(importer)
        for alias in node.names
    }


def test_every_public_name_has_a_docstring() -> None:
    bare = [
        f"{module}.{name}"
        for module, tree in modules().items()
        for name, node in definitions(tree.body)
        if not ast.get_docstring(node)
    ]
    silent = [
        module
        for module, tree in modules().items()
        if not ast.get_docstring(tree) and not module.endswith("._version")
    ]
    assert bare + silent == []


def test_documented_parameters_are_those_of_the_signature() -> None:
    wrong = {}
    for module, tree in modules().items():
        for name, node in definitions(tree.body):
            if isinstance(node, ast.FunctionDef):
                told = documented_parameters(ast.get_docstring(node) or "")
                if told is not None and told != parameters(node):
                    wrong[f"{module}.{name}"] = (told, parameters(node))
    assert wrong == {}


def test_what_other_rooms_call_describes_its_parameters() -> None:
    # One parameter is told by the first line; an example tells as much as a section.
    used = called_from_other_rooms()
    assert ("alliance.data_prep.errors", "InputError") in used
    missing = []
    for module, tree in modules().items():
        for name, node in definitions(tree.body):
            if (module, name) not in used or not isinstance(node, ast.FunctionDef):
                continue
            docstring = ast.get_docstring(node) or ""
            told = documented_parameters(docstring) is not None or "Examples\n" in docstring
            if len(parameters(node)) > 1 and not told:
                missing.append(f"{module}.{name}")
    assert missing == []


# Messages -----------------------------------------------------------------------------------------

LOWER_ROOMS = tuple(room for room in ROOMS if room != "alliance")
# Options of other programs in a whole command, and properties of a style sheet.
OF_OTHERS = re.compile(r"`dask [^`]*`|style=\"--[a-z]+")


def texts(tree: ast.Module) -> Iterator[str]:
    """The texts of a module, docstrings aside; what a template fills in stands as ``1``."""
    docstrings = {
        id(statement.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        for statement in node.body
        if isinstance(statement, ast.Expr)
    }
    parts = set()
    for node in ast.walk(tree):  # a template comes before its parts
        if isinstance(node, ast.JoinedStr):
            parts |= {id(part) for part in node.values}
            yield "".join(
                part.value if isinstance(part, ast.Constant) else "1" for part in node.values
            )
        elif isinstance(node, ast.Constant) and id(node) not in docstrings | parts:
            yield str(node.value)


def texts_below() -> Iterator[tuple[str, str]]:
    """Modules of the lower rooms with their texts."""
    for module, tree in modules().items():
        if room_of(module) in LOWER_ROOMS:
            yield from ((module, text) for text in texts(tree))


def test_no_text_below_the_front_door_names_an_option() -> None:
    """Decision 0031: a notebook user types arguments; the command line makes options of them."""
    found = [
        f"{module}: {text}"
        for module, text in texts_below()
        if re.search(r"--[a-z]", OF_OTHERS.sub("", text))
    ]
    assert found == []


def test_what_messages_name_as_an_argument_or_a_call_exists_and_is_told_in_options() -> None:
    callables: set[str] = set()
    arguments: set[str] = set()
    for tree in modules().values():
        for _, node in definitions(tree.body):
            if isinstance(node, ast.FunctionDef):
                callables.add(node.name)
                arguments.update(parameters(node))
            else:  # fields of data classes and settings
                arguments.update(
                    each.target.id
                    for each in node.body
                    if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
                )
    named = {found[0]: found for _, text in texts_below() for found in ARGUMENT.finditer(text)}
    calls = {written for written in named if "(" in written}
    rest = {written for written in named if written not in calls}
    assert '`sensitivity("influence")`' in calls
    assert "`overwrite=True`" in rest
    assert {written for written in calls if named[written][1] not in callables} == set()
    assert {written for written in rest if named[written][1] not in arguments} == set()
    untold = {named[written][1] for written in named if as_options(written) == written}
    assert untold <= keys_of(Study)  # a message about the study file
    assert set(INSTEAD) <= {written.strip("`") for written in named}


def test_a_name_in_backticks_is_found_in_all_sorts_of_texts() -> None:
    """The two tests above look at what a person reads, and at nothing else."""
    source = (
        'def f(x):\n    """`not_this` --nor-this"""\n    return f"`draws={x}`" + "`joint`" "--a"\n'
    )
    assert sorted(texts(ast.parse(source))) == ["`draws=1`", "`joint`--a"]


# Documents ----------------------------------------------------------------------------------------


def test_the_examples_of_the_reference_are_read_as_they_stand(tmp_path: Path) -> None:
    examples = re.findall(r"^```toml\n(.*?)^```$", text_of("docs/study-file.md"), re.M | re.S)
    study_path, published_path = tmp_path / "study.toml", tmp_path / "published.toml"
    for path, example in zip((study_path, published_path), examples, strict=True):
        path.write_text(example, encoding="utf-8")
    study = read_study(study_path)
    assert study.covariates == ("age", "sex")
    assert study.model.therapist == "intercept"
    assert [finding.claim for finding in read_published(published_path, study)] == [
        "number",
        "absent",
    ]


def keys_of(model: Any) -> set[str]:
    """Keys of a table of a study file and of the tables in it."""
    found = set(model.model_fields)
    for field in model.model_fields.values():
        for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if hasattr(part, "model_fields"):
                found |= keys_of(part)
    return found


def test_the_reference_tells_every_key_and_every_prior() -> None:
    text = re.sub(r"^```.*?^```$", "", text_of("docs/study-file.md"), flags=re.M | re.S)
    told = set(re.findall(r"`([^`]+)`", text))
    assert (keys_of(Study) | set(Finding.model_fields) | set(QUANTITIES)) - told == set()
    defaults = re.findall(r"`(\w+)` \| ([\d.]+) \|", text)
    default = Priors()
    assert {name: float(value) for name, value in defaults} == {
        name: getattr(default, name) for name in Priors.__dataclass_fields__
    }


def test_links_between_documents_lead_somewhere() -> None:
    built = [ROOT / "docs" / name for name in ("_build", "_generated")]
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    documents = [path for path in documents if not {*built} & {*path.parents}]
    broken = []
    for document in documents:
        for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
            place = target.split("#")[0]
            outside = re.match(r"https?:|mailto:", target)
            if place and not outside and not (document.parent / place).exists():
                broken.append(f"{document.relative_to(ROOT)}: {target}")
    assert broken == []


def test_codes_are_joined_to_names_in_one_place() -> None:
    """Decision 0025. The others join fixed codes, or names of outcomes, which hold no hyphen."""
    own = {"alliance.data_prep.levels"}
    fixed = {"alliance.data_prep.simulator.inputs"}
    outcomes = {
        "alliance.inference.sampling.joint",
        "alliance.inference.many_fits.calibration_runs",
    }
    figures = {"alliance.diagnostics.report.page"}
    joined = set()
    for module, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                kinds = [
                    part.value if isinstance(part, ast.Constant) else None for part in node.values
                ]
                if any(
                    kinds[k] == "-" and kinds[k - 1] is None and kinds[k + 1] is None
                    for k in range(1, len(kinds) - 1)
                ):
                    joined.add(module)
    assert joined - fixed - outcomes - figures == own
