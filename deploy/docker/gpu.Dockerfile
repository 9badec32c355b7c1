# Image of Ray nodes with GPUs. PyTorch's wheels contain CUDA 13; the host needs NVIDIA's driver and container toolkit.
#   docker build -f deploy/docker/gpu.Dockerfile -t sakuga:gpu .
FROM python:3.11-slim-bookworm

ENV HOME=/home/sakuga \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    NVIDIA_VISIBLE_DEVICES=all \
    RAY_AUTH_MODE=token \
    RAY_USAGE_STATS_ENABLED=0 \
    SAKUGA_CACHE=/cache

# torch.compile needs a C compiler; Ray's cluster launcher uses ssh and rsync.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ openssh-client rsync \
    && rm -rf /var/lib/apt/lists/*

# The user that owns the files under /runs and reads the secrets.
ARG USER_ID=1000
RUN useradd --create-home --uid "$USER_ID" sakuga \
    && install --directory --owner=sakuga /cache /runs

WORKDIR /opt/sakuga
COPY . .
# boto3: on AWS the head starts and terminates machines.
RUN pip install --constraint constraints.txt '.[cluster,stores]' boto3

USER $USER_ID
WORKDIR /home/sakuga
ENTRYPOINT ["/opt/sakuga/deploy/docker/with_secrets.sh"]
CMD ["python", "-m", "platform.search", "--help"]
