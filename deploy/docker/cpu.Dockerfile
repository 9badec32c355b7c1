# Image of Ray nodes and drivers without a GPU. Build it from the root of the repository:
#   docker build -f deploy/docker/cpu.Dockerfile -t sakuga:cpu .
# The constraints were tested on Python 3.11.
FROM python:3.11-slim-bookworm

ENV HOME=/home/sakuga \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    RAY_AUTH_MODE=token \
    RAY_USAGE_STATS_ENABLED=0 \
    SAKUGA_CACHE=/cache

# The user that owns the files under /runs and reads the secrets.
ARG USER_ID=1000
RUN useradd --create-home --uid "$USER_ID" sakuga \
    && install --directory --owner=sakuga /cache /runs

WORKDIR /opt/sakuga
COPY . .
# PyTorch's own index of CPU builds saves about 4 GB: --build-arg PIP_EXTRA_INDEX_URL=...
ARG PIP_EXTRA_INDEX_URL
RUN pip install --constraint constraints.txt '.[cluster,stores]'

USER $USER_ID
WORKDIR /home/sakuga
ENTRYPOINT ["/opt/sakuga/deploy/docker/with_secrets.sh"]
CMD ["python", "-m", "platform.search", "--help"]
