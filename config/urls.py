"""Every address that this service answers."""

from django.urls import include, path
from django.views.generic import RedirectView

from mirroring.web import exposition, git_http, health, slack
from mirroring.web.admin import site

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", site.urls),
    path("git/<str:group>/<str:name>.git/info/refs", git_http.info_refs),
    path("git/<str:group>/<str:name>.git/git-upload-pack", git_http.upload_pack),
    path("git/<path:rest>", git_http.refuse),
    path("chatops/slack", slack.command),
    path("api/", include("mirroring.web.api.urls")),
    path("-/livez", health.livez),
    path("-/readyz", health.readyz, name="readyz"),
    path("-/version", health.version),
    path("metrics", exposition.metrics_view, name="metrics"),
]
