import pytest

from scripts import check_sizes

pytestmark = pytest.mark.one_database

SETTINGS = {"folders": ["code"], "module_lines": 30, "function_lines": 5, "task_lines": 2}


def found(tmp_path, text):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.py").write_text(text)
    return list(check_sizes.sizes(tmp_path, SETTINGS))


def body(lines, indent="    "):
    return "".join(f"{indent}x = {number}\n" for number in range(lines))


def test_a_function_may_have_just_its_limit(tmp_path):
    sizes = found(tmp_path, "def fits():\n" + body(4) + "def long():\n" + body(5))

    assert check_sizes.complaints(sizes, {}) == [
        "code/a.py::long (line 6) has 6 lines; 5 are allowed",
    ]


def test_a_module_that_is_too_long_is_named(tmp_path):
    assert "code/a.py (line 1) has 31 lines" in check_sizes.complaints(found(tmp_path, body(31, "")), {})[0]


@pytest.mark.parametrize(
    "decorator", ["@shared_task", "@shared_task(ignore_result=True)", "@app.task(bind=True)"]
)
def test_the_body_of_a_task_has_a_limit_of_its_own(tmp_path, decorator):
    sizes = found(tmp_path, f'{decorator}\ndef work():\n    """Say what."""\n' + body(3))

    assert check_sizes.complaints(sizes, {}) == ["code/a.py::work (line 2) has 3 lines; 2 are allowed"]


def test_a_method_and_a_function_inside_a_function_are_found(tmp_path):
    text = "class A:\n    def m(self):\n" + body(5, " " * 8) + "        def inner():\n" + body(5, " " * 12)

    names = [complaint.split()[0] for complaint in check_sizes.complaints(found(tmp_path, text), {})]

    assert names == ["code/a.py::A.m", "code/a.py::A.m.inner"]


def test_a_named_exception_with_a_reason_is_let_through(tmp_path):
    sizes = found(tmp_path, "def long():\n" + body(9))

    assert check_sizes.complaints(sizes, {"code/a.py::long": "one table"}) == []
    assert "without a reason" in check_sizes.complaints(sizes, {"code/a.py::long": " "})[0]


def test_an_exception_that_is_no_longer_needed_fails(tmp_path):
    said = check_sizes.complaints(found(tmp_path, "x = 1\n"), {"code/a.py": "was long"})

    assert said == ["code/a.py is an exception in pyproject.toml and needs none any more: remove it"]
