"""The form of a credential. A secret can be typed into it, and is in no page that the server makes."""

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms

from mirroring import catalog
from mirroring.models import Credential
from mirroring.web.admin.mirror_form import PatternsField

if TYPE_CHECKING:
    _Form = forms.ModelForm[Credential]
else:
    _Form = forms.ModelForm

ELSEWHERE = ("hosts", "allow_http", "username", "app_id", "installation_id", "api_url")
"""The fields that decide to whom a secret is shown, and as whose: changed together with the secret only."""


class SecretInput(forms.Textarea):
    """An input that shows nothing of what was typed or kept, also not beside an error."""

    def format_value(self, value: Any) -> str:
        """Show nothing."""
        return ""


class CredentialForm(_Form):
    """Name, hosts and secret, checked as the command line checks them."""

    hosts = PatternsField(
        help_text="One a line, for example git.example.org or git.example.org:8443. It is sent to no other."
    )
    secret = forms.CharField(
        required=False,
        strip=False,
        widget=SecretInput(attrs={"rows": 4, "cols": 60, "autocomplete": "off", "spellcheck": "false"}),
        help_text="Password, token or private key. It is sealed and never shown.",
    )
    generate = forms.BooleanField(
        required=False, label="Make an SSH key here", help_text="Its public half is shown afterwards."
    )

    class Meta:
        model = Credential
        fields: ClassVar = (
            "name",
            "group",
            "kind",
            "hosts",
            "username",
            "secret",
            "generate",
            "expires_at",
            "allow_http",
            "app_id",
            "installation_id",
            "api_url",
        )
        help_texts: ClassVar = {
            "username": "Goes with a password. Beside a token any name does.",
            "app_id": "Of a GitHub App only.",
            "installation_id": "Of a GitHub App only.",
            "api_url": "Of a GitHub App, where it is not on github.com: https://HOST/api/v3",
        }

    def given(self) -> catalog.Given:
        """Return what was typed."""
        values = self.cleaned_data
        return catalog.Given(
            secret="" if values["generate"] else values["secret"],
            hosts=tuple(values["hosts"]),
            expires_at=values["expires_at"],
            **{name: values[name] for name in ELSEWHERE if name != "hosts"},
        )

    def clean(self) -> dict[str, Any]:
        """Refuse to send a kept secret elsewhere: who wants that has to know it."""
        values = super().clean() or self.cleaned_data
        if self.instance.pk and not self.has_secret and set(self.changed_data) & set(ELSEWHERE):
            self.add_error("secret", "Give the secret anew: these fields decide who is shown it")
        return values

    @property
    def has_secret(self) -> bool:
        """Say whether there is a new secret, typed or to be made."""
        return bool(self.cleaned_data.get("secret") or self.cleaned_data.get("generate"))
