"""Where Linux has huge pages, and the C library is glibc, a thread's large blocks may be such."""

import ctypes
import platform
import threading
from pathlib import Path

import pytest

from auth_service.users.huge_pages import HUGE_PAGE, prefer_huge_pages
from auth_service.users.passwords import MEMORY_KIB

PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or not PAGES.exists(), reason="no huge pages here"
)
def test_the_next_blocks_of_a_thread_may_be_huge_pages() -> None:
    """All of a block, however often the thread allocates and frees it."""
    size = MEMORY_KIB * 1024
    found: list[bool] = []

    def allocate() -> None:
        prefer_huge_pages(size)
        library = ctypes.CDLL(None)
        library.malloc.restype = ctypes.c_void_p
        for _ in range(3):
            block = library.malloc(ctypes.c_size_t(size))
            ends = (block + HUGE_PAGE, block + size)
            found.extend("hg" in flags(address) for address in ends)
            library.free(ctypes.c_void_p(block))

    thread = threading.Thread(target=allocate)
    thread.start()
    thread.join()
    assert found == [True] * 6


def flags(address: int) -> list[str]:
    """The kernel's flags of the memory at an address of this process."""
    is_there = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first, *others = line.split()
        if first == "VmFlags:" and is_there:
            return others
        if not first.endswith(":"):
            start, _, end = first.partition("-")
            is_there = int(start, 16) <= address < int(end, 16)
    return []
