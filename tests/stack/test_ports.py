import socket

import pytest

from mirroring.stack import ports
from mirroring.stack.errors import StackError

pytestmark = pytest.mark.one_database


def test_a_port_that_is_taken_is_named_with_the_variable_that_changes_it():
    with socket.socket() as other:
        other.bind((ports.LOOPBACK, 0))
        other.listen()
        port = other.getsockname()[1]

        with pytest.raises(StackError, match=rf"^Port {port} on 127.0.0.1 .*WEB_PORT=NUMBER") as caught:
            ports.require_free(port, host=ports.LOOPBACK, variable="WEB_PORT")

    assert "\n" not in str(caught.value)


def test_a_free_port_can_be_listened_on():
    port = ports.free_port()

    ports.require_free(port, host=ports.LOOPBACK, variable="WEB_PORT")
    with socket.socket() as mine:
        mine.bind((ports.LOOPBACK, port))
