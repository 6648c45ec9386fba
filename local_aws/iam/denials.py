"""How each service says that a caller may not, or is not known.

Source: IAM user guide, "Troubleshoot access denied error messages"; each service's "Common errors".
"""

from __future__ import annotations

import base64
import json

from local_aws.errors import AwsError
from local_aws.iam import signatures
from local_aws.iam.evaluate import Decision, Kind, Verdict

# (unknown key, wrong signature, token that has expired, no signature) by the form that a service speaks.
JSON = {
    signatures.UNKNOWN: "UnrecognizedClientException", signatures.TOKEN: "UnrecognizedClientException",
    signatures.MISMATCH: "InvalidSignatureException", signatures.SKEWED: "InvalidSignatureException",
    signatures.EXPIRED: "ExpiredTokenException", signatures.INCOMPLETE: "IncompleteSignatureException",
    "unsigned": "MissingAuthenticationTokenException",
}  # fmt: skip
QUERY = {
    signatures.UNKNOWN: "InvalidClientTokenId", signatures.TOKEN: "InvalidClientTokenId",
    signatures.MISMATCH: "SignatureDoesNotMatch", signatures.SKEWED: "SignatureDoesNotMatch",
    signatures.EXPIRED: "ExpiredToken", signatures.INCOMPLETE: "IncompleteSignature",
    "unsigned": "MissingAuthenticationToken",
}  # fmt: skip
S3 = {
    signatures.UNKNOWN: "InvalidAccessKeyId", signatures.TOKEN: "InvalidToken",
    signatures.MISMATCH: "SignatureDoesNotMatch", signatures.SKEWED: "RequestTimeTooSkewed",
    signatures.EXPIRED: "ExpiredToken", signatures.INCOMPLETE: "AuthorizationHeaderMalformed",
    "unsigned": "AccessDenied",
}  # fmt: skip
SENTENCES = {
    signatures.UNKNOWN: "The security token included in the request is invalid.",
    signatures.EXPIRED: "The security token included in the request is expired",
    "unsigned": "Request is missing Authentication Token",
}
S3_SENTENCES = {
    signatures.UNKNOWN: "The AWS Access Key Id you provided does not exist in our records.",
    signatures.TOKEN: "The provided token is malformed or otherwise invalid.",
    signatures.SKEWED: "The difference between the request time and the current time is too large.",
    signatures.EXPIRED: "The provided token has expired.",
    "unsigned": "Access Denied",
}
# The code of a denial, where it is not AccessDenied of the Query protocol and of S3, or AccessDeniedException.
CODES = {"ec2": "UnauthorizedOperation", "sns": "AuthorizationError"}
ANONYMOUS = "anonymous"


def unauthenticated(service: str, protocol: str, code: str, message: str | None = None) -> AwsError:
    """A service's error for a signature that is not taken.

    Parameters: `code` is one of `signatures`', or `unsigned`; `message` what the signature lacks.
    """
    if service == "s3":
        said = S3_SENTENCES.get(code) or message or SENTENCES[code]
        return AwsError(S3[code], said, status=400 if code in {signatures.EXPIRED, signatures.INCOMPLETE} else 403)
    if service == "ec2":
        if code in {signatures.SKEWED, signatures.EXPIRED}:
            return AwsError("RequestExpired", message or "Request has expired.")
        return AwsError("AuthFailure", "AWS was not able to validate the provided access credentials", status=401)
    codes = QUERY if protocol == "query" else JSON
    return AwsError(codes[code], message or SENTENCES.get(code, SENTENCES[signatures.UNKNOWN]), status=403)


def denied(service: str, protocol: str, who: str, action: str, resource: str, decision: Decision) -> AwsError:
    """A service's error for what policies do not allow."""
    said = sentence(who, action, resource, decision, quoted=service == "s3")
    if service == "s3":
        return AwsError("AccessDenied", "Access Denied" if who == ANONYMOUS else said, status=403)
    if service == "ec2":
        encoded = base64.b64encode(json.dumps({"allowed": False, "said": said}).encode()).decode()
        said = f"You are not authorized to perform this operation. {said}"
        return AwsError(CODES[service], f"{said}. Encoded authorization failure message: {encoded}", status=403)
    code = CODES.get(service) or ("AccessDenied" if protocol == "query" else "AccessDeniedException")
    # What speaks JSON answers 400, what speaks REST 403.
    return AwsError(code, said, status=400 if protocol in {"json", "smithy-rpc-v2-cbor"} else 403)


def sentence(who: str, action: str, resource: str, decision: Decision, *, quoted: bool = False) -> str:
    """AWS's sentence."""
    kind = decision.kind or Kind.IDENTITY
    on = "" if resource == "*" else f' on resource: "{resource}"' if quoted else f" on resource: {resource}"
    if decision.verdict is Verdict.DENIED:
        article = "an" if kind is Kind.IDENTITY else "a"
        why = f"with an explicit deny in {article} {kind}"
    else:
        why = f"because no {kind} allows the {action} action"
    return f"User: {who} is not authorized to perform: {action}{on} {why}"
