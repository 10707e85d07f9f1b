"""The four ways in, each as one object with the same verbs: the admin's forms, two commands, and the API."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from typing import Any

WAYS = ("admin", "cli", "chatops", "api")


@dataclass(frozen=True)
class Done:
    """Whether it was done, and what was said."""

    ok: bool
    text: str


class Admin:
    """Somebody who fills in the forms."""

    def __init__(self, client: Any) -> None:
        from django.contrib.auth.models import User

        client.force_login(User.objects.create_superuser("ada"))
        self._client = client

    def _post(self, flag: str, **form: Any) -> Done:
        answer = self._client.post(f"/admin/mirroring/flag/{flag}/set/", form, follow=True)
        if answer.status_code == 404:
            return Done(False, "not found")
        said = list(answer.context["messages"])
        return Done(all(message.level_tag != "error" for message in said), "\n".join(map(str, said)))

    def set(self, flag: str, value: object, *, why: str = "", override: tuple[str, ...] = ()) -> Done:
        form = {"why": why, "override": list(override)}
        if isinstance(value, bool):
            return self._post(flag, to="on" if value else "off", **form)
        return self._post(flag, to="percentage", percentage=str(value), **form)

    def list_actor(self, flag: str, actor: str, *, on: bool = True) -> Done:
        return self._post(flag, to="add" if on else "remove", actor=actor)

    def delete(self, flag: str) -> Done:
        return self._post(flag, to="default")


class Words:
    """Somebody who types commands: the verbs become words, and `_run` says where they go."""

    def _run(self, *words: str) -> Done:
        raise NotImplementedError

    def set(self, flag: str, value: object, *, why: str = "", override: tuple[str, ...] = ()) -> Done:
        text = str(value).lower() if isinstance(value, bool) else str(value)
        share = [] if isinstance(value, bool) else ["--actors"]
        gates = [word for gate in override for word in ("--override", gate)]
        return self._run("set", flag, text, *share, *gates, *(["--why", why] if why else []))

    def list_actor(self, flag: str, actor: str, *, on: bool = True) -> Done:
        kind, _, name = actor.partition(":")
        return self._run("set", flag, str(on).lower(), f"--{kind}", name)

    def delete(self, flag: str) -> Done:
        return self._run("delete", flag)


class Command(Words):
    """`manage.py NAME ...`, in this process."""

    def __init__(self, name: str, *first: str) -> None:
        self._name, self._first = name, first

    def _run(self, *words: str) -> Done:
        from django.core.management import load_command_class

        command = load_command_class("mirroring", self._name)
        typed = [*self._first, *words]
        options = vars(command.create_parser("manage.py", self._name).parse_args(typed))
        out, err = StringIO(), StringIO()
        try:
            command.execute(*options.pop("args", ()), **{**options, "stdout": out, "stderr": err})
        except SystemExit as ended:
            return Done(not ended.code, out.getvalue() + err.getvalue())
        return Done(True, out.getvalue() + err.getvalue())


class Api:
    """A client with a token."""

    def __init__(self, client: Any) -> None:
        from mirroring.models.api_token import ApiToken, Scope

        self._client = client
        self._token = ApiToken.issue(
            "tests", scopes=[Scope.WRITE_FLAGS], by="ada", now=datetime.now(tz=UTC), expires_at=None
        )[1]

    def _call(self, method: str, flag: str, body: dict[str, Any]) -> Done:
        answer = getattr(self._client, method)(
            f"/api/v4/features/{flag}",
            json.dumps(body),
            content_type="application/json",
            headers={"PRIVATE-TOKEN": self._token},
        )
        return Done(answer.status_code < 400, answer.content.decode())

    def set(self, flag: str, value: object, *, why: str = "", override: tuple[str, ...] = ()) -> Done:
        share = {} if isinstance(value, bool) else {"key": "percentage_of_actors"}
        return self._call("post", flag, {"value": value, "why": why, "override": list(override), **share})

    def list_actor(self, flag: str, actor: str, *, on: bool = True) -> Done:
        kind, _, name = actor.partition(":")
        field = {"mirror": "project"}.get(kind, kind)
        return self._call("post", flag, {"value": on, field: name})

    def delete(self, flag: str) -> Done:
        return self._call("delete", flag, {})


def open_way(name: str, client: Any) -> Any:
    """Return a way in by its name."""
    match name:
        case "admin":
            return Admin(client)
        case "cli":
            return Command("feature")
        case "chatops":
            return Command("chatops", "run", "feature")
        case _:
            return Api(client)
