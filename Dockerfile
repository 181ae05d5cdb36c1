# campaignd in a container. BASE is any image with python3 (3.11 or later) and its venv module.
#   docker build -t campaignd .
#   docker run --rm campaignd demo
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
# The package index, where it is not the default.
ARG PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS PIP_NO_INDEX PIP_CERT
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN ["python3", "-m", "venv", "/opt/campaignd"]
COPY requirements.lock ./
RUN /opt/campaignd/bin/python -m pip install --quiet --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY campaignd campaignd
COPY config config
COPY storage storage
COPY daemon daemon
COPY docs docs
COPY systemd systemd
# Build and install the wheel, then remove the build tools.
RUN /opt/campaignd/bin/python -m pip wheel --quiet --no-deps --no-build-isolation --no-index \
        --wheel-dir /dist . \
    && /opt/campaignd/bin/python -m pip install --quiet --no-deps --no-index /dist/*.whl \
    && /opt/campaignd/bin/python -m pip uninstall --quiet --yes \
        hatchling pathspec pluggy tomlkit trove-classifiers \
    && /opt/campaignd/bin/python -m pip uninstall --quiet --yes setuptools pip \
    && python3 -m compileall -q -j 0 /opt/campaignd/lib

FROM ${BASE}
LABEL org.opencontainers.image.title="campaignd" \
      org.opencontainers.image.description="A campaign scheduling daemon" \
      org.opencontainers.image.licenses="Apache-2.0"
# The embedded PostgreSQL requires a user with a name.
RUN ["useradd", "--uid", "10001", "--user-group", "--no-create-home", \
     "--home-dir", "/var/lib/campaignd", "--shell", "/usr/sbin/nologin", "campaignd"]
RUN ["install", "-d", "-o", "campaignd", "-g", "campaignd", "-m", "0700", "/var/lib/campaignd"]
COPY --from=build /opt/campaignd /opt/campaignd
ENV PATH=/opt/campaignd/bin:/usr/local/bin:/usr/bin:/bin \
    LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    CAMPAIGND_STATE_DIR=/var/lib/campaignd \
    CAMPAIGND_API__HOST=0.0.0.0
USER 10001:10001
WORKDIR /var/lib/campaignd
# The only writable places are this volume and /tmp: run with --read-only --tmpfs /tmp.
VOLUME ["/var/lib/campaignd"]
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=8s --start-period=60s --retries=3 CMD ["campaignd", "health"]
ENTRYPOINT ["campaignd"]
CMD ["run"]
