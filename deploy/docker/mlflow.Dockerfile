# Image of an MLflow server with user accounts, PostgreSQL and a bucket.
#   docker build -f deploy/docker/mlflow.Dockerfile -t sakuga:mlflow .
FROM python:3.11-slim-bookworm

ENV HOME=/home/sakuga \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1 \
    MLFLOW_AUTH_CONFIG_PATH=/opt/mlflow/mlflow_auth.ini \
    MLFLOW_DISABLE_TELEMETRY=true \
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false

ARG USER_ID=1000
RUN useradd --create-home --uid "$USER_ID" sakuga

WORKDIR /opt/mlflow
COPY constraints.txt deploy/docker/mlflow_auth.ini deploy/docker/with_secrets.sh ./
RUN pip install --constraint constraints.txt 'mlflow[auth]' 'psycopg[binary]' boto3

USER $USER_ID
WORKDIR /home/sakuga
ENTRYPOINT ["/opt/mlflow/with_secrets.sh"]
# PGHOST, PGUSER and PGPASSWORD hold PostgreSQL's address, user and password, to keep them off the command line.
CMD ["mlflow", "server", "--app-name", "basic-auth", "--host", "0.0.0.0", "--port", "5000", "--workers", "2", \
     "--backend-store-uri", "postgresql+psycopg:///mlflow", "--artifacts-destination", "s3://mlflow"]
