"""What a proxy spends while it is loaded, and whether TLS was the same for all."""

from typing import Any, Final

from bench.peers import Running
from bench.processes import BenchError, Load, settle

_CIPHER: Final = "TLS_AES_256_GCM_SHA384"
_GROUP: Final = "X25519"


def spent(proxy: Running, generator: Load) -> tuple[float, dict[str, Any]]:
    """CPU seconds of the whole tree between ready and result, and the result.

    Raises:
        BenchError: Something failed.
    """
    with generator:
        settle()
        before = proxy.tree.cpu_s()
        result = generator.go()
        settle()
        return proxy.tree.cpu_s() - before, result


def check_tls(result: dict[str, Any]) -> None:
    """See that TLS was what all others spoke.

    Raises:
        BenchError: It was not.
    """
    if (result["cipher"], result["group"]) != (_CIPHER, _GROUP):
        raise BenchError(f"{result['cipher']} with {result['group']} instead of {_CIPHER} with {_GROUP}")
