"""The model server of one endpoint instance: `/ping` and `/invocations` around AWS's inference toolkit.

    python server.py MODEL_DIR PORT_FILE

Runs in the environment that stands in for AWS's PyTorch inference image and imports nothing of the local AWS. The model
is loaded first; only then does it listen (127.0.0.1, a free port) and write the port into PORT_FILE. A model that
cannot be loaded ends the process with its traceback. SIGTERM: no new connection, calls in flight are finished, exit 0.

As many calls as SAGEMAKER_MODEL_SERVER_WORKERS says (1 when unset) are in the model at once; the others wait, as they
do in AWS's model server.

HTTP is by hand: a call of 12 kB takes 11 us of CPU so, 52 us by http.server and 66 us by h11, where the whole way of an
InvokeEndpoint through the local AWS takes some 325 us of one core.
"""

import contextlib
import os
import signal
import socket
import sys
import threading
import time

LARGEST_HEADER = 64 * 1024
CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
OWN_HOSTS = ("127.0.0.1", "localhost")
REASONS = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    406: "Not Acceptable",
    415: "Unsupported Media Type",
}
# Less than the 30 s after which SageMaker kills an instance that is being removed.
DRAIN_SECONDS = 25.0
# Of the thread that loads the model. Without root a niceness can be raised and never taken back (setpriority(2)); but
# on Linux it is a thread's own, so the threads that serve need not have had it.
LOADING_NICENESS = 10


class PytorchHandler:
    """The PyTorch image's default functions, imported only when a model leaves one of its own out: it imports torch."""

    @staticmethod
    def _theirs():
        from sagemaker_pytorch_serving_container.default_pytorch_inference_handler import DefaultPytorchInferenceHandler

        return DefaultPytorchInferenceHandler()

    def default_model_fn(self, model_dir):
        return self._theirs().default_model_fn(model_dir)

    def default_input_fn(self, input_data, content_type):
        return self._theirs().default_input_fn(input_data, content_type)

    def default_predict_fn(self, data, model):
        return self._theirs().default_predict_fn(data, model)

    def default_output_fn(self, prediction, accept):
        return self._theirs().default_output_fn(prediction, accept)


class Context(threading.local):
    """The request of a thread as the toolkit sees it (the model server's context), and where it puts the answer's head.

    The toolkit keeps the one that it was initialized with, and gives that to a model's functions at each request: AWS's
    model server has one for each of its processes.
    """

    model_name = "model"

    def __init__(self, model_dir):
        self.system_properties = {"model_dir": model_dir}
        self.request_processor = [self]
        self.begin({})

    def begin(self, headers):
        """Another request, with its headers."""
        self.headers = headers
        self.status = 200
        self.content_type = "application/json"
        self.custom_attributes = ""

    def get_request_properties(self):
        return self.headers

    def get_request_header(self, index, name):
        return self.headers.get(name, self.headers.get(name.lower()))

    def set_response_status(self, code=200, phrase="", idx=0):
        self.status = code
        self.content_type = "text/plain"

    def set_response_content_type(self, index, value):
        self.content_type = value

    def set_response_header(self, index, name, value):
        """Of a model's own headers, SageMaker hands this one on, and no other."""
        if name.lower() == CUSTOM_ATTRIBUTES.lower():
            self.custom_attributes = " ".join(str(value).split())


