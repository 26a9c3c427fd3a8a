import os
import subprocess
import sys
from pathlib import Path

from bench.machine import machine_facts, process_tree, usage


def test_the_tree_of_a_process_holds_its_children() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert {os.getpid(), child.pid} <= set(process_tree(os.getpid()))
        assert usage(child.pid).processes == 1
        assert usage(child.pid).rss_mib > 0
    finally:
        child.communicate()
    assert process_tree(child.pid) == []
    assert usage(child.pid).processes == 0


def test_the_facts_name_what_one_needs_to_compare_two_runs(tmp_path: Path) -> None:
    facts = machine_facts(tmp_path)
    assert facts["cores"] >= 1
    assert facts["memory_gib"] > 0
    assert facts["filesystem"] not in ("", "unknown")
