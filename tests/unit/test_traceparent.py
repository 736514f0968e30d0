"""Which texts are a ``traceparent`` of W3C Trace Context, and which traces are recorded."""

from contracts.traceparent import is_sampled, trace_id

TRACE = "0af7651916cd43dd8448eb211c80319c"
STEP = "b7ad6b7169203331"


def test_the_trace_is_read() -> None:
    assert trace_id(f"00-{TRACE}-{STEP}-01") == TRACE


def test_what_is_no_traceparent_has_no_trace() -> None:
    for text in (
        *(None, 7, b"00", "", "rubbish", f"00-{TRACE}-{STEP}-01".upper()),
        *(f"ff-{TRACE}-{STEP}-01", f"00-{TRACE}-{STEP}-01-more", f"00-{TRACE}-{STEP}-01\n"),
        *(f"00-{'0' * 32}-{STEP}-01", f"00-{TRACE}-{'0' * 16}-01"),
    ):
        assert trace_id(text) is None, text


def test_the_last_bit_of_the_flags_says_whether_it_is_recorded() -> None:
    sampled = {
        flags: is_sampled(f"00-{TRACE}-{STEP}-{flags}") for flags in ("00", "01", "02", "ff")
    }
    assert sampled == {"00": False, "01": True, "02": False, "ff": True}
    assert not is_sampled("rubbish")
