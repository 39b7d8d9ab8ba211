"""REST under /ai/: an ordinary WSGI application and the one bridge that mounts it into Orthanc."""
