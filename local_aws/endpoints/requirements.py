"""Installs a model's `code/requirements.txt` and then becomes its model server, as AWS's inference image does.

    python requirements.py SERVER [ARGUMENT ...]

The toolkit's own installation, into the environment of the Python that runs this: one of the instance's own. The server
is a new process image, so that it finds what was installed. Imports nothing of the local AWS.
"""

import os
import sys
import warnings

# The toolkit still reads its files by pkg_resources, which says so at length.
warnings.simplefilter("ignore")

if __name__ == "__main__":
    from sagemaker_inference import model_server

    try:
        model_server._install_requirements()
    except ValueError as error:
        # pip has said which; a traceback would push that out of the endpoint's reason.
        sys.exit(f"code/requirements.txt: {error}")
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
