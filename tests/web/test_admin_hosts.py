"""A host's page: the way there and its SSH keys, changed by acts of the catalog and by nobody who may not."""

import pytest
from django.contrib.auth.models import Permission

from mirroring.models import Host
from mirroring.upstream.access.ssh import fingerprint
from tests.lab.fixtures import needs_sshd
from tests.lab.ssh_server import SshServer

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]


@pytest.fixture
def host(db):
    return Host.objects.create(name="git.test")


def page(client, host):
    answer = client.get(f"/admin/mirroring/host/{host.pk}/change/")
    assert answer.status_code == 200
    return answer.content.decode()


def act(client, host, verb, **data):
    answer = client.post(f"/admin/mirroring/host/{host.pk}/route/{verb}/", data, follow=True)
    host.refresh_from_db()
    return answer


def test_the_way_to_a_host_is_set_on_its_page(signed_in, host):
    act(signed_in, host, "set", proxy="http://p.test:3128/", ca_bundle="", client_certificate="")

    assert host.proxy == "http://p.test:3128"
    assert 'value="http://p.test:3128"' in page(signed_in, host)


def test_what_the_catalog_refuses_is_a_message_and_changes_nothing(signed_in, host):
    answer = act(signed_in, host, "set", proxy="http://me:secret@p.test")

    assert "without user name" in answer.content.decode()
    assert host.proxy == ""


def test_who_may_only_look_sees_the_page_and_changes_nothing(client, django_user_model, host):
    viewer = django_user_model.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_host"))
    client.force_login(viewer)

    assert "Save the way" not in page(client, host)
    assert act(client, host, "set", proxy="http://p.test:3128").status_code == 403
    assert host.proxy == ""


def test_nothing_happens_by_a_link(signed_in, host):
    assert signed_in.get(f"/admin/mirroring/host/{host.pk}/route/look/").status_code == 405


@needs_sshd
def test_a_key_is_fetched_shown_and_pinned_only_by_its_typed_fingerprint(signed_in, tmp_path):
    with SshServer(tmp_path / "sshd") as sshd:
        host = Host.objects.create(name=f"127.0.0.1:{sshd.port}")
        mark = fingerprint(sshd.host_key)

        assert mark in act(signed_in, host, "look").content.decode()
        assert host.known_hosts == []
        act(signed_in, host, "trust", fingerprint="SHA256:other")
        assert host.known_hosts == []
        act(signed_in, host, "trust", fingerprint=mark)
        assert host.known_hosts == [sshd.host_key]
        act(signed_in, host, "distrust", fingerprint=mark)
        assert host.known_hosts == []
