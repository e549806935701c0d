"""What counts bytes sent, FLOP a second, and operations of a step."""

import socket
from pathlib import Path

import pytest

from workshop_utils.measure import matrix_product, socket_bytes
from workshop_utils.measure.matrix_product import product_flops_per_second
from workshop_utils.measure.operations import operations_of_a_step
from workshop_utils.measure.socket_bytes import bytes_sent_over_tcp

LINUX = pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="only Linux counts what a socket sends")


@LINUX
def test_bytes_sent_over_tcp_are_counted_to_the_byte() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
        server.accept()[0] as peer,
    ):
        before = bytes_sent_over_tcp()
        client.sendall(b"x" * 12_345)
        received = 0
        while received < 12_345:
            received += len(peer.recv(65_536))
        after = bytes_sent_over_tcp()
    assert before is not None
    assert after is not None
    assert after - before == 12_345


@LINUX
def test_bytes_that_wait_for_a_slow_receiver_count() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
        server.accept()[0],  # which never reads
    ):
        client.setblocking(False)
        before, written = bytes_sent_over_tcp(), 0
        with pytest.raises(BlockingIOError):
            while True:
                written += client.send(b"x" * 65_536)
        after = bytes_sent_over_tcp()
    assert before is not None
    assert after is not None
    assert after - before == written


@LINUX
def test_looking_closes_no_socket() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        bytes_sent_over_tcp()
        assert server.fileno() >= 0
        with socket.create_connection(server.getsockname()):
            pass


def test_where_the_system_does_not_count_there_is_no_number(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(socket_bytes, "DESCRIPTORS", tmp_path / "none")
    assert bytes_sent_over_tcp() is None


def test_a_matrix_product_has_a_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix_product, "CPU_WIDTH", 64)
    assert product_flops_per_second("cpu", "float32") > 1e6


def test_a_step_of_a_llama_is_some_forty_operations_a_layer() -> None:
    counts = operations_of_a_step("smollm2-135m")
    layers = 30
    # Q, K, V, output, gate, up and down in every layer, and the head.
    assert counts["linear"] == 7 * layers + 1
    assert counts["scaled_dot_product_attention"] == counts["silu"] == layers
    assert 35 * layers < counts.total() < 45 * layers
    assert not {"view", "transpose", "slice", "unsqueeze"} & counts.keys()


def test_llama_8b_starts_about_1300_operations_a_token() -> None:
    assert 1250 < operations_of_a_step("llama-3.1-8b").total() < 1350
