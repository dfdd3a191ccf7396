"""What many sessions need, computed from made-up figures."""

from bench.growth import Target, outlook

POINT = {"sessions": 8000, "round_trip_us": 20.0, "session_kib": 16.0, "kernel_kib": 8.0, "p99_us": 1.0}
FOUND = {"curves": {"tlsproxy": [POINT]}, "door": {"door_us": 100.0}}
TARGET = Target(sessions=65536, cores=32, ports=28000, return_s=64)


def test_the_outlook_is_computed_from_what_was_measured() -> None:
    text = outlook(FOUND, "tlsproxy", 1000.0, TARGET)
    for fact in (
        "65,536 sessions on 32 cores",
        "131,072 descriptors, so 4,096 in each",
        "1.0 GiB of memory in the processes and 0.5 GiB in the kernel",
        "3 addresses",
        "1,024 logins a second",
        "1.0 cores in all",
        "takes 0.10 of its one core",
        "10,000 connections a second",
        "1,550,000 small round trips",
    ):
        assert fact in text


def test_without_a_door_of_its_own_nothing_is_said_of_it() -> None:
    assert "door" not in outlook({"curves": FOUND["curves"]}, "tlsproxy", 1000.0, TARGET)


def test_without_measurements_there_is_no_outlook() -> None:
    assert not outlook({"curves": {}}, "tlsproxy", 1000.0, TARGET)
