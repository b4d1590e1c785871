# One image for the webhook, the controller and the other commands. Builds with docker, podman and buildah, on amd64 and
# arm64: the locks hold the hashes of both. Nothing here names a registry but the base image's name.
#
# The default base is a tag, for builds by hand: tags move. A release passes the digest that the tag had when it was
# built (.github/workflows/release.yml), which is also in the label org.opencontainers.image.base.name.
# Any Debian base with Python 3.11 or newer as python3, and with venv, will do; `make image-test` uses a plain Debian.
ARG BASE_IMAGE=python:3.13-slim-trixie

# --- what ships, built where pip is ---
FROM ${BASE_IMAGE} AS build
WORKDIR /src
COPY requirements/build.txt requirements/runtime.txt requirements/
# pip lives in a virtualenv of its own and installs into the other one: what ships never had a pip.
# The two secrets are for builds behind a mirror or a proxy: a pip.conf, and the authorities that it may name.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.pem,target=/run/secrets/ca.pem \
    --mount=type=cache,id=serviceentry-guard-pip,target=/root/.cache/pip \
    python3 -m venv /tools \
    && /tools/bin/pip install --quiet --no-deps --only-binary :all: --require-hashes -r requirements/build.txt \
    && python3 -m venv --without-pip /opt/serviceentry-guard \
    && /tools/bin/pip --python /opt/serviceentry-guard/bin/python install --quiet --no-compile \
        --no-deps --only-binary :all: --require-hashes -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY app app
RUN /tools/bin/pip wheel --quiet --no-index --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /tools/bin/pip --python /opt/serviceentry-guard/bin/python install --quiet --no-compile \
        --no-index --no-deps /wheels/*.whl
# kubernetes.aio is the client once more, for asyncio: 40 MB that nothing here imports, nor could, without aiohttp.
# Of the programs that came along one is ours. The bytecode does not look at the time of its source, which copying changes;
# thousands of modules that are loaded one at a time, if ever, get none: the API's models and calls, the lexers.
RUN rm -r /opt/serviceentry-guard/lib/python3*/site-packages/kubernetes/aio /opt/serviceentry-guard/include \
    && find /opt/serviceentry-guard/bin -type f ! -name serviceentry-guard -delete \
    && /opt/serviceentry-guard/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        -x '/(kubernetes/client/(api|models)|pygments/(lexers|styles))/[a-z]' /opt/serviceentry-guard/lib \
    && /opt/serviceentry-guard/bin/serviceentry-guard --help > /dev/null

# --- the base, less all that installs ---
FROM ${BASE_IMAGE} AS base
# Debian's packages first: the database of what is left stays, scanners read it. Then what Python has of its own; the rest of
# its library gets bytecode, which official images leave out. No program needs to become another user.
RUN set -eu; \
    dpkg-query --show --showformat '${Package}\n' \
        | grep -xE 'apt|libapt-pkg.*|gpgv|sqv|debian-archive-keyring|python3.*-venv|python3-(distutils|lib2to3)|python3-.*-whl' \
        | xargs dpkg --purge --force-depends --force-remove-essential --force-remove-protected; \
    dpkg --purge --force-depends --force-remove-essential --force-remove-protected dpkg; \
    stdlib="$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"; \
    rm -rf "$stdlib/ensurepip" /usr/local/bin/pip* /usr/local/bin/wheel /usr/local/lib/python3*/site-packages/* \
        /etc/apt /etc/dpkg /var/lib/apt /var/cache/* /var/log/* /tmp/* /root/.[!.]*; \
    python3 -m compileall -q -f -j 0 --invalidation-mode unchecked-hash \
        -x '/(test|idlelib|lib2to3|turtledemo|site-packages|dist-packages)/' "$stdlib"; \
    find / -xdev -type f -perm /6000 -exec chmod ug-s '{}' +

# --- the image: one layer of each, and nothing of what was removed ---
FROM scratch
COPY --from=base / /
COPY --from=build /opt/serviceentry-guard /opt/serviceentry-guard
# HOME is there for programs that ask for one: an arbitrary user has none, and nothing is written. The controller has twenty
# threads, and glibc would keep free memory for each of them: two arenas are enough, because threads of Python take turns.
ENV PATH=/opt/serviceentry-guard/bin:/usr/local/bin:/usr/bin:/bin \
    LANG=C.UTF-8 \
    HOME=/nonexistent \
    MALLOC_ARENA_MAX=2 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONSAFEPATH=1
WORKDIR /
USER 65532:65532
EXPOSE 9443 8081
ENTRYPOINT ["serviceentry-guard"]
ARG BASE_IMAGE
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
ARG SOURCE=unknown
ENV SERVICEENTRY_GUARD_COMMIT=${REVISION}
LABEL org.opencontainers.image.title="serviceentry-guard" \
    org.opencontainers.image.description="Admission webhook and controller that give every Istio ServiceEntry DNS resolution and retries" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}" \
    org.opencontainers.image.source="${SOURCE}" \
    org.opencontainers.image.base.name="${BASE_IMAGE}"
