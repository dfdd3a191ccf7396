"""The openspf test suite for RFC 7208: verdicts and explanations."""

from rig.rfc7208 import Case, parametrize


@parametrize()
async def test_the_suite_agrees(case: Case) -> None:
    result = await case.run(case.make_zones().look_up)
    assert result.verdict in case.results, result
    if case.explanation is not None:
        assert result.explanation == case.explanation
