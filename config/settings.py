"""Django settings. Everything that differs between deployments comes from the environment, read strictly.

What an operator may change while the system runs (capacity, delays, leases, ticks) is not here: it is one
database row, `mirroring.models.SchedulingSettings`.
"""

import json
import secrets
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

from mirroring.upstream.policy.guard import VARIABLE, AllowList

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()


def _state_folder() -> Path:
    folder = Path(env.str("MIRRORING_STATE", default=str(BASE_DIR / "var"))).expanduser().resolve()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ImproperlyConfigured(
            f"The state folder {folder} is not a folder: set MIRRORING_STATE to one that you may write"
        ) from None
    except OSError as error:
        raise ImproperlyConfigured(
            f"The state folder {folder} cannot be made ({error.strerror}): "
            "set MIRRORING_STATE to a folder that you may write"
        ) from None
    return folder


def _secret_key(folder: Path) -> str:
    """Return SECRET_KEY, or the key kept in the state folder, made at the first start with mode 0600."""
    given: str = env.str("SECRET_KEY", default="")
    if given:
        return given
    path = folder / "secret_key"
    if not path.exists():
        # Written beside and linked in, so that of several first processes one wins and none reads half a key.
        draft = folder / f".secret_key.{secrets.token_hex(4)}"
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(50))
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()


def _redis_url(folder: Path) -> str:
    """Return REDIS_URL, or the URL of the private server of the stack that runs on the state folder."""
    given: str = env.str("REDIS_URL", default="")
    if given:
        if not given.startswith(("redis://", "rediss://", "unix://")):
            raise ImproperlyConfigured("REDIS_URL must start with redis://, rediss:// or unix://")
        return given
    return str(_card(folder).get("redis_url", "redis://127.0.0.1:6379/0"))


def _card(folder: Path) -> dict[str, Any]:
    """Return what a running stack wrote about itself into the state folder; empty if none runs."""
    try:
        card: dict[str, Any] = json.loads((folder / "stack.json").read_text())
    except (OSError, ValueError):
        return {}
    return card


def _number(name: str, default: int, *, low: int, high: int) -> int:
    """Return a whole number of the environment, or raise with what would be right."""
    text: str = env.str(name, default=str(default))
    if not text.isdecimal() or not low <= int(text) <= high:
        raise ImproperlyConfigured(f"{name} is {text!r}: set it to a whole number from {low} to {high}")
    return int(text)


def _database(folder: Path) -> dict[str, Any]:
    """Return the database of DATABASE_URL, or the SQLite file in the state folder."""
    url: str = env.str("DATABASE_URL", default="") or f"sqlite:///{folder / 'db.sqlite3'}"
    if not url.startswith(("sqlite://", "postgres://", "postgresql://")):
        raise ImproperlyConfigured(
            "DATABASE_URL must start with postgresql:// or sqlite:///, for example postgresql://USER@HOST/NAME"
        )
    database: dict[str, Any] = env.db_url_config(url)
    if database["ENGINE"] == "django.db.backends.sqlite3":
        # With the defaults, four writers saw 364 "database is locked" errors in five seconds; with these, none.
        return database | {
            "OPTIONS": {
                "timeout": 20,
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            }
        }
    # What has run five times on a connection is parsed and planned no more: docs/adr/0019.
    prepares = env.bool("DATABASE_PREPARES", default=True)
    prepared = {"server_side_binding": True, "prepare_threshold": 5} if prepares else {}
    options = {"connect_timeout": 5} | prepared | database.get("OPTIONS", {})
    return database | {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True, "OPTIONS": options}


def _allowed_upstreams(folder: Path) -> AllowList:
    """Return the private networks and hosts which mirrors may be fetched from.

    They are those of ALLOW_PRIVATE_UPSTREAMS; where it is not set at all, those that the running stack was given.
    """
    given: str = env.str(VARIABLE, default=_card(folder).get("environment", {}).get(VARIABLE, ""))
    try:
        return AllowList.parse(given.split(","))
    except ValueError as error:
        raise ImproperlyConfigured(f"{VARIABLE}: {error}") from None


