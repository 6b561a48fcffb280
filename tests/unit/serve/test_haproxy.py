"""HAProxy's configuration as we want it, and the program that edits it."""

import subprocess

import pytest

from raymle.serve import haproxy

RAYS = """global
    log 127.0.0.1:514 local0 info
    stats socket /tmp/x/admin.sock mode 666 level admin expose-fd listeners
defaults
    mode http
    timeout connect 5s
    timeout client 3600s
    log global
    option httplog
    errorfile 502 /tmp/x/500.http
    errorfile 503 /tmp/x/500.http
    errorfile 504 /tmp/x/500.http
frontend prometheus
    bind :9101
    mode http
    http-request use-service prometheus-exporter if { path /metrics }
    no log
frontend http_frontend
    bind 127.0.0.1:8123
    acl healthcheck path -i /-/healthz
    default_backend default_backend
backend default_backend
    http-request return status 404
backend flights
    default-server inter 1s fastinter 250ms
    server one 127.0.0.1:9001 check observe layer4 error-limit 10 on-error mark-down
    server fallback 127.0.0.1:9002 check backup
listen stats
  bind *:8404
  stats enable
"""


@pytest.fixture
def edited():
    return haproxy.edited(RAYS, unavailable="/tmp/x/503.http", at_once=264)


def test_only_the_service_listens(edited):
    assert [line.strip() for line in edited.splitlines() if line.strip().startswith("bind")] == ["bind 127.0.0.1:8123"]


def test_only_its_own_account_may_command_it(edited):
    assert "mode 600 level admin" in edited


def test_a_replica_that_is_gone_is_a_503_to_be_tried_again(edited):
    assert edited.count("/tmp/x/503.http") == 3
    assert b"503 Service Unavailable" in haproxy.UNAVAILABLE
    assert b"Retry-After: 1" in haproxy.UNAVAILABLE
    assert "status 404" not in edited  # what it says while it knows no replica


def test_a_replica_is_given_no_more_than_it_can_bear(edited):
    assert "server one 127.0.0.1:9001 check maxconn 264 observe layer4" in edited
    assert "server fallback 127.0.0.1:9002 check maxconn 264 backup" in edited
    assert "timeout queue 1s" in edited


def test_a_replica_that_has_a_lot_to_do_is_not_called_dead(edited):
    assert "timeout check 3s" in edited


def test_a_silent_client_does_not_keep_a_connection_for_an_hour(edited):
    assert "timeout client 75s" in edited
    assert "timeout http-request 15s" in edited


def test_with_a_certificate_the_service_speaks_tls():
    found = haproxy.edited(RAYS, unavailable="/x", at_once=264, certificate="/c.pem")
    assert "bind 127.0.0.1:8123 ssl crt /c.pem alpn http/1.1 ssl-min-ver TLSv1.2" in found


def test_editing_twice_is_editing_once(edited):
    again = haproxy.edited(edited, unavailable="/tmp/x/503.http", at_once=264)
    assert again.count("http-request set-header") == edited.count("http-request set-header") == 1
    assert again.count("timeout http-request") == 1


def test_haproxy_itself_takes_the_edited_configuration(tmp_path):
    config = tmp_path / "haproxy.cfg"
    config.write_text(RAYS.replace("/tmp/x", str(tmp_path)))
    (tmp_path / "500.http").write_text("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
    program = haproxy.install(tmp_path, at_once=264)
    done = subprocess.run([program, "-c", "-f", config], capture_output=True, text=True, check=False, env={})
    assert done.returncode == 0, done.stderr
    assert program.stat().st_mode & 0o077 == 0
    assert "9101" not in config.read_text()
