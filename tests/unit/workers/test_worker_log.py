"""Where the output of a worker's latest incarnation is."""

from pathlib import Path

from phyletic.workers.worker_log import log_header, output_place, output_tail


def test_the_latest_incarnation_says_where_its_output_is(tmp_path: Path) -> None:
    log = tmp_path / "worker-0.log"
    assert output_place(log.parent / "none.log") == str(log.parent / "none.log")
    log.write_text(log_header("worker-0", 1, "0" * 32, "10.0.0.1") + "\nhello\n")
    assert output_place(log) == f"{log} on node 10.0.0.1"
    with log.open("a") as file:
        file.write(log_header("worker-0", 2, "1" * 32, "10.0.0.2", "/logs/w 0.log") + "\n")
    assert output_place(log) == "/logs/w 0.log on node 10.0.0.2"
    with log.open("a") as file:
        file.write(log_header("worker-0", 3, "2" * 32) + "\nfrom this machine\n")
    assert output_place(log) == str(log)
    assert output_tail(log).splitlines()[1:] == ["from this machine"]
