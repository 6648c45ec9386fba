"""CloudWatch Logs Insights' language: what its commands find among log events, and what is no query."""

from __future__ import annotations

import pytest

from local_aws.errors import AwsError
from local_aws.insights.run import Event, run

REPORT = (
    "REPORT RequestId: {}\tDuration: {} ms\tBilled Duration: 3 ms\tMemory Size: 128 MB\tMax Memory Used: {} MB\t"
    "Init Duration: 90.50 ms\t"
)
MESSAGES = [
    "START RequestId: a-1 Version: 1", REPORT.format("a-1", "2.50", 40), REPORT.format("a-2", "7.50", 60),
    '{"level": "ERROR", "code": 500, "user": {"name": "Rex"}, "late": true}',
    '{"level": "WARN", "code": 404, "tags": ["x", "y"]}', "loss=0.75 accuracy=0.9", "no [json] {here", "{broken",
]  # fmt: skip
EVENTS = [
    Event(str(number), 1_796_000_000_000 + 60_000 * number, 1_796_000_999_000, message, f"s-{number % 2}", "1:/g")
    for number, message in enumerate(MESSAGES)
]


def rows(query: str, limit: int = 100) -> list[dict[str, str]]:
    return [{name: value for name, value in row.items() if name != "@ptr"} for row in run(query, EVENTS, limit)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        # Lambda's own fields, and numbers as numbers
        ('filter @type = "REPORT" | stats max(@duration), avg(@duration) as mean, count(*) as n',
         [{"max(@duration)": "7.5", "mean": "5", "n": "2"}]),
        ("filter @duration > 3 | fields @requestId, @duration / 1000 as seconds",
         [{"@requestId": "a-2", "seconds": "0.0075"}]),
        ("filter ispresent(@maxMemoryUsed) | stats pct(@maxMemoryUsed, 50) as half", [{"half": "40000000"}]),
        ("filter @initDuration = 90.5 | stats count_distinct(@requestId) as calls", [{"calls": "2"}]),
        # Fields of JSON, nested ones, too
        ("filter level = 'ERROR' and code >= 500 | fields user.name, late", [{"user.name": "Rex", "late": "1"}]),
        ("filter level in ['WARN', 'INFO'] | fields tags.1", [{"tags.1": "y"}]),
        ("filter code not in [500] and ispresent(code) | fields code", [{"code": "404"}]),
        ("stats count(*) as n by level | sort n desc, level asc | limit 2",
         [{"n": "6"}, {"level": "ERROR", "n": "1"}]),
        ("stats sum(code) as codes by bin(10m) as slot | filter ispresent(codes)",
         [{"slot": "2026-11-30 00:50:00.000", "codes": "904"}]),
        # What becomes a field
        ('parse @message "loss=* accuracy=*" as loss, accuracy | filter loss < 1 | fields accuracy',
         [{"accuracy": "0.9"}]),
        (r"parse @message /accuracy=(?<value>[\d.]+)/ | filter ispresent(value) | stats latest(value) as last",
         [{"last": "0.9"}]),
        # Words
        ("filter @message like /(?i)JSON/ | display toupper(@logStream) as stream", [{"stream": "S-0"}]),
        ("filter @message =~ /LOSS/i | fields strlen(@message) as length", [{"length": "22"}]),
        ("filter not (@message like 'e') and @message like '0.75' | fields @message", [{"@message": MESSAGES[5]}]),
        ("fields concat(@log, ' ', @logStream) as place | dedup place | sort place asc",
         [{"place": "1:/g s-0"}, {"place": "1:/g s-1"}]),
        ("filter code > 0 | sort code | fields code", [{"code": "500"}, {"code": "404"}]),
        ("# the first minute\nfields @timestamp | sort @timestamp asc | limit 1",
         [{"@timestamp": "2026-11-30 00:53:20.000"}]),
        ("filter @message not like /./ or coalesce(nothing, 2) = 2 and false_field = 1", []),
        ("stats min(@timestamp) as first", [{"first": "2026-11-30 00:53:20.000"}]),
        ("filter abs(-1) + 2 * 3 ^ 2 % 5 = 1 - 0 - 1 + 4 | stats count(*) as all", [{"all": "8"}]),
        ("filter nothing > 1 | stats count(*) as none", [{"none": "0"}]),
    ],
)  # fmt: skip
def test_what_a_query_finds(query, expected):
    assert rows(query) == expected


def test_texts_are_sorted_as_aws_sorts_them():
    words = ["3", "a12345", "5A", "1", "A98", "01", "2345_", "111A", "#"]
    events = [Event("", 1, 1, word, "", "") for word in words]
    found = [row["@message"] for row in run("fields @message | sort @message asc", events, 100)]
    assert found == ["#", "5A", "111A", "2345_", "A98", "a12345", "01", "1", "3"]


def test_without_fields_it_shows_when_and_what_the_newest_first():
    found = rows("filter ispresent(level)", limit=1)
    assert found == [{"@timestamp": "2026-11-30 00:57:20.000", "@message": MESSAGES[4]}]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("", "no command"),
        ("pattern @message", "carries out the commands fields, display, filter, parse, stats, sort, limit, dedup, not"),
        ("fields @message | limit 0", "limit takes a number from 1 to 10000, not '0'"),
        ("fields jsonParse(@message)", "carries out the functions"),
        ("stats stddev(@duration)", "carries out stats of avg"),
        ("stats sum(*)", "sum takes a field"),
        ("stats pct(@duration, 101)", "a share from 0 to 100"),
        ("stats count(*) by bin(5 parsecs)", "bin takes a length of time"),
        ("filter @message like 5", "like takes"),
        ("filter @message like /(/", "is no regular expression"),
        ("parse @message '* *' as one", "has 2 *, and 1 names"),
        ("parse @message /a(b)/", "names no group"),
        ("fields @message sort", "'sort' at position 17 of the query, where '|' was expected"),
        ("filter (code = 1", "the end of the query at position 17 of the query, where ')' was expected"),
        ("fields @message; limit 1", "unexpected symbol found ; at line 1 and position 16"),
        ("fields strlen()", "strlen takes 1 arguments, not 0"),
    ],
)
def test_what_is_no_query(query, says):
    with pytest.raises(AwsError) as caught:
        run(query, EVENTS, 1)
    assert (caught.value.code, says in caught.value.message) == ("MalformedQueryException", True), caught.value.message