class Server:
    """A threaded HTTP/1.1 server: one thread a connection, head and body in one write."""

    def __init__(self, model_dir, port_file):
        self.model_dir, self.port_file = model_dir, port_file
        self.workers = threading.Semaphore(int(os.environ.get("SAGEMAKER_MODEL_SERVER_WORKERS") or 1))
        self.in_flight = 0
        self.counting = threading.Lock()
        self.loaded, self.stopping = threading.Event(), False
        self.transformer = self.listener = None
        self.context = Context(model_dir)

    def run(self):
        # A thread has the niceness of the one that starts it: those that serve come from one that never went behind.
        accepting = threading.Thread(target=self.accept, daemon=True)
        accepting.start()
        self.load()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.listener.settimeout(0.2)
        signal.signal(signal.SIGTERM, self.stop)
        self.loaded.set()
        with open(self.port_file + ".new", "w") as file:
            file.write(str(self.listener.getsockname()[1]))
        os.replace(self.port_file + ".new", self.port_file)
        accepting.join()
        deadline = time.monotonic() + DRAIN_SECONDS
        while self.in_flight and time.monotonic() < deadline:
            time.sleep(0.01)

    def stop(self, *_):
        """For SIGTERM, which can come while another one is handled: an Event's lock would be waited for for ever."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.stopping = True

    def load(self):
        """Load the model, behind whatever else this machine does: it has other instances, which serve meanwhile.

        Without root this thread stays there; from then on it only waits.
        """
        if sys.platform.startswith("linux"):  # elsewhere it would be the whole process
            with contextlib.suppress(OSError):  # behind it already, and not allowed back
                os.setpriority(os.PRIO_PROCESS, 0, LOADING_NICENESS)
            weigh_session(LOADING_NICENESS)
        from sagemaker_inference.transformer import Transformer

        self.transformer = Transformer(default_inference_handler=PytorchHandler())
        self.transformer.validate_and_initialize(model_dir=self.model_dir, context=self.context)
        if sys.platform.startswith("linux"):
            weigh_session(0)
            for thread in os.listdir("/proc/self/task"):
                with contextlib.suppress(OSError):
                    os.setpriority(os.PRIO_PROCESS, int(thread), 0)

    def accept(self):
        self.loaded.wait()
        while not self.stopping:
            try:
                connection, _ = self.listener.accept()
            except TimeoutError:
                continue
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()
        self.listener.close()

    def serve(self, connection):
        """Answer one connection's requests until it is closed."""
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, contextlib.suppress(OSError, ValueError):
            buffered = bytearray()
            while True:
                head = receive_head(connection, buffered)
                if head is None:
                    return
                # Counted before the body is there: a call that has begun to arrive is finished before the end.
                with self.counting:
                    self.in_flight += 1
                try:
                    method, path, headers = head
                    body = receive_body(connection, buffered, int(headers.get("content-length", 0)))
                    connection.sendall(self.answer(method, path, headers, body))
                finally:
                    with self.counting:
                        self.in_flight -= 1

    def answer(self, method, path, headers, body):
        # What a web page sends names another host or a page: it must not reach the model, whose inputs can be code.
        if headers.get("host", "").split(":")[0] not in OWN_HOSTS or "origin" in headers or "sec-fetch-site" in headers:
            return response(403, "text/plain", b"The model server answers programs that call 127.0.0.1 alone.")
        if path == "/ping":
            return response(200, "application/json", b"{}")
        if path != "/invocations" or method != "POST":
            return response(404, "text/plain", b"Only GET /ping and POST /invocations are here.")
        context = self.context
        context.begin({"Content-Type": headers.get("content-type"), **headers})
        with self.workers:
            results = self.transformer.transform([{"body": body}], context)
        result = results[0] if results else b""
        if isinstance(result, str):
            result = result.encode()
        return response(context.status, context.content_type, bytes(result), context.custom_attributes)


def weigh_session(niceness):
    """Where the kernel weighs sessions first, give this one its place among them (sched(7), autogroup)."""
    for _ in range(100):
        try:
            with open("/proc/self/autogroup", "w") as autogroup:
                autogroup.write(str(niceness))
            return
        except BlockingIOError:  # without root, ten times a second for the whole machine
            time.sleep(0.05)
        except OSError:
            return


def receive_head(connection, buffered):
    """(method, path, headers with names in lower case) of the next request; None when the connection was closed."""
    while (end := buffered.find(b"\r\n\r\n")) < 0:
        if len(buffered) > LARGEST_HEADER:
            raise ValueError("the request's head is too large")
        data = connection.recv(65536)
        if not data:
            return None
        buffered += data
    lines = buffered[:end].decode("latin-1").split("\r\n")
    del buffered[: end + 4]
    method, path, _ = lines[0].split(" ", 2)
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return method, path, headers


def receive_body(connection, buffered, length):
    """The body of a known length, leaving what follows it in `buffered`."""
    while len(buffered) < length:
        data = connection.recv(min(1 << 20, length - len(buffered)))
        if not data:
            raise ValueError("the connection was closed within a body")
        buffered += data
    body = bytes(buffered[:length])
    del buffered[:length]
    return body


def response(status, content_type, body, attributes=""):
    more = f"{CUSTOM_ATTRIBUTES}: {attributes}\r\n" if attributes else ""
    head = (
        f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}\r\n"
        f"Content-Type: {content_type}\r\n{more}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("latin-1") + body


if __name__ == "__main__":
    Server(sys.argv[1], sys.argv[2]).run()
    # Threads that wait on kept connections must not hold up the end.
    sys.stdout.flush()
    os._exit(0)
