"""The form of a mirror's configuration. It has no field of its state, and it does not write: the catalog does."""

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms

from mirroring.catalog.errors import CatalogError
from mirroring.catalog.wanted import Refs, check_refs, check_url, read_url
from mirroring.models import Mirror, RefSelection

if TYPE_CHECKING:
    _Form = forms.ModelForm[Mirror]
else:
    _Form = forms.ModelForm


class PatternsField(forms.CharField):
    """Ref patterns, one a line."""

    widget = forms.Textarea(attrs={"rows": 4, "cols": 60, "spellcheck": "false"})

    def prepare_value(self, value: Any) -> Any:
        """Show a list as lines."""
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> list[str]:  # type: ignore[override]
        """Return the lines that are not empty."""
        return [line.strip() for line in str(value or "").splitlines() if line.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare the lists, not their texts."""
        return self.to_python(data) != list(initial or [])


class MirrorForm(_Form):
    """Group, name, URL and refs, checked as the command line checks them."""

    ref_patterns = PatternsField(
        required=False,
        help_text="One a line, for example refs/heads/release/*. For the selection by patterns only.",
    )

    class Meta:
        model = Mirror
        fields = ("group", "name", "url", "credential", "ref_selection", "ref_patterns", "on_divergence")
        widgets: ClassVar = {
            "name": forms.TextInput(attrs={"size": 60, "spellcheck": "false"}),
            "url": forms.TextInput(attrs={"size": 90, "spellcheck": "false"}),
        }

    def clean_url(self) -> str:
        """Return the URL in its normal form; one that stays as it is is not judged again."""
        try:
            url = read_url(self.cleaned_data["url"]).url
            return url if url == self.initial.get("url") else check_url(url).url
        except CatalogError as refused:
            raise forms.ValidationError(str(refused)) from None

    def clean(self) -> dict[str, Any]:
        """Check what concerns several fields."""
        values = super().clean() or self.cleaned_data
        try:
            self.refs()
        except CatalogError as refused:
            self.add_error("ref_patterns", str(refused))
        if {"group", "name"} <= values.keys():
            others = Mirror.objects.exclude(pk=self.instance.pk).filter(deleted_at=None)
            if others.filter(group=values["group"], name=values["name"]).exists():
                self.add_error(
                    "name", "Another mirror of that group has that name: choose another name or group"
                )
        return values

    def refs(self) -> Refs:
        """Return which refs are to be kept. Raise Invalid."""
        values = self.cleaned_data
        return check_refs(values.get("ref_selection", RefSelection.DEFAULT), values.get("ref_patterns", []))
