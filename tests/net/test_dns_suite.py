"""The openspf test suite for RFC 7208 once more, over real UDP and TCP."""

from ipaddress import ip_address

from rig.nameserver import NameServer
from rig.rfc7208 import Case, parametrize

from tlsproxy.net.dns import Resolver


@parametrize()
async def test_the_suite_agrees_over_the_wire(case: Case) -> None:
    with NameServer(case.make_zones()) as server:
        servers = [(ip_address(server.address[0]), server.address[1])]
        resolver = Resolver(servers, timeout_s=0.2, cache_entries=100, max_ttl_s=60)
        result = await case.run(resolver.look_up)
    assert result.verdict in case.results, result
    if case.explanation is not None:
        assert result.explanation == case.explanation
