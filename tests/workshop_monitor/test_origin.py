"""Jupyter's own rule for origins, in a server that was not told to allow all of them.

A browser comes with its login cookie. (Jupyter checks no origin for a request with a token: a foreign page
has none.)
"""

import pytest
from tornado.httpclient import HTTPClientError

FRIEND = "https://ondemand.example.org"


@pytest.fixture
def jp_server_config():
    return {
        "ServerApp": {
            "jpserver_extensions": {"workshop_monitor": True},
            "allow_unauthenticated_access": False,
            "allow_origin": FRIEND,
        },
        "IdentityProvider": {"cookie_name": "login"},
    }


@pytest.fixture
def open_from(jp_fetch, jp_ws_fetch, jp_serverapp):
    async def connect(origin):
        token = jp_serverapp.identity_provider.token
        login = await jp_fetch("api", "status", params={"token": token}, headers={"Authorization": ""})
        cookies = [cookie.partition(";")[0] for cookie in login.headers.get_list("Set-Cookie")]
        headers = {"Authorization": "", "Cookie": "; ".join(cookies), "Origin": origin}
        return await jp_ws_fetch("workshop-monitor", "stream", headers=headers)

    return connect


async def test_foreign_origin_is_403_though_the_reader_is_logged_in(open_from):
    with pytest.raises(HTTPClientError) as refused:
        await open_from("https://evil.example.com")
    assert refused.value.code == 403


async def test_allowed_origin_is_let_in(open_from):
    socket = await open_from(FRIEND)
    assert '"hello"' in await socket.read_message()
    socket.close()
