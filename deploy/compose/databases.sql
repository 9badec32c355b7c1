-- Runs once, when the server's folder is empty. The database optuna is made by POSTGRES_DB.
CREATE DATABASE mlflow;
CREATE DATABASE mlflow_auth;
