"""A small Lambda runtime client for systems that AWS's own (`awslambdaric`) has no wheel for.

    python fallback.py HANDLER

It speaks the same Runtime API; standard library only.
"""

import http.client
import importlib
import json
import os
import sys
import time
import traceback

PREFIX = "/2018-06-01/runtime/"


class Context:
    def __init__(self, headers):
        self.aws_request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        self.invoked_function_arn = headers["Lambda-Runtime-Invoked-Function-Arn"]
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.client_context = None
        self.identity = None
        self._deadline = int(headers["Lambda-Runtime-Deadline-Ms"])

    def get_remaining_time_in_millis(self):
        return max(0, self._deadline - int(time.time() * 1000))


def error(exception):
    return json.dumps(
        {
            "errorMessage": str(exception),
            "errorType": type(exception).__name__,
            "stackTrace": traceback.format_tb(exception.__traceback__)[1:],
        }
    )


def main(handler_name):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])

    def call(method, path, body=None):
        connection.request(method, PREFIX + path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.read(), answer.headers

    sys.path.insert(0, os.getcwd())
    try:
        module, _, function = handler_name.rpartition(".")
        handler = getattr(importlib.import_module(module.replace("/", ".")), function)
    except Exception as exception:
        call("POST", "init/error", error(exception))
        return 1
    while True:
        event, headers = call("GET", "invocation/next")
        request = headers["Lambda-Runtime-Aws-Request-Id"]
        try:
            answer = json.dumps(handler(json.loads(event), Context(headers)))
        except Exception as exception:
            traceback.print_exc()
            call("POST", f"invocation/{request}/error", error(exception))
        else:
            call("POST", f"invocation/{request}/response", answer)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
