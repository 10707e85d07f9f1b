import re

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from tests.trial import FIRST

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(client):
    client.force_login(User.objects.create_superuser("root"))
    return client


def page(client, rollout):
    return client.get(reverse("admin:mirroring_rollout_change", args=[rollout.pk]))


def act(client, rollout, what, **more):
    return client.post(reverse("admin:mirroring_rollout_act", args=[rollout.pk]), {"act": what, **more})


def test_the_page_has_a_curve_for_each_guard_with_its_bound_and_the_steps(course, admin):
    rollout = course.start()
    course.samples(6, 20)
    course.drive(20)
    body = page(admin, rollout).content.decode()

    assert body.count("<polyline") == body.count("<title>bound</title>") == 7
    assert body.count("<title>step 1 of 1: on, here</title>") == 7
    assert len(re.search(r'points="([^"]+)"', body)[1].split()) == 15
    assert "redis_calls at most 1.2 times before" in body


def test_its_buttons_pause_resume_and_abort(course, admin):
    from mirroring.models import Rollout

    rollout = course.start()
    act(admin, rollout, "pause", why="lunch")
    assert Rollout.objects.get().state == "paused"
    act(admin, rollout, "resume")
    assert Rollout.objects.get().state == "running"
    act(admin, rollout, "abort", why="enough")

    assert Rollout.objects.get().state == "aborted"
    assert not course.on()


def test_one_who_may_not_change_flags_sees_no_buttons_and_cannot_press_them(course, client):
    from django.contrib.auth.models import Permission

    rollout = course.start()
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_rollout"))
    client.force_login(viewer)

    assert "Abort" not in page(client, rollout).content.decode()
    assert act(client, rollout, "abort").status_code == 403
    assert course.on()


def test_a_get_changes_nothing(course, admin):
    rollout = course.start()

    assert admin.get(reverse("admin:mirroring_rollout_act", args=[rollout.pk])).status_code == 405


def test_the_list_names_every_rollout(course, admin):
    course.start()

    assert FIRST in admin.get(reverse("admin:mirroring_rollout_changelist")).content.decode()