STATE_DIR = _state_folder()
SECRET_KEY = _secret_key(STATE_DIR)
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
# What credentials are sealed by, the first key sealing: docs/credentials.md. Without it, a file made at first use.
CREDENTIAL_KEYS = env.list("CREDENTIAL_KEYS", default=[])
CREDENTIAL_KEYS_FILE = STATE_DIR / "credential_keys"
DEBUG = env.bool("DEBUG", default=False)
REDIS_URL = _redis_url(STATE_DIR)
REPOSITORIES_DIR = Path(env.str("MIRRORING_REPOSITORIES", default=str(STATE_DIR / "repositories")))
GIT = env.str("MIRRORING_GIT", default="git")
ALLOW_PRIVATE_UPSTREAMS = _allowed_upstreams(STATE_DIR)
IMPORT_SLOTS = _number("IMPORT_SLOTS", 8, low=1, high=10_000)
TRACKER_ARM = env.str("MIRRORING_TRACKER_ARM", default="product")  # Another is for trying the guards.
GIT_MEMORY_MB = _number("GIT_MEMORY_MB", 4096, low=64, high=1_000_000)
# For rehearsals: seconds that each job waits before the door, so that the queue is slow. 0 otherwise.
SCHEDULING_DELAY = env.float("MIRRORING_SCHEDULING_DELAY", default=0.0)
DRAIN_SECONDS = _number("DRAIN_SECONDS", 25, low=0, high=86_400)
STALL_SECONDS = _number("STALL_SECONDS", 60, low=5, high=86_400)
REVISION = env.str("MIRRORING_REVISION", default="")
WEB_HOST = env.str("WEB_HOST", default="127.0.0.1")
WEB_PORT = _number("WEB_PORT", 8000, low=1, high=65_535)
FLOWER_PORT = _number("FLOWER_PORT", 5555, low=1, high=65_535)
PUBLIC_URL = env.str("PUBLIC_URL", default=f"http://{WEB_HOST}:{WEB_PORT}").rstrip("/")
FLOWER_URL = env.str("FLOWER_URL", default=f"http://127.0.0.1:{FLOWER_PORT}")
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")
PROMETHEUS_URL = env.str("PROMETHEUS_URL", default="").rstrip("/")
# A measure's name, and the query that answers for it.
PROMETHEUS_QUERIES = env.json("PROMETHEUS_QUERIES", default={})

# Flags, and the deployments that they are changed in: docs/flags.md and docs/chatops.md.
ENVIRONMENT = env.str("MIRRORING_ENVIRONMENT", default="production")
# Where it is named so it is one of several deployments: there a flag is turned on with a reason only.
FLAG_REASON_NEEDED = env.str("MIRRORING_ENVIRONMENT", default="") in {"canary", "production"}
CHATOPS_FILE = env.str("MIRRORING_CHATOPS", default="")
INCIDENTS_URL = env.str("INCIDENTS_URL", default="")
INCIDENTS_TOKEN = env.str("INCIDENTS_TOKEN", default="")
SLACK_SIGNING_SECRET = env.str("SLACK_SIGNING_SECRET", default="")
SLACK_BOT_TOKEN = env.str("SLACK_BOT_TOKEN", default="")
SLACK_API_URL = env.str("SLACK_API_URL", default="https://slack.com/api/")
SLACK_RESPONSE_URL = env.str("SLACK_RESPONSE_URL", default="https://hooks.slack.com/")
FLAG_STABLE_SECONDS = env.float("FLAG_STABLE_SECONDS", default=None)
EXTRA_FLAG_DEFINITIONS = tuple(env.list("EXTRA_FLAG_DEFINITIONS", default=[]))

ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
HTTPS = PUBLIC_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_SSL_REDIRECT = False  # The proxy that ends TLS redirects; livez and readyz are asked without it.
SILENCED_SYSTEM_CHECKS = ["security.W008"]  # It asks for the redirect that the proxy does.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

INSTALLED_APPS = [
    "django.contrib.admin.apps.SimpleAdminConfig",  # No autodiscovery: waffle's own admin pages stay out.
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "mirroring",  # Before waffle, whose commands it takes out of service.
    "waffle",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = {"default": _database(STATE_DIR)}
DATABASE_ROUTERS = ["mirroring.rollout.simulate.database.Router"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# A flag is read from its row each time (one small query), so that a flip is seen by every process at once;
# a cache of any kind would keep a stale answer in each worker.
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "waffle": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
}
WAFFLE_CACHE_NAME = "waffle"
WAFFLE_SWITCH_MODEL = "mirroring.Flag"
WAFFLE_CREATE_MISSING_SWITCHES = False

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
STATIC_URL = "/static/"
STATIC_ROOT = STATE_DIR / "static"
STATIC_ROOT.mkdir(exist_ok=True)  # It stays empty, and whitenoise complains if it is not there.
WHITENOISE_USE_FINDERS = True  # The admin's files come straight from the package: no collectstatic step.
WHITENOISE_AUTOREFRESH = False

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"()": "mirroring.logs.FieldFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", default="INFO")},
}
