"""Addresses below /api/."""

from django.urls import path

from mirroring.web.api import access, chatops, credentials, features, flags

urlpatterns = [
    path("v4/version", features.version),
    path("v4/features", features.listed),
    path("v4/features/", features.listed),
    path("v4/features/definitions", features.defined),
    path("v4/features/<str:name>", features.feature),
    path("v4/features//<str:name>", features.feature),  # So python-gitlab writes it when it sets a flag.
    path("flags", flags.listed),
    path("flags/audit", flags.export),
    path("flags/audit/verdict", flags.verdict),
    path("flags/<str:name>", flags.one),
    path("flags/<str:name>/audit", flags.changes),
    path("flags/<str:name>/rollout", flags.rollout),
    path("status", flags.running),
    path("credentials", credentials.all_of_them),
    path("credentials/<path:name>", credentials.one),
    path("chatops/run", chatops.run),
    path("<path:rest>", access.nothing_here),
]
