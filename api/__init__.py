"""The HTTP service: requests in, registry rows and doorbell messages out.

`api.app.create_app` builds the application, `api.wsgi:app` is what a WSGI server loads. Nothing here decodes, so
nothing here imports torch, transformers or the engine.
"""
