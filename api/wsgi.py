"""What a WSGI server loads: `gunicorn -c deploy/gunicorn.conf.py api.wsgi:app`.

Waits a bounded time for the database and ends with one clear line, never a trace, when it does not come.
"""

from __future__ import annotations

from api.app import create_app
from api.errors import BadSetting
from api.extension import EXTENSION
from api.settings import Settings
from api.start import refuse, wait_for_database
from workers.logs import configure

try:
    settings = Settings.from_env()
except BadSetting as error:
    refuse(str(error))
configure(settings.log_level)

app = create_app(settings)
wait_for_database(app.extensions[EXTENSION].database, settings)
