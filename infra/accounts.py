"""The bucket, and the user that the pipeline logs in as: compose.yaml's `accounts`. Run again, it changes nothing."""

import os
import time
import urllib.request

import boto3
from botocore.exceptions import ClientError
from mlflow.exceptions import MlflowException
from mlflow.server import get_app_client

BUCKET = "tracer"


def answers() -> bool:
    """Whether MLflow's server is up."""
    try:
        urllib.request.urlopen(f"{os.environ['MLFLOW_TRACKING_URI']}/health", timeout=5).close()
    except OSError:
        return False
    return True


def main() -> None:
    """Raises what a server says that refuses; whoever started this tries again."""
    while not answers():
        time.sleep(1)
    store = boto3.client("s3")
    try:
        store.head_bucket(Bucket=BUCKET)
    except ClientError as error:
        if error.response["Error"]["Code"] != "404":
            raise
        store.create_bucket(Bucket=BUCKET)
    users = get_app_client("basic-auth", os.environ["MLFLOW_TRACKING_URI"])
    name, password = os.environ["MLFLOW_USER"], os.environ["MLFLOW_PASSWORD"]
    try:
        users.create_user(name, password)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        users.update_user_password(name, password)


if __name__ == "__main__":
    main()
