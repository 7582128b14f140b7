"""JSON objects that each update of an image refuses, and what it says that it expects instead."""

import json
import math
from typing import Any

from tests.workflows.garbage import as_sent

LOG = {"task_id": "elsewhere", "final_dissonance": 0.5, "turn_count": 1, "outcome": "max_turns"}
WRONG_OBJECTS: dict[str, list[Any]] = {
    "submit_task": [
        {"task": 7},
        {"task": None},
        {"task": ["Why?"]},
        {"task": "x" * 8_193},
        {"task": "\U0001f642" * 2_049},
        {"task": "Why?", "task_id": ""},
        {"task": "Why?", "task_id": "a/b"},
        {"task": "Why?", "task_id": "x" * 65},
        {"task": "Why?", "task_type": ""},
        {"task": "Why?", "task_type": "x" * 41},
        {"task": "Why?", "task_type": "\x01" * 40},
        {"task": "Why?", "priority": 1},
    ],
    "assign": [{"task_id": "a b"}, {"task_id": "x" * 65}, {"task_id": 7}, {"task": "Why?"}],
    "record_performance": [
        {},
        {**LOG, "task_id": "a b"},
        *({**LOG, "final_dissonance": value} for value in (-0.1, 1.1, "half", [0.2], math.nan)),
        *({**LOG, "turn_count": value} for value in (-1, 1_001, 1.5, "many", None)),
        {**LOG, "outcome": "Success"},
        {**LOG, "outcome": "converged", "final_dissonance": None},
        {**LOG, "seconds": "long"},
        {**LOG, "finished_at": "yesterday"},
        {**LOG, "active_heuristics": ["max_turns"]},
        {**LOG, "active_heuristics": {"x" * 600: 1}},
        *(
            as_sent(json.dumps(LOG)[:-1].encode() + b', "active_heuristics": {"x": %s}}' % number)
            for number in (b"1e999", b"-Infinity", b"NaN")
        ),
        as_sent(json.dumps(LOG)[:-1].encode() + b', "seconds": 1e999}'),
        {**LOG, "remark": "an unknown field"},
    ],
    "rate_task": [
        {"task_id": "a b", "rating": 1},
        {"task_id": "x" * 65, "rating": 1},
        *({"task_id": "one", "rating": value} for value in (-0.1, 1.1, "good", [1], math.nan)),
        {"task_id": "one", "rating": 1, "comment": "x" * 401},
        {"task_id": "one", "rating": 1, "rated_by": "x" * 81},
        {"task_id": "one", "stars": 5},
    ],
    "reflect": [{"reason": 5}, {"reason": "x" * 401}, {"reason": None}, {"now": True}],
    "save_image": [{"path": 5}, {"path": "x" * 301}, {"folder": "snapshots"}],
    "reload_settings": [{"model_backend": 5}, {"model_backend": "x" * 10_000}, {"path": "/etc/passwd"}],
    "revert_settings": [{"revision": "one"}, {"revision": 1, "approver": "x" * 81}, {"to": 1}],
    "verify_settings": [{"revision": "one"}, {"revision": 1.5}, {"against": 1}],
    "end_verification": [{"action": "stop"}, {"action": "accept", "approver": "x" * 81}, {"accept": True}],
    "pause": [{"reason": []}, {"reason": "x" * 401}, {"for": "1h"}],
    "resume": [{"reason": []}, {"reason": "x" * 401}, {"at": "noon"}],
    "retire": [{"reason": []}, {"reason": "x" * 401}, {"force": True}],
}
QUERIES = [
    *("status", "settings", "performance_logs", "tasks", "amendments", "history", "observations"),
    *("verification", "state"),
]
FIELDS = {
    "submit_task": "task, task_id, task_type",
    "assign": "task_id",
    "record_performance": "task_id, task_type, final_dissonance",
    "rate_task": "task_id, rating",
    "reflect": "reason",
    "save_image": "path",
    "reload_settings": "model_backend",
    "revert_settings": "revision",
    "verify_settings": "revision",
    "end_verification": "action, approver",
    "pause": "reason",
    "resume": "reason",
    "retire": "reason",
}
