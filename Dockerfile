# Orthanc, the router and its reference models in one image. docs/how-to/container.md says how to run it.

# The viewer, made apart: npm is not needed later.
FROM debian:trixie-slim AS viewer
# Only where a proxy signs HTTPS anew: a CA bundle that npm is to trust.
ARG NODE_EXTRA_CA_CERTS
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates npm python3
COPY scripts/ohif scripts/ohif_patch.py /viewer/scripts/
RUN /viewer/scripts/ohif

FROM debian:trixie-slim

# Only where a proxy signs HTTPS anew: a CA bundle that pip is to trust while the image is built.
ARG PIP_CERT

RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        orthanc orthanc-python orthanc-dicomweb python3-venv libturbojpeg0 \
 && rm -rf /var/lib/apt/lists/*

# Built with Debian's own python3: the interpreter that Orthanc embeds.
COPY scripts/packages scripts/requirements.txt scripts/requirements-dev.txt /opt/airouter/scripts/
RUN /usr/bin/python3 -m venv /opt/airouter/.venv \
 && /opt/airouter/scripts/packages /opt/airouter/.venv/bin/python /opt/airouter/scripts/requirements.txt --no-cache-dir

COPY LICENSE README.md /opt/airouter/
COPY plugin /opt/airouter/plugin
COPY models /opt/airouter/models
COPY --from=viewer /viewer/.cache/ohif /opt/airouter/.cache/ohif
COPY orthanc.json /etc/airouter/orthanc.json

# The command `airouter` without a build tool in the image; __pycache__ now, because the user may not write there.
ENV PYTHONPATH=/opt/airouter/plugin \
    PATH=/opt/airouter/.venv/bin:/usr/local/bin:/usr/bin:/bin \
    OPENBLAS_NUM_THREADS=1
RUN printf '#!/opt/airouter/.venv/bin/python\nfrom airouter.cli import main\n\nmain()\n' > /opt/airouter/.venv/bin/airouter \
 && chmod 755 /opt/airouter/.venv/bin/airouter \
 && /opt/airouter/.venv/bin/python -m compileall -q /opt/airouter/plugin

# The drop-in configuration with an image's paths. A container's host name changes, the owner of running jobs must not.
RUN sed -i \
        -e 's#"orthanc-db"#"/var/lib/airouter/storage"#' \
        -e 's#"plugin/main.py"#"/opt/airouter/plugin/main.py"#' \
        -e 's#"ModelsDirectory": "models"#"ModelsDirectory": "/opt/airouter/models"#' \
        -e 's#"StateDirectory": "airouter-state"#"StateDirectory": "/var/lib/airouter/state"#' \
        -e 's#"RemoteAccessAllowed": false#"RemoteAccessAllowed": ${AIROUTER_REMOTE_ACCESS:-false}#' \
        -e 's#"AIRouter": {#"AIRouter": {\n    "Node": "${AIROUTER_NODE:-airouter}",#' \
        /etc/airouter/orthanc.json \
 && install -d -o orthanc -g orthanc -m 0700 /var/lib/airouter /etc/airouter \
 && chown orthanc:orthanc /etc/airouter/orthanc.json

USER orthanc
WORKDIR /var/lib/airouter

# Fails the build where the configuration is wrong or a model does not pass its self-test with these very packages.
RUN cp -r /etc/airouter /tmp/check \
 && airouter credentials /tmp/check \
 && airouter check /tmp/check \
 && airouter models /tmp/check \
 && rm -r /tmp/check

# The configuration with its credentials; images and results with the router's journal and queue.
VOLUME ["/etc/airouter", "/var/lib/airouter"]
EXPOSE 8042 4242

# Everything under /ai/ asks for a user, so the check logs in as the first one that is registered.
HEALTHCHECK --interval=30s --timeout=20s --start-period=60s --retries=3 CMD ["python", "-c", "\
import pathlib; \
from airouter.adapters import configuration, rest; \
settings = configuration.read(pathlib.Path('/etc/airouter')); \
user, password = next(iter(settings['RegisteredUsers'].items())); \
scheme = 'https' if settings.get('SslEnabled') else 'http'; \
client = rest.connect(f\"{scheme}://127.0.0.1:{settings.get('HttpPort', 8042)}\", username=user, password=password, timeout=10); \
health = rest.Rest(client).json('/ai/health'); \
raise SystemExit(health['state'] != 'running' and health['reason'])"]

ENTRYPOINT ["airouter", "orthanc"]
CMD ["/etc/airouter"]
