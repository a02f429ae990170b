"""Text as it comes, over a real Redis: in order, gone after a while, and never waited for."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from redis import Redis

from workers.queues.told import KEEP_S, Piece, TextReader, TextWriter, Untold


@pytest.fixture
def writer(redis_url: str) -> Iterator[TextWriter]:
    opened = TextWriter(redis_url)
    yield opened
    opened.close()


@pytest.fixture
def reader(redis_url: str) -> Iterator[TextReader]:
    opened = TextReader(redis_url)
    yield opened
    opened.close()


def piece(number: int, choice: int = 0) -> Piece:
    return Piece(choice, number, 1, number, "é", [{"token": "é"}] if number == 1 else None)


def test_pieces_arrive_in_order_after_the_last_one_seen(writer: TextWriter, reader: TextReader) -> None:
    for number in range(3):
        writer.put("job_a", 0, piece(number))
    writer.put("job_a", 1, piece(7, choice=2))
    writer.close()

    first = list(reader.read("job_a", {0: "0", 1: "0"}, 1.0))
    seen = {index: place for index, place, _ in first}
    rest = list(reader.read("job_a", seen, 0.05))

    assert [one for index, _, one in first if index == 0] == [piece(number) for number in range(3)]
    assert [one for index, _, one in first if index == 1] == [piece(7, choice=2)]
    assert rest == []


def test_a_reader_wakes_with_the_first_piece(writer: TextWriter, reader: TextReader) -> None:
    writer.put("job_b", 0, piece(0))
    start = time.monotonic()
    found = list(reader.read("job_b", {0: "0"}, 1.9))

    assert [one for _, _, one in found] == [piece(0)]
    assert time.monotonic() - start < 1.5


def test_streams_expire(writer: TextWriter, redis_url: str) -> None:
    for number in range(3):
        writer.put("job_c", 0, piece(number))
    writer.close()
    client = Redis.from_url(redis_url.replace("redis+socket://", "unix://"))

    left_s = client.ttl("skim:told:job_c:0")
    client.close()

    assert 0 < int(left_s) <= KEEP_S


def test_a_writer_that_dies_in_the_middle_leaves_nothing_that_stays(redis_url: str) -> None:
    """Whatever it sent before the order to expire has arrived, and no more."""
    client = Redis.from_url(redis_url.replace("redis+socket://", "unix://"))
    before = set(client.keys("skim:told:*"))
    with cut_before(b"EXPIRE", client) as address:
        writer = TextWriter(address)
        writer.put("job_cut", 0, piece(0))
        writer.close(1.0)

    stays = [key for key in set(client.keys("skim:told:*")) - before if client.ttl(key) == -1]
    client.close()

    assert stays == []


@contextmanager
def cut_before(word: bytes, client: Redis) -> Iterator[str]:
    """A way to the client's server that ends just before this word; yields its address."""
    options = client.connection_pool.connection_kwargs
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as real:
        real.connect(options["path"])
        thread = threading.Thread(target=carry, args=(server, real, word))
        thread.start()
        yield f"redis://:{options['password']}@127.0.0.1:{server.getsockname()[1]}/0"
        thread.join()


def carry(server: socket.socket, real: socket.socket, word: bytes) -> None:
    """Bytes of one client there, and answers back."""
    client, _ = server.accept()
    with client:
        while not (sent := client.recv(1 << 16)).count(word):
            real.sendall(sent)
            client.sendall(real.recv(1 << 16))
        real.sendall(sent.partition(word)[0])
        select.select([real], [], [], 0.5)  # what it says to that, if anything: by then it has read it all


def test_a_frozen_server_holds_no_writer_and_is_told_to_readers() -> None:
    """It accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        address = f"redis://127.0.0.1:{frozen.getsockname()[1]}/0"
        writer, reader = TextWriter(address), TextReader(address)
        start = time.monotonic()
        for number in range(20_000):
            writer.put("job_d", 0, piece(number))
        elapsed_s = time.monotonic() - start
        with pytest.raises(Untold):
            list(reader.read("job_d", {0: "0"}, 0.1))
        reader.close()

    assert elapsed_s < 2
