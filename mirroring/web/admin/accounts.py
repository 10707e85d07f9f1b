"""Who may sign in."""

from django.contrib.auth.admin import UserAdmin


class AccountAdmin(UserAdmin):  # type: ignore[type-arg]  # It is generic to type checkers only.
    """Django's page, without its groups: here a group is what owns mirrors."""

    class Media:
        css = {"all": ["mirroring/admin.css"]}

    list_filter = ("is_staff", "is_superuser", "is_active")
    filter_horizontal = ("user_permissions",)
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("May", {"fields": ("is_active", "is_staff", "is_superuser", "user_permissions")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
