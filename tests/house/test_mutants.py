import subprocess

import pytest

from tests.mutants import run

pytestmark = pytest.mark.one_database

PATCH = """\
# test: test_sum.py::{test}
# breaks: {breaks}
--- a/total.py
+++ b/total.py
@@ -1,2 +1,2 @@
 def add(a, b):
-    return {old}
+    return {new}
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "total.py").write_text("def add(a, b):\n    return a + b\n")
    (tmp_path / "test_sum.py").write_text(
        "from total import add\n"
        "def test_guards():\n    assert add(2, 3) == 5\n"
        "def test_looks_away():\n    add(2, 3)\n"
        "def test_is_wrong_anyway():\n    assert add(2, 3) == 6\n"
    )
    (tmp_path / "conftest.py").write_text(
        "def pytest_addoption(parser):\n    parser.addoption('--database')\n"
    )
    (tmp_path / "tests" / "mutants").mkdir(parents=True)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    return tmp_path


def plant(project, name, *, test="test_guards", old="a + b", new="a - b"):
    text = PATCH.format(test=test, breaks="the sum", old=old, new=new)
    (project / "tests" / "mutants" / f"{name}.patch").write_text(text)


def test_a_fault_that_its_test_catches_is_fine(project, capsys):
    plant(project, "minus")
    plant(project, "times", new="a * b")

    assert run.main(root=project) == 0
    assert "mutants ok: 2 of 2 caught" in capsys.readouterr().out
    assert (project / "total.py").read_text().endswith("a + b\n")


def test_a_fault_that_survives_fails_the_run(project, capsys):
    plant(project, "minus", test="test_looks_away")

    assert run.main(root=project) == 1
    assert "SURVIVED" in capsys.readouterr().out


def test_a_patch_that_no_longer_applies_fails_the_run(project, capsys):
    plant(project, "old", old="b + a")

    assert run.main(root=project) == 1
    assert "does not apply" in capsys.readouterr().out


def test_a_test_that_fails_without_the_fault_proves_nothing(project, capsys):
    plant(project, "minus", test="test_is_wrong_anyway")

    assert run.main(root=project) == 1
    assert "fails without any fault" in capsys.readouterr().out


def test_a_patch_that_stops_the_test_from_running_is_not_a_catch(project, capsys):
    plant(project, "syntax", new=")")

    assert run.main(root=project) == 1
    assert "broken run" in capsys.readouterr().out


@pytest.mark.parametrize("line", ["# test: ", "# breaks: "])
def test_a_patch_without_its_header_is_refused(project, capsys, line):
    plant(project, "bare")
    path = project / "tests" / "mutants" / "bare.patch"
    path.write_text(path.read_text().replace(line, "# other: "))

    assert run.main(root=project) == 1
    assert f"has no line '{line.strip()} ...'" in capsys.readouterr().out


def test_a_run_without_any_patch_is_no_success(project, capsys):
    assert run.main(root=project) == 1
    assert "There is no patch in" in capsys.readouterr().out


def test_a_name_chooses_one_patch_and_a_wrong_name_is_refused(project, capsys):
    plant(project, "minus")
    plant(project, "away", test="test_looks_away")

    assert run.main(["minus"], root=project) == 0
    assert run.main(["typo"], root=project) == 1
    assert "No such patch: typo" in capsys.readouterr().out


def test_what_the_suite_has_shown_is_not_shown_again(project, capsys):
    plant(project, "minus", test="test_is_wrong_anyway")

    assert run.main(["--proven"], root=project) == 0
    assert "mutants ok: 1 of 1 caught" in capsys.readouterr().out
