"""The tool behind `make test-mutants`: which tests are whose."""

from __future__ import annotations

import ast

from tests import mutants


def test_every_module_with_a_function_has_tests_of_its_own():
    without = [
        module
        for module in mutants.all_modules()
        if not mutants.tests_of(module)
        and any(
            isinstance(node, ast.FunctionDef)
            for node in ast.walk(ast.parse((mutants.ROOT / module).read_text()))
        )
    ]
    assert without == []


def test_the_tests_listed_are_there():
    assert set(mutants.ALSO) <= set(mutants.all_modules())
    tests = {test for tests in mutants.ALSO.values() for test in tests}
    assert [test for test in tests if not (mutants.ROOT / test).is_file()] == []
