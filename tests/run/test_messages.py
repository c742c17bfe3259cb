"""Messages and captured output arrive whole, or not at all, and are read without blocking."""

import multiprocessing
import os
import struct
import threading

import pytest
import torch

from nodebench.trial.messages import Inbox, send
from nodebench.trial.output import Output


@pytest.fixture
def pipe():
    reader, writer = multiprocessing.Pipe(duplex=False)
    with reader, writer:
        yield reader, writer


def test_messages_arrive_in_their_order(pipe):
    reader, writer = pipe
    inbox = Inbox(reader)
    assert inbox.read() == []
    for message in ("first", {"second": 2}):
        send(writer, message)
    assert inbox.read() == ["first", {"second": 2}]
    assert not inbox.closed
    writer.close()
    assert inbox.read() == []
    assert inbox.closed


def test_a_message_that_was_cut_off_neither_blocks_nor_counts(pipe):
    reader, writer = pipe
    inbox = Inbox(reader)
    send(writer, "whole")
    os.write(writer.fileno(), struct.pack("!Q", 1 << 40) + b"the rest is missing")
    assert inbox.read() == ["whole"]
    assert inbox.empty
    writer.close()
    assert inbox.read() == []
    assert inbox.closed


def test_a_message_larger_than_the_pipe_arrives(pipe):
    reader, writer = pipe
    inbox, large = Inbox(reader), os.urandom(3_000_000)
    sender = threading.Thread(target=send, args=(writer, large))
    sender.start()
    found = []
    while not found:
        found = inbox.read()
    sender.join()
    assert found == [large]


def test_a_tensor_is_sent_by_value(pipe):
    """Its sender may have ended before it is read."""
    reader, writer = pipe
    if not (child := os.fork()):
        send(writer, torch.arange(3))
        os._exit(0)
    os.waitpid(child, 0)
    (found,) = Inbox(reader).read()
    assert found.tolist() == [0, 1, 2]


def test_short_output_is_kept_whole(pipe):
    reader, writer = pipe
    os.write(writer.fileno(), b"one\ntwo \xff\n")
    output = Output(reader)
    output.read()
    assert output.lines() == ["one", "two \ufffd"]


def test_long_output_keeps_its_beginning_and_its_end(pipe):
    reader, writer = pipe
    output = Output(reader)
    for number in range(20_000):
        os.write(writer.fileno(), b"line %d\n" % number)
        if number % 1000 == 0:
            output.read()
    output.read()
    lines = output.lines()
    assert lines[:2] == ["line 0", "line 1"]
    assert lines[-1] == "line 19999"
    assert sum("bytes left out" in line for line in lines) == 1
    assert len(lines) < 30
