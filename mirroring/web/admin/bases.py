"""What our admin pages have in common."""

from typing import TYPE_CHECKING, Any, TypeVar

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

M = TypeVar("M", bound=Model)

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin
    TabularInline = admin.TabularInline
else:

    class _Subscriptable:
        """Lets a class say which models it is of; only type checkers listen."""

        def __class_getitem__(cls, _models: object) -> type:
            return cls

    class ModelAdmin(_Subscriptable, admin.ModelAdmin):
        """Django's class."""

    class TabularInline(_Subscriptable, admin.TabularInline):
        """Django's class."""


class Page(ModelAdmin[M]):
    """A list and its pages, cheap for any number of rows."""

    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50

    class Media:
        css = {"all": ["mirroring/admin.css"]}


class ReadOnlyPage(Page[M]):
    """A list that shows what the system wrote."""

    def has_add_permission(self, request: HttpRequest, *arguments: Any) -> bool:
        """Refuse: the system adds these."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: the system changes these."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: the system deletes these."""
        return False
